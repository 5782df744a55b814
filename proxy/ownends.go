package proxy

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
)

// ownEnds is a Dialer that remembers its open connections. A connection to a
// transparent listener that is one of them is our own, led back by a redirect
// that leaves bearerd's user not out: passed on, it would come back for ever.
type ownEnds struct {
	next Dialer

	mu   sync.Mutex // guards what follows
	open map[connEnds]struct{}
}

// connEnds are what tells one connection from all others. A port of ours alone
// does not: the kernel gives it out again for another destination.
type connEnds struct{ local, remote netip.AddrPort }

func newOwnEnds(next Dialer) *ownEnds {
	return &ownEnds{next: next, open: make(map[connEnds]struct{})}
}

// DialContext implements Dialer.
func (o *ownEnds) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := o.next.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	ends := connEnds{endOf(conn.LocalAddr()), endOf(conn.RemoteAddr())}
	o.mu.Lock()
	o.open[ends] = struct{}{}
	o.mu.Unlock()
	return &outgoingConn{Conn: conn, forget: sync.OnceFunc(func() {
		o.mu.Lock()
		delete(o.open, ends)
		o.mu.Unlock()
	})}, nil
}

// made reports whether a connection from somewhere to somewhere is one of ours.
func (o *ownEnds) made(from net.Addr, to netip.AddrPort) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ours := o.open[connEnds{endOf(from), to}]
	return ours
}

// endOf is invalid for what is no TCP.
func endOf(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	end := tcp.AddrPort()
	return netip.AddrPortFrom(end.Addr().Unmap(), end.Port())
}

// outgoingConn is forgotten when it is closed: before, so that nobody else can
// have its address meanwhile.
type outgoingConn struct {
	net.Conn
	forget func()
}

// Close implements net.Conn.
func (c *outgoingConn) Close() error {
	c.forget()
	return c.Conn.Close()
}

// CloseWrite ends our direction.
func (c *outgoingConn) CloseWrite() error { return closeWrite(c.Conn) }

// WriteTo shows the bare socket to w, which splices from no other.
func (c *outgoingConn) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, c.Conn) }

// ReadFrom is WriteTo's counterpart.
func (c *outgoingConn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }
