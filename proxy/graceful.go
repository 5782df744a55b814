package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// silentWait is how long the end waits for a connection's first request, as
// net/http's own end does.
const silentWait = 5 * time.Second

// Graceful is a server whose end loses no request: whatever was accepted is
// answered. net/http's Shutdown closes a connection without an answer where it
// has read a request since it was told to end. NewGraceful makes one.
type Graceful struct {
	*http.Server
	accepting listeners

	mu    sync.Mutex            // guards what follows
	busy  map[net.Conn]struct{} // connections that have a request, or have had none yet
	quiet chan struct{}         // closed once busy is empty; nil: nobody waits
}

// NewGraceful takes s over. Its ConnState is called as before.
func NewGraceful(s *http.Server) *Graceful {
	g := &Graceful{Server: s, busy: make(map[net.Conn]struct{})}
	next := s.ConnState
	s.ConnState = func(c net.Conn, state http.ConnState) {
		g.note(c, state)
		if next != nil {
			next(c, state)
		}
	}
	return g
}

func (g *Graceful) note(c net.Conn, state http.ConnState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if state == http.StateNew || state == http.StateActive {
		g.busy[c] = struct{}{}
		return
	}
	delete(g.busy, c)
	if len(g.busy) == 0 && g.quiet != nil {
		close(g.quiet)
		g.quiet = nil
	}
}

// Serve answers what comes in by l until Shutdown or Close, and then gives nil.
func (g *Graceful) Serve(l net.Listener) error {
	if !g.accepting.add(l) {
		return nil
	}
	defer g.accepting.remove(l)
	err := g.Server.Serve(l)
	if g.accepting.isClosed() || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown stops accepting, answers what was accepted, and breaks nothing off
// before ctx ends. A connection that says nothing is closed after 5 seconds.
func (g *Graceful) Shutdown(ctx context.Context) error {
	g.accepting.close()
	g.accepting.running.Wait()
	// From now on each answer is its connection's last one.
	g.SetKeepAlivesEnabled(false)
	select {
	case <-g.untilQuiet():
	case <-time.After(silentWait):
	case <-ctx.Done():
	}
	return g.Server.Shutdown(ctx)
}

// untilQuiet gives what is closed once no connection is busy.
func (g *Graceful) untilQuiet() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	quiet := g.quiet
	if quiet == nil {
		quiet = make(chan struct{})
		g.quiet = quiet
	}
	if len(g.busy) == 0 {
		close(quiet)
		g.quiet = nil
	}
	return quiet
}

// Close breaks off everything.
func (g *Graceful) Close() error {
	g.accepting.close()
	return g.Server.Close()
}

// listeners are those that are accepted from.
type listeners struct {
	running sync.WaitGroup // of those that were added, until they are removed

	mu     sync.Mutex // guards what follows
	open   []net.Listener
	closed bool
}

// add is false after close.
func (l *listeners) add(one net.Listener) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		one.Close()
		return false
	}
	l.open = append(l.open, one)
	l.running.Add(1)
	return true
}

// remove says that nothing is accepted from one any more.
func (l *listeners) remove(one net.Listener) {
	defer l.running.Done()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = slices.DeleteFunc(l.open, func(o net.Listener) bool { return o == one })
}

func (l *listeners) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// close has each listener accept nothing more, now and in future.
func (l *listeners) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, one := range l.open {
		one.Close()
	}
	l.open = nil
}
