// Package audit writes who did what with the machine's identity: a record for
// each call to a routed host and each token that was handed out, never sampled.
//
// It hides where the records go, and what becomes of them, and of the calls,
// while they cannot be written. Whoever makes a record decides what is in it.
package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"
)

// The words for where a stream goes, beside an absolute path.
const (
	Journald = "journald"
	Stdout   = "stdout"
)

const (
	// places is how many records may wait to be written, or for their calls to
	// end: some 10 MiB at most.
	places = 1 << 14
	// stalled is how long one write may take before it counts as failed. A disk
	// answers in milliseconds, one on the network may hang for ever.
	stalled = 2 * time.Second
	// firstRetry and lastRetry are the waits between attempts to write.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// ErrUnavailable is why no place was kept for a record.
var ErrUnavailable = errors.New("the audit stream cannot be written")

// Options are what a Stream is made of. To is required.
type Options struct {
	To string // Journald, Stdout or an absolute path
	// Refuse has Reserve fail while records cannot be written. Otherwise calls go
	// on, and records that find no place are lost and counted.
	Refuse  bool
	Stdout  io.Writer         // where To: stdout leads; nil: os.Stdout
	Written func(records int) // nil: nobody is told
	Lost    func(records int) // nil: nobody is told
	Failing func(bool)        // whether the last attempt to write failed; nil: nobody is told
	Logger  *zap.Logger       // nil: no log

	journal string           // journald's socket; empty: the system's
	now     func() time.Time // nil: time.Now
}

// sink is where lines end up. The stream's own goroutine alone uses it.
type sink interface {
	// write writes records, and tells how many are written whole. A record of
	// which a part is written is gone on with at the next call.
	write(records []Record) (whole int, err error)
	// reopen has what is written from now on go to what has To's name now.
	reopen() error
	close() error
}

// Stream takes records and writes them in the background. Open makes one, and
// Close ends it; it is safe for concurrent use. A nil Stream keeps nothing.
type Stream struct {
	o    Options
	sink sink
	wake chan struct{}   // holds one
	asks chan chan error // of Reopen
	stop chan struct{}   // closed by Close: no retry from now on
	done chan struct{}   // closed when the writer has ended

	mu       sync.Mutex // guards what follows
	queue    []Record
	writing  int       // records that the writer has taken
	reserved int       // places of calls under way
	since    time.Time // when the write under way began; zero: there is none
	failing  error     // of the last attempt; nil: it went well
	lost     int       // since the last record of it
	closed   bool
}

// Open opens where the records go, so that a start fails where it cannot be
// had.
func Open(o Options) (*Stream, error) {
	if o.Written == nil {
		o.Written = func(int) {}
	}
	if o.Lost == nil {
		o.Lost = func(int) {}
	}
	if o.Failing == nil {
		o.Failing = func(bool) {}
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.now == nil {
		o.now = time.Now
	}
	s := &Stream{o: o, wake: make(chan struct{}, 1), asks: make(chan chan error), stop: make(chan struct{}), done: make(chan struct{})}
	var err error
	switch {
	case o.To == Journald:
		s.sink, err = openJournal(o.journal)
	case o.To == Stdout:
		s.sink = standardOutput(o.Stdout)
	case filepath.IsAbs(o.To):
		s.sink, err = openFile(o.To)
	default:
		err = fmt.Errorf("%q is neither %s nor %s nor an absolute path", o.To, Journald, Stdout)
	}
	if err != nil {
		return nil, fmt.Errorf("the audit stream: %w", err)
	}
	go s.run()
	return s, nil
}

// Reserve keeps a place for the record of a call that is about to be made; the
// call ends with Write, or Release. The error is ErrUnavailable, for streams
// that refuse alone.
func (s *Stream) Reserve() error {
	if s == nil || !s.o.Refuse {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing != nil || s.stalledLocked() || s.reserved+s.waitingLocked() >= places {
		return ErrUnavailable
	}
	s.reserved++
	return nil
}

// Release gives a place back for which there is no record.
func (s *Stream) Release() {
	if s == nil || !s.o.Refuse {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved--
}

// Write hands over the record of a call for which Reserve gave nil, and those of
// the calls within it. It does not wait.
func (s *Stream) Write(records ...Record) {
	if s == nil {
		return
	}
	s.mu.Lock()
	lost := 0
	if s.o.Refuse {
		s.reserved--
	} else if room := places - s.waitingLocked(); len(records) > room {
		lost = len(records) - room
		records = records[:room]
		s.lost += lost
	}
	s.queue = append(s.queue, records...)
	s.mu.Unlock()
	if lost > 0 {
		s.o.Lost(lost)
	}
	s.nudge()
}

func (s *Stream) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Stream) waitingLocked() int { return len(s.queue) + s.writing }

func (s *Stream) stalledLocked() bool {
	return !s.since.IsZero() && s.o.now().Sub(s.since) >= stalled
}

// State tells whether records are written: nil, or why not.
func (s *Stream) State() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing == nil && s.stalledLocked() {
		return errors.New("a write has not ended yet")
	}
	return s.failing
}

// Reopen has the records that follow go to what has the file's name now, for
// programs that rotate logs. After an error they go on to where they went.
func (s *Stream) Reopen() error {
	if s == nil {
		return nil
	}
	timer := time.NewTimer(stalled)
	defer timer.Stop()
	answer := make(chan error, 1)
	select {
	case s.asks <- answer:
		return <-answer
	case <-s.done:
		return nil
	case <-timer.C:
		return fmt.Errorf("the audit stream was not opened anew: %w", ErrUnavailable)
	}
}

// Close writes what there is, until ctx ends, and gives an error where records
// are lost by that. Nothing may be written any more.
func (s *Stream) Close(ctx context.Context) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.stop)
	select {
	case <-s.done:
	case <-ctx.Done(): // the writer ends with the process, for nobody can interrupt it
	}
	s.mu.Lock()
	left := s.waitingLocked() + s.lost
	s.mu.Unlock()
	if left > 0 {
		return fmt.Errorf("%d records of the audit stream are lost: %w", left, ErrUnavailable)
	}
	return nil
}
