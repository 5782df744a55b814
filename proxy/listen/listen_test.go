package listen

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func TestAddressesAreThoseAskedFor(t *testing.T) {
	for _, tc := range []struct {
		address string
		allow   bool
		want    string
	}{
		{"127.0.0.1:0", false, "127.0.0.1"},
		{"127.0.0.2:0", false, "127.0.0.2"},
		{"[::1]:0", false, "::1"},
		{"[::ffff:127.0.0.1]:0", false, "127.0.0.1"},
		{"localhost:0", false, "127.0.0.1"},
		{"LocalHost:0", false, "127.0.0.1"},
		{"0.0.0.0:0", true, "0.0.0.0"},
		{"[::]:0", true, "::"},
		{":0", true, "::"},
	} {
		l := open(t, Options{Address: tc.address, InsecureAllowNetwork: tc.allow})
		addr := l.Addr().(*net.TCPAddr).AddrPort()
		if addr.Addr() != netip.MustParseAddr(tc.want) || addr.Port() == 0 {
			t.Errorf("%s listens on %v", tc.address, addr)
		}
	}
}

func TestAddressesAreChecked(t *testing.T) {
	const network = "other machines can reach that address, and with it this machine's identity; " +
		"listen on 127.0.0.1 or a unix socket, or set insecure_allow_network: true where a firewall keeps strangers out"
	const hint = "; write an address and a port like 127.0.0.1:8180, or unix: and a path"
	for address, want := range map[string]string{
		"0.0.0.0:0":                         network,
		"[::]:0":                            network,
		":0":                                network,
		"[::ffff:0.0.0.0]:0":                network,
		"10.0.0.4:0":                        network,
		"[fe80::1%lo]:0":                    network,
		"8180":                              "it is no address and port" + hint,
		"127.0.0.1":                         "it is no address and port" + hint,
		"127.0.0.1:65536":                   "the port is not between 0 and 65535" + hint,
		"127.0.0.1:http":                    "the port is not between 0 and 65535" + hint,
		"proxy.example:0":                   "a name may mean several addresses, or others tomorrow" + hint,
		"localhost.:0":                      "a name may mean several addresses, or others tomorrow" + hint,
		"0x7f.1:0":                          "a name may mean several addresses, or others tomorrow" + hint,
		"unix:":                             "the path is not absolute; write unix:/run/bearerd/proxy.sock",
		"unix:proxy.sock":                   "the path is not absolute; write unix:/run/bearerd/proxy.sock",
		"unix:@proxy":                       "the path is not absolute; write unix:/run/bearerd/proxy.sock",
		"unix:/" + strings.Repeat("x", 200): "the path is longer than the 103 bytes that a socket's may have; choose a shorter one",
	} {
		l, err := Open(t.Context(), Options{Address: address})
		if err == nil {
			l.Close()
			t.Errorf("%s was opened", address)
			continue
		}
		if got, want := err.Error(), "listen on "+address+": "+want; got != want {
			t.Errorf("got:  %s\nwant: %s", got, want)
		}
	}
}

func TestHTTPIsServedAndShutDown(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "unix:" + socketPath(t)} {
		l := open(t, Options{Address: address, Limits: NewLimits(LimitOptions{})})
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })}
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }()
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, l.Addr().Network(), l.Addr().String())
		}}
		resp, err := (&http.Client{Transport: transport}).Get("http://bearerd.example/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != "hello" {
			t.Errorf("%s: %q, %v", address, body, err)
		}
		transport.CloseIdleConnections()
		if err := server.Shutdown(t.Context()); err != nil {
			t.Errorf("%s: %v", address, err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("%s: %v", address, err)
		}
		if path, ok := strings.CutPrefix(address, "unix:"); ok {
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket's file outlives it: %v", err)
			}
		}
	}
}

func TestCloseEndsAcceptAndMayBeRepeated(t *testing.T) {
	l := open(t, Options{Address: "127.0.0.1:0"})
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept gave %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close gave %v", err)
	}
}

// spyWriter sees what it is asked to read from.
type spyWriter struct {
	io.Writer
	source io.Reader
}

func (w *spyWriter) ReadFrom(r io.Reader) (int64, error) {
	w.source = r
	return 0, nil
}

func TestConnectionsKeepWhatASocketCan(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "unix:" + socketPath(t)} {
		l := open(t, Options{Address: address, Limits: NewLimits(LimitOptions{})})
		near, accepted := pair(t, l)
		for _, able := range []bool{
			implements[io.ReaderFrom](accepted), implements[io.WriterTo](accepted), implements[interface{ CloseWrite() error }](accepted),
			implements[interface{ CloseRead() error }](accepted),
		} {
			if !able {
				t.Errorf("%s: a %T lacks an ability", address, accepted)
			}
		}
		// A half-close passes in both directions, and copies move all.
		if _, err := io.Copy(accepted, strings.NewReader("answer")); err != nil {
			t.Error(err)
		}
		if err := accepted.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(near); string(got) != "answer" || err != nil {
			t.Errorf("%s: read %q, %v", address, got, err)
		}
		io.WriteString(near, "late")
		near.(interface{ CloseWrite() error }).CloseWrite()
		var got strings.Builder
		if _, err := io.Copy(&got, accepted); got.String() != "late" || err != nil {
			t.Errorf("%s: read %q, %v", address, got.String(), err)
		}
		if err := accepted.Close(); err != nil {
			t.Error(err)
		}
		if _, err := accepted.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: a read after Close gives %v", address, err)
		}
	}
	// Package net splices only from a socket type of its own, bare.
	_, accepted := pair(t, open(t, Options{Address: "unix:" + socketPath(t)}))
	spy := &spyWriter{}
	if _, err := io.Copy(spy, accepted); err != nil {
		t.Error(err)
	}
	if _, ok := spy.source.(*net.UnixConn); !ok {
		t.Errorf("a copy reads from a %T", spy.source)
	}
}

func implements[T any](v any) bool {
	_, ok := v.(T)
	return ok
}
