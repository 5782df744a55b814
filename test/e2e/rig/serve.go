package rig

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Serve answers each connection by handle until the test ends, and counts them.
func Serve(t *testing.T, l net.Listener, handle func(net.Conn)) (count func() int) {
	t.Helper()
	var n atomic.Int64
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			serving.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return func() int { return int(n.Load()) }
}

// Relay passes connections on to where a fake service really is.
func Relay(dial func(address string) (net.Conn, error), to string) func(net.Conn) {
	return func(conn net.Conn) {
		far, err := dial(to)
		if err != nil {
			return
		}
		defer far.Close()
		var both sync.WaitGroup
		both.Go(func() {
			_, err := io.Copy(far, conn)
			endLike(err, far)
		})
		_, err = io.Copy(conn, far)
		endLike(err, conn)
		both.Wait()
	}
}

// endLike ends what was copied to as what was copied from has ended.
func endLike(err error, to net.Conn) {
	tcp := to.(*net.TCPConn)
	if err != nil {
		_ = tcp.SetLinger(0)
		tcp.Close()
		return
	}
	_ = tcp.CloseWrite()
}
