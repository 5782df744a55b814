package proxy

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/metrics"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	vaultHost = "payroll.vault.azure.net"
	blobHost  = "acct.blob.core.windows.net"
	armHost   = "management.azure.com"
	apiHost   = "api.contoso.internal"
)

// fakeTokens gives "token-1", and after a renewal "token-2" and so on.
type fakeTokens struct {
	generation atomic.Int64
	renewals   atomic.Int64
	stuck      bool  // a renewal brings the same token again
	err        error // no token at all
}

func (f *fakeTokens) Token(context.Context, cache.Key) (*imds.Token, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.current(), nil
}

func (f *fakeTokens) Renew(_ context.Context, _ cache.Key, rejected *imds.Token) (*imds.Token, error) {
	f.renewals.Add(1)
	if !f.stuck && f.current().Equal(rejected) {
		f.generation.Add(1)
	}
	return f.current(), nil
}

func (f *fakeTokens) current() *imds.Token {
	return imds.NewToken(fmt.Sprintf("token-%d", f.generation.Load()+1), time.Now().Add(time.Hour), time.Time{})
}

// testCA signs what it is asked to: the upstream's certificate, and the leaves
// of intercepted connections.
type testCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newTestCA(t testing.TB) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	ca := &testCA{cert: cert, key: key, pool: x509.NewCertPool()}
	ca.pool.AddCert(cert)
	return ca
}

// Leaf implements Authority.
func (ca *testCA) Leaf(_ context.Context, host string) (*tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &ca.key.PublicKey, ca.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, ca.cert.Raw}, PrivateKey: ca.key}, nil
}

// tlsServer speaks one protocol over TLS on conn, as whoever is asked for.
func tlsServer(conn net.Conn, ca *testCA, protocol string) *tls.Conn {
	return tls.Server(conn, &tls.Config{
		NextProtos:     []string{protocol},
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return ca.Leaf(h.Context(), h.ServerName) },
	})
}

// fakeDialer leads every name to one address, and nowhere else.
type fakeDialer struct {
	to    string // at the start; lead changes it
	err   error
	dials atomic.Int64

	mu    sync.Mutex // guards what follows, and to
	got   map[string]int
	shown func(net.Conn) net.Conn // what a connection looks like; nil: as it is
}

// DialContext implements Dialer.
func (d *fakeDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	d.dials.Add(1)
	d.mu.Lock()
	to, shown := d.to, d.shown
	if d.got == nil {
		d.got = make(map[string]int)
	}
	d.got[addr]++
	d.mu.Unlock()
	if d.err != nil {
		return nil, d.err
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, to)
	if err != nil || shown == nil {
		return conn, err
	}
	return shown(conn), nil
}

// lead has every name lead elsewhere from now on.
func (d *fakeDialer) lead(to string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.to = to
}

// dialed counts the connections to an address.
func (d *fakeDialer) dialed(addr string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.got[addr]
}

// world is a running Server between callers and one upstream.
type world struct {
	t        testing.TB
	ca       *testCA
	upstream *httptest.Server
	tokens   *fakeTokens
	dialer   *fakeDialer
	metrics  *metrics.Metrics
	logs     *observer.ObservedLogs
	server   *Server
	addr     string // of the plain port
	served   chan error
}

// testRules name each kind of host, with a gateway for each.
func testRules() []route.Rule {
	return []route.Rule{
		{Service: "keyvault", Hosts: []string{vaultHost}, Gateway: "vault"},
		{Service: "storage", Hosts: []string{blobHost}, Gateway: "blob"},
		{Service: "arm", Gateway: "arm"},
		{Name: "api", Hosts: []string{apiHost}, Audience: "api://contoso", Gateway: "api", Upgrades: []string{"websocket"}},
	}
}

type worldOption func(*Options, *httptest.Server)

func upstreamHTTP1(_ *Options, u *httptest.Server) { u.EnableHTTP2 = false }

// newWorld starts handler as the upstream of a Server.
func newWorld(t testing.TB, handler http.HandlerFunc, options ...worldOption) *world {
	t.Helper()
	w := &world{t: t, ca: newTestCA(t), tokens: &fakeTokens{}, metrics: metrics.New("test"), served: make(chan error, 1)}
	core, logs := observer.New(zap.DebugLevel)
	w.logs = logs
	cloud, _ := azure.CloudNamed("public")
	table, err := route.Compile(testRules(), cloud)
	if err != nil {
		t.Fatal(err)
	}
	w.dialer = &fakeDialer{}
	o := Options{Settings: Settings{Routes: table, AccessLog: AccessAll}, Tokens: w.tokens, Dialer: w.dialer, Authority: w.ca, RootCAs: w.ca.pool,
		Metrics: w.metrics, Logger: zap.New(core)}
	w.upstream = httptest.NewUnstartedServer(handler)
	w.upstream.EnableHTTP2 = true
	w.upstream.Config.ErrorLog = log.New(io.Discard, "", 0)
	for _, option := range options {
		option(&o, w.upstream)
	}
	w.upstream.TLS = &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return w.ca.Leaf(h.Context(), h.ServerName) }}
	w.upstream.StartTLS()
	w.dialer.to = w.upstream.Listener.Addr().String()
	t.Cleanup(w.upstream.Close)
	if w.server, err = New(o); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	go func() { w.served <- w.server.Serve(l, Interception{}) }()
	t.Cleanup(func() {
		w.server.Close()
		if err := <-w.served; err != nil {
			t.Errorf("Serve ended with %v", err)
		}
	})
	return w
}

// viaConnect is a client that uses us as its HTTPS proxy.
func (w *world) viaConnect(http2 bool) *http.Client {
	transport := &http.Transport{
		Proxy:              http.ProxyURL(&url.URL{Scheme: "http", Host: w.addr}),
		TLSClientConfig:    &tls.Config{RootCAs: w.ca.pool},
		ForceAttemptHTTP2:  http2,
		DisableCompression: true,
	}
	return w.client(transport)
}

// plain is a client of the plain port that talks to base URLs.
func (w *world) plain() *http.Client { return w.client(&http.Transport{DisableCompression: true}) }

func (w *world) client(transport *http.Transport) *http.Client {
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (w *world) base(path string) string { return "http://" + w.addr + path }

// do sends a request and gives the answer with its body.
func do(t testing.TB, c *http.Client, r *http.Request) (*http.Response, string) {
	t.Helper()
	answer, err := c.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s %s: reading the answer: %v", r.Method, r.URL, err)
	}
	return answer, string(body)
}

func newRequest(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// raw sends text to the plain port as it is and gives the answer.
func (w *world) raw(text, method string) *http.Response {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		w.t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		w.t.Fatalf("reading the answer to %q: %v", text, err)
	}
	return answer
}

// wantProblem checks an answer of our own: its status, header and body.
func wantProblem(t testing.TB, answer *http.Response, body string, status int, code Code) {
	t.Helper()
	if answer.StatusCode != status || answer.Header.Get(ErrorHeader) != string(code) {
		t.Errorf("got %d with %s %q and %q, want %d with %q", answer.StatusCode, ErrorHeader, answer.Header.Get(ErrorHeader), body, status, code)
	}
}

var errNoWay = errors.New("no way out")

// eventually waits for what another goroutine brings about.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not so in time: %s", what)
		}
	}
}
