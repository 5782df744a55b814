package listen

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/bearerd/bearerd/proxy/caller"
)

const (
	// headerTimeout is how long a load balancer may take for its header, which it
	// sends before anything that a caller sends.
	headerTimeout = 5 * time.Second
	// maxHeaders is how many headers are waited for at once.
	maxHeaders = 256
)

// headers takes the PROXY protocol's header, version 2, off the connections of
// load balancers (https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt).
// A connection of theirs without one is closed: who is behind it, nobody says.
// Others' connections are left as they are, so that a header in them is the
// malformed request that it looks like.
type headers struct {
	net.Listener
	from    []netip.Prefix
	refused func(balancer netip.Addr, err error)

	ready  chan accepted // to Accept
	places chan struct{} // one value for each header that is waited for
	closed chan struct{}
	close  func() error
	work   sync.WaitGroup
}

type accepted struct {
	conn net.Conn
	err  error
}

func newHeaders(inner net.Listener, from []netip.Prefix, refused func(netip.Addr, error)) *headers {
	h := &headers{
		Listener: inner, from: from, refused: refused,
		ready: make(chan accepted), places: make(chan struct{}, maxHeaders), closed: make(chan struct{}),
	}
	h.close = sync.OnceValue(func() error {
		close(h.closed)
		err := inner.Close()
		h.work.Wait()
		return err
	})
	h.work.Go(h.run)
	return h
}

// run accepts until the listener is closed; Accept paces it by how it takes
// what is ready.
func (h *headers) run() {
	for {
		conn, err := h.Listener.Accept()
		if err != nil {
			if !h.hand(accepted{err: err}) || isFatal(err) {
				return
			}
			continue
		}
		if !h.isBalancer(conn) {
			h.hand(accepted{conn: conn})
			continue
		}
		select {
		case h.places <- struct{}{}:
		case <-h.closed:
			conn.Close()
			return
		}
		h.work.Go(func() {
			defer func() { <-h.places }()
			h.take(conn.(*net.TCPConn))
		})
	}
}

// hand gives to Accept; it is false, and the connection closed, where nobody
// accepts any more.
func (h *headers) hand(a accepted) bool {
	select {
	case h.ready <- a:
		return true
	case <-h.closed:
		if a.conn != nil {
			a.conn.Close()
		}
		return false
	}
}

func (h *headers) isBalancer(conn net.Conn) bool {
	addr := addrOf(conn.RemoteAddr())
	return slices.ContainsFunc(h.from, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func addrOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// take reads the header of a load balancer's connection and hands it over.
func (h *headers) take(conn *net.TCPConn) {
	stop := make(chan struct{})
	defer close(stop)
	h.work.Go(func() { // Close does not wait for a header
		select {
		case <-h.closed:
			conn.SetReadDeadline(time.Unix(1, 0))
		case <-stop:
		}
	})
	behind, err := readHeader(conn)
	if err != nil {
		conn.Close()
		if !errors.Is(err, io.EOF) { // a probe of whether we listen
			h.refused(addrOf(conn.RemoteAddr()), err)
		}
		return
	}
	h.hand(accepted{conn: behind})
}

// readHeader gives the connection of the caller that is behind conn.
func readHeader(conn *net.TCPConn) (*balancedConn, error) {
	if err := conn.SetReadDeadline(time.Now().Add(headerTimeout)); err != nil {
		return nil, err
	}
	reader := bufio.NewReader(conn)
	if _, err := reader.Peek(1); err != nil {
		return nil, err
	}
	header, err := proxyproto.Read(reader)
	if err != nil {
		return nil, fmt.Errorf("the connection does not begin with the PROXY protocol's header: %w", err)
	}
	if header.Version != 2 {
		return nil, fmt.Errorf("the PROXY protocol's header is of version %d, and 2 is wanted", header.Version)
	}
	c := &balancedConn{TCPConn: conn, remote: conn.RemoteAddr(), release: func() {}}
	if header.Command == proxyproto.PROXY && header.TransportProtocol != proxyproto.UNSPEC {
		source, _, ok := header.TCPAddrs()
		if !ok {
			return nil, fmt.Errorf("the PROXY protocol's header is about no TCP connection")
		}
		c.remote = source
	}
	if c.early, err = reader.Peek(reader.Buffered()); err != nil {
		return nil, err
	}
	return c, conn.SetReadDeadline(time.Time{})
}

// Accept implements net.Listener.
func (h *headers) Accept() (net.Conn, error) {
	select {
	case a := <-h.ready:
		return a.conn, a.err
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *headers) Close() error { return h.close() }

// balancedConn is a connection that came through a load balancer. Its remote
// address is what the load balancer says: good for counting and logging, and no
// proof of who it is.
type balancedConn struct {
	*net.TCPConn
	remote  net.Addr
	early   []byte // read already, to be read first
	who     *caller.Caller
	release func()
}

// Caller tells who connected: nobody that the kernel knows, whatever the remote
// address says.
func (c *balancedConn) Caller() *caller.Caller { return c.who }

// RemoteAddr implements net.Conn.
func (c *balancedConn) RemoteAddr() net.Addr { return c.remote }

// Read implements io.Reader.
func (c *balancedConn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	return c.TCPConn.Read(p)
}

// WriteTo lets io.Copy splice between sockets, once what was read early is out.
func (c *balancedConn) WriteTo(w io.Writer) (int64, error) {
	var n int
	if len(c.early) > 0 {
		var err error
		n, err = w.Write(c.early)
		c.early = c.early[n:]
		if err != nil {
			return int64(n), err
		}
	}
	m, err := c.TCPConn.WriteTo(w)
	return int64(n) + m, err
}

// Close implements net.Conn.
func (c *balancedConn) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}
