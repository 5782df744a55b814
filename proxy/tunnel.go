package proxy

import (
	"io"
	"sync"
)

// tunnels keeps count of the byte pipes, so that shutdown and a reload can end
// them.
type tunnels struct {
	mu     sync.Mutex // guards what follows
	open   map[*pipe]struct{}
	closed bool
}

// pipe is one tunnel, or one WebSocket.
type pipe struct {
	host string // of a tunnel; empty: a WebSocket, which was judged as a request
	a, b io.ReadWriteCloser
}

func (p *pipe) close() {
	p.a.Close()
	p.b.Close()
}

// add registers a pipe; false after close.
func (t *tunnels) add(p *pipe) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	if t.open == nil {
		t.open = make(map[*pipe]struct{})
	}
	t.open[p] = struct{}{}
	return true
}

func (t *tunnels) remove(p *pipe) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, p)
}

// close ends every pipe, now and in future.
func (t *tunnels) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for p := range t.open {
		p.close()
	}
}

// closeWhere ends the tunnels to some hosts.
func (t *tunnels) closeWhere(to func(host string) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range t.open {
		if p.host != "" && to(p.host) {
			p.close()
		}
	}
}

// pipe moves bytes between a, the caller, and b until both directions have
// ended. host is the tunnel's target, empty for a WebSocket. The end of one
// direction is passed on as a half-close, so that a peer that has sent all still
// gets its answer; an error ends both.
func (s *Server) pipe(host string, a, b io.ReadWriteCloser) (fromA, fromB int64) {
	p := &pipe{host: host, a: a, b: b}
	if !s.tunnels.add(p) {
		return 0, 0
	}
	defer s.tunnels.remove(p)
	// A reload may have come between the decision and here. Either it sees this
	// pipe, or its settings are seen here.
	if host != "" && !s.settings.Load().tunnels(host) {
		return 0, 0
	}
	s.metrics.TunnelsOpen.Inc()
	defer s.metrics.TunnelsOpen.Dec()
	var both sync.WaitGroup
	move := func(dst, src io.ReadWriteCloser, n *int64) {
		var err error
		if *n, err = io.Copy(dst, src); err == nil {
			err = closeWrite(dst)
		}
		if err != nil {
			p.close()
		}
	}
	both.Go(func() { move(b, a, &fromA) })
	move(a, b, &fromB)
	both.Wait()
	return fromA, fromB
}

// closeWrite ends one direction of c, or all of it where c cannot half-close.
func closeWrite(c io.Closer) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
