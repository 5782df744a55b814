package listen

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

var everyLoopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// headerOf gives the header of a connection from source.
func headerOf(tb testing.TB, version byte, source string) []byte {
	tb.Helper()
	h := proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(source)), net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:443")))
	text, err := h.Format()
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func TestCallerIsWhoTheLoadBalancerSays(t *testing.T) {
	l := open(t, Options{Address: "127.0.0.1:0", HeaderFrom: everyLoopback})
	local := proxyproto.Header{Version: 2, Command: proxyproto.LOCAL}
	probe, err := local.Format()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		header []byte
		want   string // empty: the load balancer's own
	}{
		{"IPv4", headerOf(t, 2, "198.51.100.7:4711"), "198.51.100.7:4711"},
		{"a probe of its own", probe, ""},
	} {
		near := dialTo(t, l)
		// In pieces, with what the caller says behind it.
		text := append(bytes.Clone(test.header), "hello"...)
		for _, b := range text {
			near.Write([]byte{b})
		}
		near.(*net.TCPConn).CloseWrite()
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if want := test.want; conn.RemoteAddr().String() != want && (want != "" || conn.RemoteAddr().String() != near.LocalAddr().String()) {
			t.Errorf("%s: the remote address is %s", test.name, conn.RemoteAddr())
		}
		if got, err := io.ReadAll(conn); string(got) != "hello" || err != nil {
			t.Errorf("%s: read %q, %v", test.name, got, err)
		}
		conn.Close()
	}
}

// A load balancer's connection without the header is closed, and others pass it.
func TestHeaderThatIsMissingOrWrongClosesTheConnection(t *testing.T) {
	refused := make(chan error, 1)
	l := open(t, Options{Address: "127.0.0.1:0", HeaderFrom: everyLoopback, HeaderRefused: func(balancer netip.Addr, err error) {
		if balancer != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("the balancer is %s", balancer)
		}
		refused <- err
	}})
	greet(t, l)
	slow := dialTo(t, l) // sends nothing, and holds nobody up
	for name, test := range map[string]struct {
		text []byte
		want string
	}{
		"none":      {[]byte("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"), "does not begin with"},
		"version 1": {headerOf(t, 1, "198.51.100.7:4711"), "version 1"},
		"cut off":   {headerOf(t, 2, "198.51.100.7:4711")[:20], "does not begin with"},
	} {
		conn := dialTo(t, l)
		conn.Write(test.text)
		conn.(*net.TCPConn).CloseWrite()
		if got, _ := io.ReadAll(conn); len(got) > 0 {
			t.Errorf("%s: answered %q", name, got)
		}
		if err := <-refused; !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: refused with %v", name, err)
		}
	}
	slow.Close()
}

// A stranger's header is data, and does not make another caller of it.
func TestStrangerCannotNameAnotherCaller(t *testing.T) {
	l := open(t, Options{Address: "127.0.0.1:0", HeaderFrom: []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")}})
	header := headerOf(t, 2, "127.0.0.1:1")
	near := dialTo(t, l)
	near.Write(header)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.RemoteAddr().String() != near.LocalAddr().String() {
		t.Errorf("the remote address is %s", conn.RemoteAddr())
	}
	got := make([]byte, len(header))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, header) {
		t.Errorf("read %q, %v", got, err)
	}
}

// The limits count the callers behind a load balancer one by one.
func TestCallersBehindALoadBalancerCountOneByOne(t *testing.T) {
	l := open(t, Options{Address: "127.0.0.1:0", HeaderFrom: everyLoopback, Limits: NewLimits(LimitOptions{PerCaller: 1})})
	greet(t, l)
	for source, want := range map[string]bool{"198.51.100.7:1": true, "198.51.100.8:1": true} {
		conn := dialTo(t, l)
		conn.Write(headerOf(t, 2, source))
		if got := isGreeted(conn); got != want {
			t.Errorf("%s: greeted %t", source, got)
		}
	}
	again := dialTo(t, l)
	again.Write(headerOf(t, 2, "198.51.100.7:2"))
	if isGreeted(again) {
		t.Error("a second connection of one caller was greeted")
	}
}

// A connection for a challenge shows no client certificate and is of no other use.
func TestChallengeLetsNobodyPastTheClientCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(nil) // for its certificate
	server.StartTLS()
	server.Close()
	cert := server.TLS.Certificates[0]
	l := TLS(open(t, Options{Address: "127.0.0.1:0"}), TLSOptions{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil },
		ClientCAs:      x509.NewCertPool, Challenge: "acme-tls/1",
	})
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Errorf("served %s", r.URL) })}
	done := make(chan struct{})
	go func() { s.Serve(l); close(done) }()
	t.Cleanup(func() { s.Close(); <-done })
	for _, protos := range [][]string{nil, {"http/1.1"}, {"acme-tls/1"}, {"acme-tls/1", "http/1.1"}} {
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: protos})
		isChallenge := len(protos) == 1 && protos[0] == "acme-tls/1"
		if isChallenge && err != nil {
			t.Errorf("the challenge's handshake: %v", err)
		}
		if err != nil {
			continue
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if got, err := io.ReadAll(conn); len(got) > 0 {
			t.Errorf("%v: answered %q, %v", protos, got, err)
		}
		conn.Close()
	}
}

// HTTP/1.0 has a name of its own in ALPN, which some clients alone offer.
func TestTLSListenerTakesClientsOfHTTP10(t *testing.T) {
	server := httptest.NewUnstartedServer(nil) // for its certificate
	server.StartTLS()
	server.Close()
	cert := server.TLS.Certificates[0]
	l := TLS(open(t, Options{Address: "127.0.0.1:0"}), TLSOptions{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }})
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })}
	done := make(chan struct{})
	go func() { s.Serve(l); close(done) }()
	t.Cleanup(func() { s.Close(); <-done })
	conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
	if got, err := io.ReadAll(conn); !strings.HasSuffix(string(got), "\r\n\r\nHTTP/1.0") {
		t.Errorf("answered %q, %v", got, err)
	}
}
