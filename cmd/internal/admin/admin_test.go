package admin

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestPathsAndMethods(t *testing.T) {
	g := startTCP(t)
	for _, tt := range []struct {
		method, target string
		status         int
		code, allow    string
		content        string // what the body holds
	}{
		{"GET", "/livez", 200, "", "", `"alive": true`},
		{"GET", "/startupz", 200, "", "", `"started": true`},
		{"GET", "/readyz", 200, "", "", `"ready": true`},
		{"GET", "/readyz?verbose", 200, "", "", `"ready": true`},
		{"GET", "/status", 200, "", "", `"version": "1.2.3"`},
		{"GET", "/metrics", 200, "", "", "bearerd_up 1"},
		{"GET", "/", 200, "", "", "<!DOCTYPE html>"},
		{"HEAD", "/", 200, "", "", ""},
		{"HEAD", "/readyz", 200, "", "", ""},
		{"POST", "/-/reload", 200, "", "", `"reloaded": true`},
		{"POST", "/-/quit", 202, "", "", `"quitting": true`},
		{"GET", "/-/reload", 405, codeMethodNotAllowed, "POST", "takes POST"},
		{"GET", "/-/quit", 405, codeMethodNotAllowed, "POST", "takes POST"},
		{"POST", "/status", 405, codeMethodNotAllowed, "GET, HEAD", "takes GET and HEAD"},
		{"DELETE", "/", 405, codeMethodNotAllowed, "GET, HEAD", "takes GET and HEAD"},
		{"TRACE", "/livez", 405, codeMethodNotAllowed, "GET, HEAD", "takes GET and HEAD"},
		{"OPTIONS", "/livez", 405, codeMethodNotAllowed, "GET, HEAD", "takes GET and HEAD"},
		{"GET", "/livez/", 404, codeNotFound, "", "/livez, /metrics, /readyz"},
		{"GET", "//livez", 404, codeNotFound, "", "/status"},
		{"GET", "/favicon.ico", 404, codeNotFound, "", "/status"},
	} {
		a := g.send(tt.method, tt.target)
		if a.status != tt.status || a.header.Get("Allow") != tt.allow || !strings.Contains(a.body, tt.content) {
			t.Errorf("%s %s: %d, Allow %q, %s", tt.method, tt.target, a.status, a.header.Get("Allow"), a.body)
			continue
		}
		if tt.code != "" && a.code(t) != tt.code {
			t.Errorf("%s %s: code %q, want %q", tt.method, tt.target, a.code(t), tt.code)
		}
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
			if a.header.Get(name) != want {
				t.Errorf("%s %s: %s is %q", tt.method, tt.target, name, a.header.Get(name))
			}
		}
		if policy := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none';") {
			t.Errorf("%s %s: Content-Security-Policy %q", tt.method, tt.target, policy)
		}
	}
	if reloads, quits := g.ordered(); reloads != 1 || quits != 1 {
		t.Errorf("%d reloads and %d quits", reloads, quits)
	}
}

func TestHostMustBeOurs(t *testing.T) {
	g := startTCP(t)
	_, port, _ := net.SplitHostPort(g.address)
	for host, ours := range map[string]bool{
		"127.0.0.1:" + port:              true,
		"localhost:" + port:              true,
		"LOCALHOST.:" + port:             true,
		"[::ffff:127.0.0.1]:" + port:     true,
		"proxy.corp.example":             true, // a configured name, whatever forwards its port
		"proxy.corp.example:" + port:     true,
		"127.0.0.1":                      false, // port 80's
		"localhost:1":                    false,
		"127.0.0.2:" + port:              false,
		"rebound.evil.example:" + port:   false,
		"127.0.0.1.nip.example:" + port:  false,
		"localhost.evil.example:" + port: false,
		"a@127.0.0.1:" + port:            false,
		"":                               false,
	} {
		want, code := 421, codeMisdirected
		if ours {
			want, code = 200, ""
		}
		a := g.send("GET", "/livez", "Host: "+host)
		if a.status == http.StatusBadRequest && !ours { // net/http refuses it before us
			continue
		}
		if a.status != want || a.code(t) != code {
			t.Errorf("Host %q: %d %s", host, a.status, a.body)
		}
	}
	// An absolute target's host counts, not the field's.
	if a := g.send("GET", "http://rebound.evil.example/status"); a.status != 421 {
		t.Errorf("absolute target: %d", a.status)
	}
	if a := g.send("POST", "/-/quit", "Host: rebound.evil.example:"+port); a.status != 421 {
		t.Errorf("quit by a rebound name: %d", a.status)
	}
	if _, quits := g.ordered(); quits != 0 {
		t.Error("a rebound name ended the daemon")
	}
}

func TestForeignPagesAreRefused(t *testing.T) {
	g := startTCP(t)
	for _, tt := range []struct {
		lines  []string
		status int
	}{
		{nil, 200},
		{[]string{"Sec-Fetch-Site: none"}, 200},
		{[]string{"Sec-Fetch-Site: same-origin"}, 200},
		{[]string{"Origin: http://" + g.address}, 200},
		{[]string{"Sec-Fetch-Site: cross-site"}, 403},
		{[]string{"Sec-Fetch-Site: same-site"}, 403}, // another port of localhost
		{[]string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"}, 403},
		{[]string{"Origin: null"}, 403},
		{[]string{"Origin: http://evil.example"}, 403},
		{[]string{"Origin: https://" + g.address}, 403},
		{[]string{"Origin: http://localhost:3000"}, 403},
		{[]string{"Origin: http://" + g.address, "Origin: http://evil.example"}, 403},
	} {
		for _, path := range []string{"/status", "/-/reload"} {
			method := "GET"
			if path == "/-/reload" {
				method = "POST"
			}
			a := g.send(method, path, tt.lines...)
			if a.status != tt.status || a.status == 403 && a.code(t) != codeCrossSite {
				t.Errorf("%s with %q: %d %s", path, tt.lines, a.status, a.body)
			}
		}
	}
	if reloads, _ := g.ordered(); reloads != 4 {
		t.Errorf("%d reloads, want the 4 that were allowed", reloads)
	}
}

// A page may be read from afar where the listener allows it; orders are not
// taken.
func TestOrdersAreTakenFromTheMachineItselfAlone(t *testing.T) {
	reloads := 0
	h, err := New(Options{
		Metrics: http.NotFoundHandler(), Status: healthy,
		Reload: func() error { reloads++; return nil },
		Quit:   func() { t.Error("it quits") },
	})
	if err != nil {
		t.Fatal(err)
	}
	lan := &net.TCPAddr{IP: net.ParseIP("10.1.2.3"), Port: 9180}
	for _, tt := range []struct {
		method, path, peer string
		local              net.Addr
		host               string
		status             int
	}{
		{"GET", "/status", "10.1.2.4:5000", lan, "10.1.2.3:9180", 200},
		{"POST", "/-/reload", "10.1.2.4:5000", lan, "10.1.2.3:9180", 403},
		{"POST", "/-/quit", "10.1.2.4:5000", lan, "10.1.2.3:9180", 403},
		{"POST", "/-/quit", "[2001:db8::1]:5000", lan, "10.1.2.3:9180", 403},
		{"POST", "/-/quit", "[::ffff:10.1.2.4]:5000", lan, "10.1.2.3:9180", 403},
		{"POST", "/-/quit", "", lan, "10.1.2.3:9180", 403},
		{"POST", "/-/reload", "[::1]:5000", &net.TCPAddr{IP: net.IPv6loopback, Port: 9180}, "[::1]:9180", 200},
		{"POST", "/-/reload", "[::ffff:127.0.0.1]:5000", &net.TCPAddr{IP: net.ParseIP("127.0.0.1"), Port: 9180}, "127.0.0.1:9180", 200},
	} {
		r := httptest.NewRequest(tt.method, tt.path, nil)
		r.RemoteAddr, r.Host = tt.peer, tt.host
		// What a caller claims about itself counts for nothing.
		r.Header.Set("X-Forwarded-For", "127.0.0.1")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(contextWithLocal(r, tt.local)))
		a := answer{w.Code, w.Header(), w.Body.String()}
		if a.status != tt.status || a.status == 403 && a.code(t) != codeNotLocal {
			t.Errorf("%s %s from %q: %d %s", tt.method, tt.path, tt.peer, a.status, a.body)
		}
	}
	if reloads != 2 {
		t.Errorf("%d reloads", reloads)
	}
}

func TestUnixSocket(t *testing.T) {
	g := startUnix(t)
	for target, method := range map[string]string{"/status": "GET", "/-/reload": "POST"} {
		if a := g.send(method, target); a.status != 200 {
			t.Errorf("%s: %d %s", target, a.status, a.body)
		}
	}
}

func TestReloadTellsWhatToCorrect(t *testing.T) {
	g := startTCP(t)
	g.mu.Lock()
	g.reloadErr = errors.New(`bearerd.yaml:3:5: unknown key "rutes"; did you mean routes?`)
	g.mu.Unlock()
	a := g.send("POST", "/-/reload")
	if a.status != 422 || a.code(t) != codeReload || !strings.Contains(a.body, `bearerd.yaml:3:5: unknown key \"rutes\"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestOrdersThatAreNotOffered(t *testing.T) {
	g := start(t, "tcp", "127.0.0.1:0", func(o *Options) { o.Reload, o.Quit = nil, nil })
	for _, path := range []string{"/-/reload", "/-/quit"} {
		if a := g.send("POST", path); a.status != 404 || strings.Contains(a.body, "/-/") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

func TestNewRefusesAnOddName(t *testing.T) {
	_, err := NewServer(Options{Metrics: http.NotFoundHandler(), Status: healthy, Names: []string{"a b"}})
	if err == nil || !strings.Contains(err.Error(), `the name "a b" of the admin listener`) {
		t.Errorf("got %v", err)
	}
}

// A client that sends nothing, or never ends its header, holds a connection for
// seconds and not for ever.
func TestServerHasLimits(t *testing.T) {
	s, err := NewServer(Options{Metrics: http.NotFoundHandler(), Status: healthy})
	if err != nil {
		t.Fatal(err)
	}
	for name, limit := range map[string]time.Duration{
		"ReadHeaderTimeout": s.ReadHeaderTimeout, "ReadTimeout": s.ReadTimeout,
		"WriteTimeout": s.WriteTimeout, "IdleTimeout": s.IdleTimeout,
	} {
		if limit <= 0 || limit > 2*time.Minute {
			t.Errorf("%s is %v", name, limit)
		}
	}
	if s.Protocols.HTTP2() || s.Protocols.UnencryptedHTTP2() || !s.Protocols.HTTP1() {
		t.Errorf("protocols %v", s.Protocols)
	}
	g := startTCP(t)
	if a := g.send("GET", "/livez", "X-Long: "+strings.Repeat("x", 32<<10)); a.status != 431 {
		t.Errorf("a long header: %d", a.status)
	}
}

func TestOrdersAreLogged(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	g := start(t, "tcp", "127.0.0.1:0", func(o *Options) { o.Logger = zap.New(core) })
	g.send("POST", "/-/reload")
	g.send("POST", "/-/quit")
	g.send("GET", "/livez")
	for _, message := range []string{"reload ordered", "quit ordered"} {
		if logs.FilterMessage(message).Len() != 1 {
			t.Errorf("%q is not in the log once", message)
		}
	}
	if logs.Len() != 2 {
		t.Errorf("%d lines; probes must not fill the log", logs.Len())
	}
}

// What anybody who can connect causes is not told to an operator who did not ask
// for it.
func TestServerErrorsAreDebugLines(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	s, err := NewServer(Options{Metrics: http.NotFoundHandler(), Status: healthy, Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	s.ErrorLog.Print("http: a broken request")
	if all := logs.All(); len(all) != 1 || all[0].Level != zap.DebugLevel || all[0].Message != "http: a broken request" {
		t.Errorf("got %v", all)
	}
}

// The answer to quit is out before the daemon is asked to end.
func TestQuitAnswersFirst(t *testing.T) {
	release := make(chan struct{})
	g := start(t, "tcp", "127.0.0.1:0", func(o *Options) { o.Quit = func() { <-release } })
	conn, err := net.Dial("tcp", g.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	defer close(release)
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "POST /-/quit HTTP/1.1\r\nHost: "+g.address+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len("HTTP/1.1 202"))
	if _, err := io.ReadFull(conn, first); err != nil || string(first) != "HTTP/1.1 202" {
		t.Errorf("%q, %v", first, err)
	}
}

func TestStatusIsStableJSON(t *testing.T) {
	g := startTCP(t)
	g.set(func(s *Status) {
		s.StartedAt = noon.In(time.FixedZone("", 3600)).Add(123 * time.Millisecond)
		s.IMDS.PausedUntil = noon.Add(-time.Second) // over
		s.Tokens[1].Required = true                 // the routes know better
		s.Tokens = s.Tokens[1:]
		s.Redirect = &Redirect{Checked: noon.Add(-time.Millisecond)}
		s.Listeners[0].Certificate = &Certificate{Expires: noon.AddDate(0, 1, 0).Add(time.Millisecond)}
		s.Refusals[0].Last = noon.Add(time.Millisecond)
		s.Identities = []Identity{{Identity: system, Principal: Principal{"o2", "/subscriptions/s/vm"}, ChangedAt: noon.Add(time.Millisecond), Previous: &Principal{ObjectID: "o1"}}}
	})
	a := g.send("GET", "/status")
	var got, want any
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatal(err)
	}
	const text = `{
  "ready": false,
  "reasons": ["no token for https://vault.azure.net (system-assigned): it was not asked for yet"],
  "troubles": [
    {"severe": true, "text": "no token for https://vault.azure.net (system-assigned): it was not asked for yet"},
    {"severe": true, "text": "no token for storage: status 400; correct the route's audience"},
    {"severe": false, "text": "the tokens of system-assigned are issued to another identity than before, which has roles of its own"},
    {"severe": true, "text": "the rules of redirect are not in place; run ` + "`bearerd redirect verify`" + ` as root to see what is missing"}
  ],
  "version": "1.2.3", "go": "go1.26.8", "platform": "linux/amd64", "started_at": "2026-11-24T12:00:00Z", "stopping": false, "cloud": "public",
  "listeners": [{"address": "127.0.0.1:8180", "mode": "explicit", "up": true, "open": 2, "accepted": 40, "certificate": {"expires": "2026-12-24T12:00:00Z"}}],
  "routes": [
    {"name": "vault", "service": "keyvault", "hosts": ["payroll.vault.azure.net"], "gateway": "vault", "identity": "system-assigned", "audience": "https://vault.azure.net", "required": true,
     "traffic": {"requests": 20, "client_errors": 3, "server_errors": 2, "broken": 1, "received_bytes": 512, "sent_bytes": 20480}},
    {"name": "storage", "service": "storage", "hosts": [], "identity": "system-assigned", "audience": "https://storage.azure.com/", "required": false,
     "traffic": {"requests": 0, "client_errors": 0, "server_errors": 0, "broken": 0, "received_bytes": 0, "sent_bytes": 0}}
  ],
  "tokens": [
    {"identity": "system-assigned", "audience": "https://storage.azure.com/", "state": "absent", "usable": false, "required": false, "failures": 3,
     "error": "token for storage: status 400; correct the route's audience", "class": "misconfigured", "hint": "correct the route's audience"}
  ],
  "identities": [
    {"identity": "system-assigned", "object_id": "o2", "resource_id": "/subscriptions/s/vm", "changed_at": "2026-11-24T12:00:00Z", "previous": {"object_id": "o1"}}
  ],
  "imds": {"endpoint": "http://169.254.169.254", "rate": 5},
  "authority": {"fingerprint": "AB:CD", "expires": "2036-11-24T12:00:00Z", "permitted": ["vault.azure.net"]},
  "redirect": {"in_place": false, "checked": "2026-11-24T11:59:59Z"},
  "in_flight": 1,
  "unrouted": {"requests": 7, "client_errors": 0, "server_errors": 0, "broken": 0, "received_bytes": 0, "sent_bytes": 0},
  "refusals": [
    {"code": "BearerdNotPermitted", "status": 403, "route": "vault", "caller": "payroll(1001)", "reason": "it takes GET only", "count": 4, "first": "2026-11-24T11:00:00Z", "last": "2026-11-24T12:00:00Z"}
  ],
  "config": {"path": "/etc/bearerd/bearerd.yaml", "loaded_at": "2026-11-24T11:00:00Z", "settings": [{"key": "own", "value": "pass", "set": false}]}
}`
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		t.Fatal(err)
	}
	gotText, _ := json.Marshal(got)
	wantText, _ := json.Marshal(want)
	if string(gotText) != string(wantText) {
		t.Errorf("got  %s\nwant %s", gotText, wantText)
	}
}

// The snapshot is the daemon's; answering must not write to it.
func TestStatusLeavesTheSnapshotAlone(t *testing.T) {
	s := healthy()
	s.Tokens[0].Obtained = s.Tokens[0].Obtained.Add(time.Millisecond)
	before, _ := json.Marshal(s)
	reportOf(s, noon)
	s.Readiness()
	if after, _ := json.Marshal(s); string(after) != string(before) {
		t.Errorf("before %s\nafter  %s", before, after)
	}
}
