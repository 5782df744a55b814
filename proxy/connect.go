package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/caller"
)

// serveConnect answers CONNECT: a routed host is intercepted, any other is
// tunnelled blindly or refused.
func (s *Server) serveConnect(w http.ResponseWriter, r *http.Request) {
	x := s.newExchange(w, r, steeredByConnect, caller.OfRequest(r))
	x.serve(func() *problem {
		if r.URL.User != nil {
			return withUserinfo()
		}
		host, port, err := azure.NormalizeHost(r.Host)
		if err != nil {
			return problemf(http.StatusBadRequest, CodeBadRequest, "CONNECT to %s: %v", shown(r.Host), err)
		}
		if port == 0 {
			return problemf(http.StatusBadRequest, CodeBadRequest, "CONNECT to %s: the port is missing", shown(r.Host))
		}
		x.setTarget("", host, port, "", "")
		if x.settings.named(host) {
			if !x.settings.takesPort(host, port) {
				return portNotRouted(host, port)
			}
			return x.intercept(host, port)
		}
		if x.settings.refuseUnmatched {
			return problemf(http.StatusForbidden, CodeUnmatched, "no route names %s, and other hosts are refused", host)
		}
		return x.tunnel(host, port)
	})
}

func portNotRouted(host string, port uint16) *problem {
	return problemf(http.StatusForbidden, CodePortNotRouted, "a route names %s, but not its port %d", host, port)
}

// intercept hands the caller's connection to the inner server, which speaks
// TLS to it with a leaf for host.
func (x *exchange) intercept(host string, port uint16) *problem {
	conn, p := x.established()
	if p != nil {
		return p
	}
	x.intercepted = true
	conn.host, conn.port, conn.steering, conn.who = host, port, steeredByConnect, x.caller
	if port == 80 { // ws:// and clients told to tunnel everything
		x.s.inner.offer(conn)
		return nil
	}
	x.s.inner.offer(tls.Server(conn, x.r.Context().Value(interceptionKey{}).(*tls.Config)))
	return nil
}

// tunnel connects the caller to a host and moves bytes until both sides are
// done.
func (x *exchange) tunnel(host string, port uint16) *problem {
	upstream, err := x.s.dialer.DialContext(x.r.Context(), "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		return x.noAnswer(err)
	}
	defer upstream.Close()
	conn, p := x.established()
	if p != nil {
		return p
	}
	defer conn.Close()
	x.received, x.sent = x.s.pipe(host, conn, upstream)
	return nil
}

// established takes the connection over from the server and tells the caller
// that the tunnel stands.
func (x *exchange) established() (*callerConn, *problem) {
	raw, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return nil, problemf(http.StatusInternalServerError, CodeBadRequest, "the connection cannot carry a tunnel")
	}
	x.status = http.StatusOK
	if _, err := io.WriteString(raw, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		raw.Close()
		return nil, clientGone(err)
	}
	return newCallerConn(raw, buffered.Reader), nil
}

// callerConn is a connection taken over after CONNECT, or at a transparent
// listener. It remembers who the caller is, and what it asked for, which is the
// one target of all that comes over it.
type callerConn struct {
	net.Conn
	host     string
	port     uint16
	steering steering
	who      *caller.Caller
	early    []byte // read already, to be read first
}

func newCallerConn(raw net.Conn, buffered *bufio.Reader) *callerConn {
	early, _ := buffered.Peek(buffered.Buffered())
	return &callerConn{Conn: raw, early: early}
}

// Read implements io.Reader.
func (c *callerConn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil // the connection may outlive its opening by days
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// WriteTo lets io.Copy splice between sockets, once what was read early is out.
func (c *callerConn) WriteTo(w io.Writer) (int64, error) {
	var n int
	if len(c.early) > 0 {
		var err error
		n, err = w.Write(c.early)
		c.early = nil
		if err != nil {
			return int64(n), err
		}
	}
	m, err := io.Copy(w, c.Conn)
	return int64(n) + m, err
}

// ReadFrom is WriteTo's counterpart.
func (c *callerConn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

// CloseWrite ends our direction.
func (c *callerConn) CloseWrite() error { return closeWrite(c.Conn) }

// targetOf finds the target of an intercepted connection, as the inner server
// knows it.
func targetOf(c net.Conn) *callerConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	conn, _ := c.(*callerConn)
	return conn
}

type targetKey struct{}

// serveIntercepted answers a request that came over an intercepted connection.
func (s *Server) serveIntercepted(w http.ResponseWriter, r *http.Request) {
	conn := r.Context().Value(targetKey{}).(*callerConn)
	x := s.newExchange(w, r, conn.steering, conn.who)
	x.serve(func() *problem {
		scheme := "https"
		if r.TLS == nil {
			scheme = "http"
		}
		path, query := splitTarget(r.RequestURI)
		x.setTarget(scheme, conn.host, conn.port, path, query)
		if x.settings.named(conn.host) && !x.settings.takesPort(conn.host, conn.port) { // CONNECT has looked already
			return portNotRouted(conn.host, conn.port)
		}
		if r.TLS != nil && r.TLS.ServerName != "" && !sameHost(r.TLS.ServerName, conn) {
			return misdirected("SNI", r.TLS.ServerName, conn)
		}
		if r.Host != "" && !sameHost(r.Host, conn) {
			return misdirected("the host", r.Host, conn)
		}
		for _, host := range r.Header["Host"] { // HTTP/2 may carry both
			if !sameHost(host, conn) {
				return misdirected("Host", host, conn)
			}
		}
		return x.forward()
	})
}

func misdirected(what, got string, conn *callerConn) *problem {
	return problemf(http.StatusMisdirectedRequest, CodeMisdirected,
		"%s names %s, but this connection was opened to %s; open one for each host", what, shown(got), conn.host)
}

func sameHost(authority string, conn *callerConn) bool {
	host, port, err := azure.NormalizeHost(authority)
	return err == nil && host == conn.host && (port == 0 || port == conn.port)
}

// innerListener feeds the inner server: connections are offered, not accepted
// from a socket. They are bare *tls.Conns, for net/http speaks HTTP/2 only on
// those.
type innerListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newInnerListener() *innerListener {
	return &innerListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *innerListener) offer(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.done:
		c.Close()
	}
}

// Accept implements net.Listener.
func (l *innerListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *innerListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *innerListener) Addr() net.Addr { return innerAddr{} }

type innerAddr struct{}

func (innerAddr) Network() string { return "intercepted" }
func (innerAddr) String() string  { return "intercepted" }

// connContext lets a request find the connection's target.
func connContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, targetKey{}, targetOf(c))
}

// splitTarget cuts a request target into its path and query, byte for byte.
func splitTarget(target string) (path, query string) {
	if !strings.HasPrefix(target, "/") {
		if _, rest, ok := strings.Cut(target, "://"); ok { // absolute-form
			i := strings.IndexAny(rest, "/?")
			if i < 0 {
				return "/", ""
			}
			if target = rest[i:]; target[0] == '?' {
				return "/", target[1:]
			}
		}
	}
	path, query, _ = strings.Cut(target, "?")
	return path, query
}
