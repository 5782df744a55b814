package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// ownWays are the ways out of unrouted calls: one for each caller's connection
// that makes any, which keeps at most one connection between calls. NTLM and
// Negotiate log in a connection, and whoever comes next over it is taken for the
// one who did: a login must find its connection again, and nobody else may.
type ownWays struct {
	single *http.Transport        // of calls whose caller's connection has no way of its own; keeps nothing
	make   func() *http.Transport // one that keeps a connection
	mu     sync.Mutex             // guards open
	open   map[net.Conn]*http.Transport
}

func newOwnWays(o Options) *ownWays {
	// Those of HTTP/1 do not write to it, so that they can share it.
	config := &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12}
	http1 := new(http.Protocols)
	http1.SetHTTP1(true) // which alone can be logged in
	w := &ownWays{open: make(map[net.Conn]*http.Transport)}
	w.make = func() *http.Transport {
		t := newTransport(o, config)
		t.Protocols = http1
		t.MaxIdleConns = 1
		return t
	}
	w.single = newRouted(o)
	w.single.DisableKeepAlives = true
	return w
}

type rawConnKey struct{}

// connContext is the outer server's: it lets a request find its connection.
func (w *ownWays) connContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, rawConnKey{}, c)
}

// of gives the way out of an unrouted call. An intercepted connection, whose host
// a reload has taken from the routes, gets none of its own: its calls may be
// many at once, and outlive it.
func (w *ownWays) of(r *http.Request) *http.Transport {
	conn, ok := r.Context().Value(rawConnKey{}).(net.Conn)
	if !ok {
		return w.single
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.open[conn]
	if t == nil {
		t = w.make()
		w.open[conn] = t
	}
	return t
}

// connState is the outer server's: with the caller's connection its own way out
// ends. The server runs a connection's handlers and this one after the other, so
// that none comes later.
func (w *ownWays) connState(c net.Conn, s http.ConnState) {
	if s != http.StateClosed && s != http.StateHijacked {
		return
	}
	w.mu.Lock()
	t := w.open[c]
	delete(w.open, c)
	w.mu.Unlock()
	if t != nil {
		t.CloseIdleConnections()
	}
}

// close ends what is kept. No handler is running any more.
func (w *ownWays) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.single.CloseIdleConnections()
	for c, t := range w.open {
		t.CloseIdleConnections()
		delete(w.open, c)
	}
}
