package listen

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(tb testing.TB, o Options) *Listener {
	tb.Helper()
	l, err := Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
	})
	return l
}

// socketPath gives a path short enough for a socket, which those that are named
// after a test may not be.
func socketPath(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "listen")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func dialTo(tb testing.TB, l *Listener) net.Conn {
	tb.Helper()
	conn, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	return conn
}

// greet answers each connection with "hello" and keeps it open until the
// caller closes it.
func greet(tb testing.TB, l *Listener) {
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					tb.Error(err)
				}
				return
			}
			serving.Go(func() {
				defer conn.Close()
				io.WriteString(conn, "hello\n")
				io.Copy(io.Discard, conn)
			})
		}
	})
	tb.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
}

// isGreeted waits for the greeting, or for being closed without one.
func isGreeted(conn net.Conn) bool {
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return line == "hello\n"
}

// pair gives both ends of an accepted connection.
func pair(tb testing.TB, l *Listener) (near, accepted net.Conn) {
	tb.Helper()
	near = dialTo(tb, l)
	accepted, err := l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { accepted.Close() })
	return near, accepted
}
