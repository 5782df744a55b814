package admin

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// After a request that it did not read whole, net/http leaves a closed
	// connection half a second before it forgets it.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

const (
	vault   = "https://vault.azure.net"
	storage = "https://storage.azure.com/"
	system  = "system-assigned"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) // never changed

// healthy is a daemon in which nothing is amiss.
func healthy() Status {
	return Status{
		Version:   "1.2.3",
		Go:        "go1.26.8",
		Platform:  "linux/amd64",
		InFlight:  1,
		Unrouted:  Traffic{Requests: 7},
		StartedAt: noon.Add(-time.Hour),
		Cloud:     "public",
		Listeners: []Listener{{Address: "127.0.0.1:8180", Mode: "explicit", Up: true, Open: 2, Accepted: 40}},
		Routes: []Route{
			{Name: "vault", Service: "keyvault", Hosts: []string{"payroll.vault.azure.net"}, Gateway: "vault", Identity: system, Audience: vault, Required: true,
				Traffic: Traffic{Requests: 20, ClientErrors: 3, ServerErrors: 2, Broken: 1, ReceivedBytes: 512, SentBytes: 20 << 10}},
			{Name: "storage", Service: "storage", Identity: system, Audience: storage},
		},
		Tokens: []Token{
			{Identity: system, Audience: vault, State: "fresh", Usable: true, Obtained: noon.Add(-time.Hour), Expires: noon.Add(23 * time.Hour), NextAttempt: noon.Add(11 * time.Hour)},
			{Identity: system, Audience: storage, State: "absent", Failures: 3, Class: "misconfigured", Error: "token for storage: status 400; correct the route's audience", Hint: "correct the route's audience"},
		},
		IMDS:      IMDS{Endpoint: "http://169.254.169.254", Rate: 5},
		Authority: &Authority{Fingerprint: "AB:CD", Expires: noon.AddDate(10, 0, 0), Permitted: []string{"vault.azure.net"}},
		Refusals: []Refusal{
			{Code: "BearerdNotPermitted", Status: 403, Route: "vault", Caller: "payroll(1001)", Reason: "it takes GET only", Count: 4, First: noon.Add(-time.Hour), Last: noon},
		},
		Config: Config{Path: "/etc/bearerd/bearerd.yaml", LoadedAt: noon.Add(-time.Hour), Settings: []Setting{{Key: "own", Value: "pass"}}},
	}
}

// rig is an admin server on a real listener.
type rig struct {
	tb      testing.TB
	network string
	address string // what is dialled, and Host unless a request says otherwise

	mu        sync.Mutex // guards what follows
	status    Status
	reloads   int
	quits     int
	reloadErr error
}

func start(tb testing.TB, network, address string, edit func(*Options)) *rig {
	tb.Helper()
	g := &rig{tb: tb, network: network, status: healthy()}
	o := Options{
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "bearerd_up 1\n") }),
		Status: func() Status {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.status
		},
		Reload: func() error {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.reloads++
			return g.reloadErr
		},
		Quit: func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.quits++
		},
		Names: []string{"Proxy.corp.example."},
		Now:   func() time.Time { return noon },
	}
	if edit != nil {
		edit(&o)
	}
	server, err := NewServer(o)
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		tb.Fatal(err)
	}
	g.address = listener.Addr().String()
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	tb.Cleanup(func() {
		server.Close()
		served.Wait()
	})
	return g
}

func startTCP(tb testing.TB) *rig { return start(tb, "tcp", "127.0.0.1:0", nil) }

func startUnix(tb testing.TB) *rig {
	return start(tb, "unix", filepath.Join(tb.TempDir(), "admin.sock"), nil)
}

func (g *rig) set(edit func(*Status)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	edit(&g.status)
}

func (g *rig) ordered() (reloads, quits int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reloads, g.quits
}

// answer is a response that was read whole.
type answer struct {
	status int
	header http.Header
	body   string
}

// send sends a request with header lines of the caller's own; no client adds or
// refuses anything.
func (g *rig) send(method, target string, lines ...string) answer {
	g.tb.Helper()
	conn, err := net.Dial(g.network, g.address)
	if err != nil {
		g.tb.Fatal(err)
	}
	defer conn.Close()
	host := "Host: " + g.address
	if g.network == "unix" {
		host = "Host: localhost"
	}
	if len(lines) > 0 && strings.HasPrefix(lines[0], "Host:") {
		host, lines = lines[0], lines[1:]
	}
	lines = append([]string{method + " " + target + " HTTP/1.1", host, "Connection: close"}, lines...)
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		g.tb.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		g.tb.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		g.tb.Fatal(err)
	}
	return answer{status: r.StatusCode, header: r.Header, body: string(body)}
}

// code gives the error's code, and reports one that the body and the header do
// not agree on.
func (a answer) code(tb testing.TB) string {
	tb.Helper()
	var body errorBody
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		tb.Fatalf("%d %q: %v", a.status, a.body, err)
	}
	if body.Error.Code != a.header.Get(errorHeader) || body.Error.Code != "" && body.Error.Message == "" {
		tb.Errorf("header %q, body %s", a.header.Get(errorHeader), a.body)
	}
	return body.Error.Code
}
