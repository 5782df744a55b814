package proxy

import (
	"fmt"
	"io"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// A caller that opens connections and says nothing must not hold them for ever.
func TestSilentCallersAreHungUpOn(t *testing.T) {
	w := newWorld(t, echo, func(o *Options, _ *httptest.Server) {
		o.Limits.HeaderTimeout, o.Limits.IdleTimeout = 50*time.Millisecond, 50*time.Millisecond
	})
	for name, open := range map[string]func() io.ReadWriteCloser{
		"at once":                   func() io.ReadWriteCloser { return w.dial() },
		"in the middle of a header": func() io.ReadWriteCloser { c := w.dial(); io.WriteString(c, "GET / HTTP/1.1\r\nX: "); return c },
		"before a TLS handshake":    func() io.ReadWriteCloser { return w.connect(vaultHost + ":443") },
		"in the middle of one": func() io.ReadWriteCloser {
			c := w.connect(vaultHost + ":443")
			io.WriteString(c, "\x16\x03\x01\x02\x00")
			return c
		},
		"after one": func() io.ReadWriteCloser { return w.intercepted(vaultHost, vaultHost, "http/1.1") },
		"between HTTP/2's requests": func() io.ReadWriteCloser {
			c := w.intercepted(vaultHost, vaultHost, "h2")
			io.WriteString(c, http2.ClientPreface)
			if err := http2.NewFramer(c, c).WriteSettings(); err != nil {
				t.Error(err)
			}
			return c
		},
		"in the clear":             func() io.ReadWriteCloser { return w.connect(vaultHost + ":80") },
		"in a header in the clear": func() io.ReadWriteCloser { c := w.connect(vaultHost + ":80"); io.WriteString(c, "GET / HT"); return c },
		"between requests": func() io.ReadWriteCloser {
			c := w.dial()
			fmt.Fprintf(c, "GET /vault/x HTTP/1.1\r\nHost: %s\r\n\r\n", w.addr)
			return c
		},
		"after one, in its requests": func() io.ReadWriteCloser {
			c := w.intercepted(vaultHost, vaultHost)
			io.WriteString(c, "GET / HTTP/1.1\r\n")
			return c
		},
	} {
		conn := open()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			io.Copy(io.Discard, conn)
		}()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Errorf("silent %s, the connection stayed open", name)
			conn.Close()
			<-ended
		}
	}
}

// Whereas a tunnel may be silent: bearerd cannot see what it is for.
func TestSilentTunnelIsLeftAlone(t *testing.T) {
	w := newWorld(t, echo, func(o *Options, _ *httptest.Server) {
		o.Limits.HeaderTimeout, o.Limits.IdleTimeout = 20*time.Millisecond, 20*time.Millisecond
	})
	w.dialer.to = echoServer(t)
	conn := w.connect("mail.example:25")
	conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); err == io.EOF {
		t.Error("it was closed")
	}
	conn.SetReadDeadline(time.Time{})
	io.WriteString(conn, "x")
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}
