package listen

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/bearerd/bearerd/proxy/caller"
)

// Accept backs off between these while the system lacks what it needs for one
// more connection.
const (
	minBackOff = 5 * time.Millisecond
	maxBackOff = time.Second
)

// Accept gives the next connection. It waits while the limit on all connections
// is reached, and closes those of a caller that has too many. Only Close ends
// it, or a socket that is broken for good: where the system is out of file
// descriptors or memory it tries again, for a server that stopped accepting is
// dead while its process looks alive.
func (l *Listener) Accept() (net.Conn, error) {
	backOff := minBackOff
	for {
		conn, err := l.inner.Accept()
		if err != nil {
			if l.isClosed() {
				return nil, net.ErrClosed
			}
			if isFatal(err) {
				return nil, err
			}
			l.acceptFailed(err)
			if !l.pause(backOff) {
				return nil, net.ErrClosed
			}
			backOff = min(2*backOff, maxBackOff)
			continue
		}
		backOff = minBackOff
		// Before anything is waited for: a caller that has left is not known any more.
		who := l.callerOf(conn)
		release, ok := l.limits.admit(callerOf(conn, who), l.closing)
		if !ok {
			conn.Close()
			if l.isClosed() {
				return nil, net.ErrClosed
			}
			continue
		}
		l.observer.Accepted()
		return wrap(conn, who, func() {
			release()
			l.observer.Closed()
		}), nil
	}
}

// callerOf finds out who connected; nil where nobody is to.
func (l *Listener) callerOf(conn net.Conn) *caller.Caller {
	if l.callers == nil {
		return nil
	}
	destination, _ := Destination(conn)
	return l.callers.Find(conn, destination)
}

func (l *Listener) isClosed() bool {
	select {
	case <-l.closing:
		return true
	default:
		return false
	}
}

// pause waits for d; false if the listener was closed meanwhile.
func (l *Listener) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.closing:
		return false
	}
}

// isFatal tells a socket that will never accept again from a shortage, or from
// a connection that broke before it was accepted (accept(2), "Error handling").
func isFatal(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return true
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case syscall.EBADF, syscall.EFAULT, syscall.EINVAL, syscall.ENOTSOCK:
		return true
	}
	return false
}

// wrap makes release run when conn is first closed. What conn can do beyond
// net.Conn stays: io.Copy between sockets is then a splice in the kernel.
func wrap(conn net.Conn, who *caller.Caller, release func()) net.Conn {
	release = sync.OnceFunc(release)
	switch c := conn.(type) {
	case *net.UnixConn:
		return &unixConn{UnixConn: c, who: who, release: release}
	case *balancedConn:
		c.who, c.release = who, release
		return c
	}
	return &tcpConn{TCPConn: conn.(*net.TCPConn), who: who, release: release}
}

type tcpConn struct {
	*net.TCPConn
	who     *caller.Caller
	release func()
}

// Caller tells who connected.
func (c *tcpConn) Caller() *caller.Caller { return c.who }

// Close implements net.Conn.
func (c *tcpConn) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}

type unixConn struct {
	*net.UnixConn
	who     *caller.Caller
	release func()
}

// Caller tells who connected.
func (c *unixConn) Caller() *caller.Caller { return c.who }

// Close implements net.Conn.
func (c *unixConn) Close() error {
	defer c.release()
	return c.UnixConn.Close()
}

// WriteTo shows the bare socket to w, which splices from no other.
func (c *unixConn) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, c.UnixConn) }

// ReadFrom implements io.ReaderFrom. It hides the socket's own method of that
// name, which is for datagrams.
func (c *unixConn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.UnixConn, r) }
