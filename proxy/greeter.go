package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// greeter is the destination of a caller that keeps silent, for as long as it
// is not known whether the connection will be passed on there.
type greeter struct {
	cancel    context.CancelFunc
	connected chan struct{} // closed once conn is set
	done      chan struct{} // closed once the rest is set, and nothing reads any more
	conn      net.Conn
	err       error  // that it has no connection, or lost it
	greeting  []byte // what it said
}

// greet connects to an address. spoke is called once it has said something, or
// has failed, unless end or take came before.
func (s *Server) greet(addr string, spoke func()) *greeter {
	ctx, cancel := context.WithCancel(s.base)
	g := &greeter{cancel: cancel, connected: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(g.done)
		if g.conn, g.err = s.dialer.DialContext(ctx, "tcp", addr); g.err == nil {
			close(g.connected)
			first := make([]byte, 4<<10)
			n, err := g.conn.Read(first)
			g.greeting = first[:n]
			// The kernel tells of a reset once: then it looks like an orderly end.
			if err != nil && err != io.EOF && !isTimeout(err) {
				g.conn.Close()
				g.err = err
			}
		}
		if ctx.Err() == nil {
			spoke()
		}
	}()
	return g
}

// end has it neither connect nor read any more. Nil has nothing to end.
func (g *greeter) end() {
	if g == nil {
		return
	}
	if conn, err := g.take(); err == nil {
		conn.Close()
	}
}

// take gives the connection, whose reader gets the greeting first. After an
// error there is none. It may be called once.
func (g *greeter) take() (*callerConn, error) {
	g.cancel()
	select {
	case <-g.connected:
		_ = g.conn.SetReadDeadline(longAgo())
	case <-g.done:
	}
	<-g.done
	if g.err != nil {
		return nil, g.err
	}
	_ = g.conn.SetReadDeadline(time.Time{}) // where it fails, so does the next read
	return &callerConn{Conn: g.conn, early: g.greeting}, nil
}

// longAgo is a deadline that ends a read at once.
func longAgo() time.Time { return time.Unix(1, 0) }

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
