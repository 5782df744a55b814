package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/dial"
	"github.com/bearerd/bearerd/proxy/route"
)

// steered is a transparent listener of a world, to which connections to at are
// redirected.
type steered struct {
	*world
	addr string

	mu         sync.Mutex // guards what follows
	at         netip.AddrPort
	redirected bool
}

func (w *world) transparent(at string, redirected bool, host string) *steered {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	s := &steered{world: w, addr: l.Addr().String(), at: netip.MustParseAddrPort(at), redirected: redirected}
	served := make(chan error, 1)
	go func() {
		served <- w.server.ServeTransparent(l, TransparentOptions{Host: host, Destination: func(net.Conn) (netip.AddrPort, bool) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.at, s.redirected
		}})
	}()
	w.t.Cleanup(func() {
		w.server.Close()
		if err := <-served; err != nil {
			w.t.Errorf("ServeTransparent ended with %v", err)
		}
	})
	return s
}

func (s *steered) dial() net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

// app is a client that knows of no proxy, whose connections all end up here.
func (s *steered) app(http2 bool) *http.Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.addr)
		},
		TLSClientConfig: &tls.Config{RootCAs: s.ca.pool}, Protocols: new(http.Protocols), DisableCompression: true,
	}
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetHTTP2(http2)
	return s.client(transport)
}

// gone reads what comes until the connection ends, which must be soon.
func gone(t testing.TB, conn net.Conn) string {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	said, err := io.ReadAll(conn)
	if isTimeout(err) {
		t.Fatal("the connection was left open")
	}
	return string(said)
}

// line waits for the line of a connection that was not intercepted, and
// gives its outcome and cause.
func (s *steered) line() (outcome, cause string) {
	s.t.Helper()
	eventually(s.t, "the connection is logged", func() bool { return s.logs.FilterMessage("connection").Len() > 0 })
	fields := s.logs.FilterMessage("connection").All()[0].ContextMap()
	cause, _ = fields["cause"].(string)
	return fields["outcome"].(string), cause
}

func echoToken(rw http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(rw, "%s %s %s", r.Host, r.URL.Path, r.Header.Get("Authorization"))
}

func TestTransparentCallsToRoutedHostsAreAuthorised(t *testing.T) {
	w := newWorld(t, echoToken)
	for _, at := range []string{"192.0.2.7:443", "[2001:db8::7]:443", "127.0.0.1:443"} {
		s := w.transparent(at, at != "127.0.0.1:443", "")
		for _, http2 := range []bool{false, true} { // the second is a client of HTTP/2 alone
			answer, body := do(t, s.app(http2), newRequest(t, "GET", "https://"+vaultHost+"/secrets/a", nil))
			if body != vaultHost+" /secrets/a Bearer token-1" || answer.ProtoMajor == 2 != http2 {
				t.Errorf("to %s: %s %d %q", at, answer.Proto, answer.StatusCode, body)
			}
		}
		if n := w.dialer.dialed(at); n != 0 {
			t.Errorf("the caller's address %s was dialled %d times for a routed call", at, n)
		}
	}
	s := w.transparent("192.0.2.7:80", true, "")
	answer, body := do(t, s.app(false), newRequest(t, "GET", "http://"+vaultHost+"/secrets/a", nil))
	if body != vaultHost+" /secrets/a Bearer token-1" {
		t.Errorf("plain http: %d %q", answer.StatusCode, body)
	}
	if w.logs.FilterMessage("request").All()[0].ContextMap()["steering"] != "transparent" {
		t.Error("the log does not tell how the call came")
	}
	wantMetrics(t, w.scrape(), `bearerd_transparent_connections_total{outcome="intercepted"} 7`)
}

func TestTransparentPortsThatNoRouteNamesAreRefused(t *testing.T) {
	s := newWorld(t, echoToken).transparent("192.0.2.7:8443", true, "")
	answer, body := do(t, s.app(false), newRequest(t, "GET", "https://"+vaultHost+":8443/secrets/a", nil))
	wantProblem(t, answer, body, http.StatusForbidden, CodePortNotRouted)
	if s.dialer.dials.Load() != 0 {
		t.Error("something was dialled")
	}
}

// mitmproxy once read one packet and took what it held for the whole hello.
func TestTransparentSplitClientHello(t *testing.T) {
	s := newWorld(t, echoToken).transparent("192.0.2.7:443", true, "")
	raw := s.dial()
	raw.(*net.TCPConn).SetNoDelay(true)
	conn := tls.Client(&byteByByte{raw}, &tls.Config{ServerName: vaultHost, RootCAs: s.ca.pool})
	fmt.Fprintf(conn, "GET /secrets/a HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", vaultHost)
	if said := gone(t, conn); !strings.HasSuffix(said, "Bearer token-1") {
		t.Errorf("got %q", said)
	}
}

// byteByByte sends each byte on its own.
type byteByByte struct{ net.Conn }

func (c *byteByByte) Write(p []byte) (int, error) {
	n, err := io.Copy(struct{ io.Writer }{c.Conn}, iotest.OneByteReader(bytes.NewReader(p)))
	return int(n), err
}

func TestTransparentSNIWithAnotherHostIsMisdirected(t *testing.T) {
	s := newWorld(t, echoToken).transparent("192.0.2.7:443", true, "")
	for _, http2 := range []bool{false, true} {
		r := newRequest(t, "GET", "https://"+vaultHost+"/secrets/a", nil)
		r.Host = armHost
		answer, body := do(t, s.app(http2), r)
		wantProblem(t, answer, body, http.StatusMisdirectedRequest, CodeMisdirected)
	}
	// A later request on the connection is judged like the first.
	plain := s.transparent("192.0.2.7:80", true, "").dial()
	fmt.Fprintf(plain, "GET /a HTTP/1.1\r\nHost: %s\r\n\r\nGET /b HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n", vaultHost)
	if said := gone(t, plain); !strings.Contains(said, "Bearer token-1") || !strings.Contains(said, "421 ") {
		t.Errorf("got %q", said)
	}
	if n := s.dialer.dials.Load(); n > 1 {
		t.Errorf("%d connections", n)
	}
}

func TestTransparentAbsoluteForm(t *testing.T) {
	s := newWorld(t, echoToken).transparent("192.0.2.7:443", true, "")
	for target, want := range map[string]string{"https://" + vaultHost + "/secrets/a": "Bearer token-1", "http://" + armHost + "/x": "421 "} {
		conn := tls.Client(s.dial(), &tls.Config{ServerName: vaultHost, RootCAs: s.ca.pool})
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", target, vaultHost)
		if said := gone(t, conn); !strings.Contains(said, want) {
			t.Errorf("%s: got %q", target, said)
		}
	}
}

// HTTP/1.0 has a name of its own in ALPN, which some clients alone offer.
func TestTransparentClientsOfHTTP10(t *testing.T) {
	s := newWorld(t, echoToken).transparent("192.0.2.7:443", true, "")
	conn := tls.Client(s.dial(), &tls.Config{ServerName: vaultHost, RootCAs: s.ca.pool, NextProtos: []string{"http/1.0"}})
	fmt.Fprintf(conn, "GET /secrets/a HTTP/1.0\r\nHost: %s\r\n\r\n", vaultHost)
	if said := gone(t, conn); !strings.HasPrefix(said, "HTTP/1.0 200 OK\r\n") || !strings.HasSuffix(said, "Bearer token-1") {
		t.Errorf("got %q", said)
	}
}

// A browser's hello always has an extension of ECH. Where it is a real one, the
// name in the clear is the outer one's.
func TestTransparentOuterSNIIsInterceptedDespiteECH(t *testing.T) {
	s := newWorld(t, echoToken).transparent("192.0.2.7:443", true, "")
	conn := tls.Client(s.dial(), &tls.Config{
		ServerName: "inner.example", RootCAs: s.ca.pool, MinVersion: tls.VersionTLS13, EncryptedClientHelloConfigList: echConfigList(t, vaultHost),
	})
	// The client says so once it has verified the leaf for the outer name.
	var rejected *tls.ECHRejectionError
	if err := conn.Handshake(); !errors.As(err, &rejected) || s.dialer.dials.Load() != 0 {
		t.Errorf("%v, %d connections", err, s.dialer.dials.Load())
	}
}

// echConfigList makes a client's configuration, to which nobody has the key
// (RFC 9849, section 4).
func echConfigList(t testing.TB, publicName string) []byte {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := private.PublicKey().Bytes()
	contents := slices.Concat([]byte{1, 0, 0x20, 0, byte(len(key))}, key, []byte{0, 4, 0, 1, 0, 1, 32, byte(len(publicName))}, []byte(publicName), []byte{0, 0})
	config := slices.Concat([]byte{0xfe, 0x0d, 0, byte(len(contents))}, contents)
	return slices.Concat([]byte{0, byte(len(config))}, config)
}

func TestTransparentClientsWithoutSNIMeanTheListenersHost(t *testing.T) {
	w := newWorld(t, echoToken)
	for host, want := range map[string]outcome{vaultHost: intercepted, "": refused} {
		s := w.transparent("127.0.0.1:443", false, host)
		conn := tls.Client(s.dial(), &tls.Config{InsecureSkipVerify: true})
		fmt.Fprintf(conn, "GET /secrets/a HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", vaultHost)
		said := gone(t, conn)
		if ok := strings.Contains(said, "Bearer token-1"); ok != (want == intercepted) {
			t.Errorf("host %q: got %q", host, said)
		}
	}
}

// talker is a server whose connections do what is asked of them.
func talker(t testing.TB, talk func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var talking sync.WaitGroup
	talking.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			talking.Go(func() {
				defer conn.Close()
				talk(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		talking.Wait()
	})
	return l.Addr().String()
}

func TestTransparentOthersAreSplicedByteForByte(t *testing.T) {
	hello := clientHello(t, "other.example")
	for name, sent := range map[string]string{
		"unrouted name": hello, "hello without a name": clientHello(t, ""), "plain http": "GET / HTTP/1.1\r\nHost: other.example\r\n\r\n",
		"another protocol": "\x00\x01\x02", "half a hello": hello[:20],
		"HTTP/2 in the clear": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "a routed name as user": "GET / HTTP/1.1\r\nHost: " + vaultHost + "@x.example\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, echoToken)
			s := w.transparent("[2001:db8::7]:8443", true, "")
			sent += strings.Repeat("more", 10_000)
			got := make(chan string, 1)
			// The answer comes after the caller has ended its direction.
			w.dialer.lead(talker(t, func(conn net.Conn) {
				all, _ := io.ReadAll(conn)
				got <- string(all)
				io.WriteString(conn, "answer")
			}))
			conn := s.dial()
			io.WriteString(conn, sent)
			conn.(*net.TCPConn).CloseWrite()
			if answer := gone(t, conn); answer != "answer" || <-got != sent {
				t.Errorf("the answer was %q, and the bytes the same: %t", answer, answer == "answer")
			}
			if n := w.dialer.dialed("[2001:db8::7]:8443"); n != 1 {
				t.Errorf("the destination was dialled %d times", n)
			}
			if outcome, cause := s.line(); outcome != "spliced" || cause != "" {
				t.Errorf("logged %s, %s", outcome, cause)
			}
			wantMetrics(t, w.scrape(), `bearerd_transparent_connections_total{outcome="spliced"} 1`)
			wantMetrics(t, w.scrape(), fmt.Sprintf("bearerd_tunnel_received_bytes_total %d", len(sent)))
		})
	}
}

// An address names no route's host, in whatever spelling, and leads nowhere but
// to where the connection was going.
func TestTransparentIPv6LiteralsAndMappedAddresses(t *testing.T) {
	w := newWorld(t, echoToken)
	w.dialer.lead(talker(t, func(conn net.Conn) { io.Copy(conn, conn) }))
	s := w.transparent("[2001:db8::7]:80", true, vaultHost)
	literals := []string{"[2001:db8::9]", "[2001:db8::9]:80", "[::ffff:192.0.2.9]", "[::ffff:c000:209]:80", "192.0.2.9", "[fe80::1%25eth0]", "[::1"}
	for _, literal := range literals {
		conn := s.dial()
		sent := "GET / HTTP/1.1\r\nHost: " + literal + "\r\n\r\n"
		io.WriteString(conn, sent)
		conn.(*net.TCPConn).CloseWrite()
		if said := gone(t, conn); said != sent {
			t.Errorf("%s: got %q", literal, said)
		}
	}
	if n := w.dialer.dialed("[2001:db8::7]:80"); n != len(literals) || int64(n) != w.dialer.dials.Load() {
		t.Errorf("the destination was dialled %d times, of %d", n, w.dialer.dials.Load())
	}
}

func clientHello(t testing.TB, name string) string {
	near, far := net.Pipe()
	go func() {
		tls.Client(near, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
	}()
	defer near.Close()
	first := make([]byte, 8<<10)
	n, err := far.Read(first)
	far.Close()
	if err != nil {
		t.Fatal(err)
	}
	return string(first[:n])
}

func TestTransparentServerThatSpeaksFirst(t *testing.T) {
	w := newWorld(t, echoToken)
	s := w.transparent("192.0.2.7:3306", true, "")
	w.dialer.lead(talker(t, func(conn net.Conn) {
		io.WriteString(conn, "220 mail.example\r\n")
		io.Copy(conn, conn)
	}))
	began := time.Now()
	conn := s.dial()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if took := time.Since(began); err != nil || line != "220 mail.example\r\n" || took < silence || took > 3*silence {
		t.Errorf("%q, %v after %s", line, err, took)
	}
	io.WriteString(conn, "QUIT\r\n")
	conn.(*net.TCPConn).CloseWrite()
	if said := gone(t, conn); said != "QUIT\r\n" {
		t.Errorf("got %q", said)
	}
}

// A browser opens connections before it has a use for them.
func TestTransparentCallerThatIsSilentFirstIsStillIntercepted(t *testing.T) {
	w := newWorld(t, echoToken)
	s := w.transparent("192.0.2.7:443", true, "")
	ended := make(chan struct{})
	w.dialer.lead(talker(t, func(conn net.Conn) {
		io.Copy(io.Discard, conn)
		close(ended)
	}))
	conn := s.dial()
	eventually(t, "the destination is connected to", func() bool { return w.dialer.dialed("192.0.2.7:443") == 1 })
	w.dialer.lead(w.upstream.Listener.Addr().String())
	client := tls.Client(conn, &tls.Config{ServerName: vaultHost, RootCAs: w.ca.pool})
	fmt.Fprintf(client, "GET /secrets/a HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", vaultHost)
	if said := gone(t, client); !strings.HasSuffix(said, "Bearer token-1") {
		t.Errorf("got %q", said)
	}
	<-ended
}

func TestTransparentCallerIsJudgedByTheSettingsOfItsFirstWord(t *testing.T) {
	w := newWorld(t, echoToken)
	s := w.transparent("192.0.2.7:443", true, "")
	w.dialer.lead(talker(t, func(conn net.Conn) { io.Copy(io.Discard, conn) }))
	conn := s.dial()
	eventually(t, "the destination is connected to", func() bool { return w.dialer.dialed("192.0.2.7:443") == 1 })
	w.dialer.lead(w.upstream.Listener.Addr().String())
	cloud, _ := azure.CloudNamed("public")
	table, err := route.Compile([]route.Rule{{Name: "new", Hosts: []string{"new.example"}, Audience: "api://new"}}, cloud)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.server.Update(Settings{Routes: table}); err != nil {
		t.Fatal(err)
	}
	client := tls.Client(conn, &tls.Config{ServerName: "new.example", RootCAs: w.ca.pool})
	fmt.Fprint(client, "GET /a HTTP/1.1\r\nHost: new.example\r\nConnection: close\r\n\r\n")
	if said := gone(t, client); !strings.HasSuffix(said, "Bearer token-1") {
		t.Errorf("got %q", said)
	}
}

func TestTransparentRefusals(t *testing.T) {
	hello := func(name string) func(testing.TB) string {
		return func(t testing.TB) string { return clientHello(t, name) }
	}
	for name, tc := range map[string]struct {
		sent       func(testing.TB) string
		redirected bool
		refuse     bool
		dialErr    error
		outcome    string
		cause      string
	}{
		"unmatched: refuse":             {hello("other.example"), true, true, nil, "refused", "no route names other.example, and other hosts are refused"},
		"unmatched: refuse, no name":    {hello(""), true, true, nil, "refused", "it names no host, and what no route names is refused"},
		"a hosts entry too many":        {hello("other.example"), false, false, nil, "refused", "no route names other.example, and no redirect led the connection here, so that there is nowhere to pass it on to; add a route, or remove the hosts entry"},
		"a hosts entry, and no name":    {hello(""), false, false, nil, "refused", "it names no host, and no redirect led it here, so that there is nowhere to pass it on to; have the client send SNI, or give it a listener with a host of its own"},
		"a destination that is down":    {hello("other.example"), true, false, errNoWay, "unreachable", "no way out"},
		"a destination that is our own": {hello("other.example"), true, false, &dial.ForbiddenError{Target: "192.0.2.7:443", Reason: "a listener of bearerd itself", Cure: "do"}, "unreachable", `"192.0.2.7:443" is a listener of bearerd itself, and bearerd does not connect there; do`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, echoToken, func(o *Options, _ *httptest.Server) { o.RefuseUnmatched, o.AccessLog = tc.refuse, AccessErrors })
			w.dialer.err = tc.dialErr
			s := w.transparent("192.0.2.7:443", tc.redirected, "")
			conn := s.dial()
			io.WriteString(conn, tc.sent(t))
			if said := gone(t, conn); said != "" {
				t.Errorf("got %q", said)
			}
			if outcome, cause := s.line(); outcome != tc.outcome || cause != tc.cause {
				t.Errorf("logged %s, %s", outcome, cause)
			}
			wantMetrics(t, w.scrape(), fmt.Sprintf("bearerd_transparent_connections_total{outcome=%q} 1", tc.outcome))
			if tc.dialErr == nil && w.dialer.dials.Load() != 0 {
				t.Error("something was dialled")
			}
		})
	}
}

// mitmproxy's endless loop: our own connections are redirected to us.
func TestTransparentEndlessSelfLoop(t *testing.T) {
	w := newWorld(t, echoToken)
	s := w.transparent("192.0.2.7:443", true, "")
	w.dialer.redirect(s.addr)
	for name, sent := range map[string]string{"unrouted": clientHello(t, "other.example"), "silent": ""} {
		before := w.logs.FilterMessage("connection").Len()
		conn := s.dial()
		io.WriteString(conn, sent)
		if said := gone(t, conn); said != "" {
			t.Errorf("%s: got %q", name, said)
		}
		eventually(t, "both connections are logged", func() bool { return w.logs.FilterMessage("connection").Len() == before+2 })
		causes := 0
		for _, line := range w.logs.FilterMessage("connection").All()[before:] {
			if line.ContextMap()["cause"] == "it is bearerd's own, and was redirected back to it; leave bearerd's user out of the redirect" {
				causes++
			}
		}
		if causes != 1 {
			t.Errorf("%s: the loop is told %d times", name, causes)
		}
	}
	// A routed call that comes back fails as well, and the app is told.
	answer, body := do(t, s.app(false), newRequest(t, "GET", "https://"+vaultHost+"/secrets/a", nil))
	wantProblem(t, answer, body, http.StatusBadGateway, CodeUpstreamUnreachable)
}

// redirect has every connection end at one address and, as the kernel does it,
// seem to lead to where it was meant to go.
func (d *fakeDialer) redirect(to string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.to = to
	d.shown = func(conn net.Conn) net.Conn {
		return &redirectedConn{conn, net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.7:443"))}
	}
}

type redirectedConn struct {
	net.Conn
	remote net.Addr
}

func (c *redirectedConn) RemoteAddr() net.Addr { return c.remote }

func TestTransparentSplicesEndWhereTheyAreRefusedOneDay(t *testing.T) {
	w := newWorld(t, echoToken)
	s := w.transparent("192.0.2.7:22", true, "")
	w.dialer.lead(talker(t, func(conn net.Conn) { io.Copy(conn, conn) }))
	conn := s.dial()
	io.WriteString(conn, "SSH-2.0-x\r\n")
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := w.server.Update(Settings{Routes: w.server.settings.Load().routes, RefuseUnmatched: true}); err != nil {
		t.Fatal(err)
	}
	gone(t, conn)
}

func TestTransparentShutdownEndsEveryKindOfConnection(t *testing.T) {
	w := newWorld(t, echoToken)
	s := w.transparent("192.0.2.7:443", true, "")
	w.dialer.lead(talker(t, func(conn net.Conn) { io.Copy(conn, conn) }))
	silent, half, spliced := s.dial(), s.dial(), s.dial()
	io.WriteString(half, clientHello(t, vaultHost)[:30])
	io.WriteString(spliced, "SSH-2.0-x\r\n")
	if _, err := bufio.NewReader(spliced).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := w.server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	for _, conn := range []net.Conn{silent, half, spliced} {
		gone(t, conn)
	}
	if _, err := net.Dial("tcp", s.addr); err == nil {
		t.Error("the listener still accepts")
	}
}
