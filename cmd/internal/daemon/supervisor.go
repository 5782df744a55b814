package daemon

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/bearerd/bearerd/proxy/listen"
)

// Supervisor is the service manager that has started the daemon, systemd that
// is. The zero value is none.
type Supervisor struct {
	Sockets *listen.Sockets // that it opened
	Journal Journal         // takes the log in place of Options.Log; nil: there is none
	// Notify tells it how the daemon stands, in the lines of sd_notify(3); nil:
	// it does not want to know. It may be called concurrently.
	Notify func(lines string) error
	Clock  func() string // gives the line that says when a reload began; nil where Notify is
	// Watchdog is how long the daemon may say nothing before it is taken for
	// hung; 0: for ever.
	Watchdog time.Duration
	// ReadyWait is how long readiness waits for the tokens of required routes at
	// the longest; then the daemon counts as started without them.
	ReadyWait time.Duration
}

const (
	readyPoll  = 100 * time.Millisecond // of the tokens that a start waits for
	statusPoll = 5 * time.Second        // of what is told in words
	// checksEach is how many checks there are in the watchdog's time, so that one
	// may fail, or come late on a busy machine.
	checksEach = 4
	// stopGrace is what the end takes after drain.max.
	stopGrace = 10 * time.Second
)

// supervisor tells the service manager how the daemon stands.
type supervisor struct {
	Supervisor
	log *zap.Logger

	mu    sync.Mutex // guards what follows, and keeps the order of what is told
	ready bool       // was told
	ended bool       // was told: there is no way back to ready
	words string     // that were told last
}

func (s *supervisor) tellLocked(lines ...string) {
	if s.Notify == nil {
		return
	}
	if err := s.Notify(strings.Join(lines, "\n")); err != nil {
		s.log.Warn("the service manager could not be told how bearerd stands", zap.Error(err))
	}
}

// started tells that callers are answered.
func (s *supervisor) started(words string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ready, s.words = true, words
	s.tellLocked("READY=1", "STATUS="+words)
}

// stands tells how the daemon stands, where that has changed.
func (s *supervisor) stands(words string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if words != s.words {
		s.words = words
		s.tellLocked("STATUS=" + words)
	}
}

// reloading tells that a reload has begun; done tells of its end. Before the
// start was told there is nothing to take back.
func (s *supervisor) reloading() (done func(words string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready || s.ended {
		return func(string) {}
	}
	s.tellLocked("RELOADING=1", strings.TrimSuffix(s.Clock(), "\n"))
	return s.started
}

// stopping tells that the end has begun, and how long it may take.
func (s *supervisor) stopping(words string, atMost time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tellLocked("STOPPING=1", "STATUS="+words, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (atMost+stopGrace).Microseconds()))
	s.words, s.ended = words, true
}

func (s *supervisor) alive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tellLocked("WATCHDOG=1")
}

// supervise tells the service manager of the start, once the required tokens are
// there or have been waited for long enough, and from then on how the daemon
// stands, until ctx ends.
func (d *Daemon) supervise(ctx context.Context) {
	if !d.waitReady(ctx) {
		return
	}
	d.supervisor.started(d.words())
	tick := time.NewTicker(statusPoll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.supervisor.stands(d.words())
		case <-ctx.Done():
			return
		}
	}
}

// waitReady is false where the end came first.
func (d *Daemon) waitReady(ctx context.Context) bool {
	patience := time.NewTimer(d.supervisor.ReadyWait)
	defer patience.Stop()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		if d.draining.Load() {
			return false
		}
		now := d.status().Readiness()
		if now.Ready {
			return true
		}
		d.supervisor.stands("waiting: " + oneLine(strings.Join(now.Reasons, "; ")))
		select {
		case <-tick.C:
		case <-patience.C:
			d.log.Warn("bearerd starts without all the tokens that its routes require", zap.Strings("reasons", now.Reasons))
			return true
		case <-ctx.Done():
			return false
		}
	}
}

func (d *Daemon) words() string { return oneLine(d.status().Summary(time.Now())) }

// oneLine keeps text from being read as further lines of sd_notify's.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// watch feeds the watchdog for as long as the daemon passes its own check, until
// ctx ends.
func (d *Daemon) watch(ctx context.Context) {
	every := d.supervisor.Watchdog / checksEach
	tick := time.NewTicker(every)
	defer tick.Stop()
	failing := false
	for {
		err := d.checkItself(ctx, every)
		switch {
		case err == nil:
			d.supervisor.alive()
		case ctx.Err() == nil && !failing:
			d.log.Error("bearerd's check of itself fails; if that lasts, the service manager restarts it", zap.Error(err))
		}
		failing = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
