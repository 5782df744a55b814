package proxy

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

// lines gives the access lines, once the server has ended.
func (w *world) lines() []string {
	w.t.Helper()
	if err := w.server.Shutdown(context.Background()); err != nil {
		w.t.Error(err)
	}
	encoder := zapcore.NewJSONEncoder(zap.NewDevelopmentEncoderConfig())
	var lines []string
	for _, entry := range w.logs.All() {
		text, err := encoder.EncodeEntry(entry.Entry, entry.Context)
		if err != nil {
			w.t.Fatal(err)
		}
		lines = append(lines, text.String())
	}
	return lines
}

// Whatever goes wrong, no credential of a caller, no token and no query is in
// the log, in an answer of ours, or in a metric.
func TestSecretsReachNoLogAnswerOrMetric(t *testing.T) {
	const canary = "c4n4ry"
	secrets := []string{canary, "token-1"}
	var seen strings.Builder
	var malformed atomic.Int64
	w := newWorld(t, echo)
	ask := func(name string, prepare func(), target, header string) {
		service, err := w.dialer.to, w.dialer.err
		w.server.routed.CloseIdleConnections() // or the last service would be asked
		prepare()
		conn := w.dial()
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\nProxy-Authorization: Basic %s\r\nCookie: %s\r\n%s\r\n", target, w.addr, canary, canary, canary, header)
		if answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: strings.Fields(target)[0]}); err == nil && answer.Header.Get(ErrorHeader) != "" {
			body, _ := io.ReadAll(answer.Body)
			fmt.Fprintln(&seen, name, answer.Header, string(body))
		}
		w.dialer.to, w.dialer.err = service, err
	}
	nothing := func() {}
	raw := func(text string) func() {
		return func() {
			w.service(func(r *http.Request, conn net.Conn) {
				malformed.Add(1)
				io.WriteString(conn, strings.ReplaceAll(text, "TOKEN", r.Header.Get("Authorization")))
			})
		}
	}
	query := "?sig=" + canary + "&code=" + canary
	ask("served", nothing, "GET /api/x"+query, "")
	ask("served with a signature", nothing, "GET /blob/x"+query+"&sv=2024-11-04", "")
	ask("unknown gateway", nothing, "GET /nope"+query, "")
	ask("foreign name", nothing, "GET http://user:"+canary+"@x.example/"+query, "")
	ask("CONNECT with user information", nothing, "CONNECT user:"+canary+"@x.example:443", "")
	ask("not permitted", nothing, "GET /vault/x"+query, "Connection: Upgrade\r\nUpgrade: websocket\r\n")
	ask("malformed target", nothing, "GET /vault/x"+query+"#"+canary, "")
	ask("bad trailer", nothing, "PUT /api/x"+query, "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"+canary+" no colon\r\n\r\n")
	ask("unreachable", func() { w.dialer.err = errNoWay }, "GET /api/x"+query, "")
	ask("unreachable in the clear", func() { w.dialer.err = errNoWay }, "GET http://x.example/x"+query, "")
	ask("malformed header", raw("HTTP/1.1 200 OK\r\nno colon TOKEN\r\n\r\n"), "GET /api/x"+query, "")
	ask("malformed status", raw("TOKEN\r\n\r\n"), "GET /api/x"+query, "")
	ask("malformed length", raw("HTTP/1.1 200 OK\r\nContent-Length: TOKEN\r\n\r\n"), "GET /api/x"+query, "")
	ask("malformed coding", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: TOKEN\r\n\r\n"), "GET /api/x"+query, "")
	ask("malformed chunk", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\nTOKEN\r\n"), "GET /api/x"+query, "")
	ask("malformed answer's trailer", raw("HTTP/1.1 200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTOKEN\r\n\r\n"), "GET /api/x"+query, "")
	ask("nothing", raw(""), "GET /api/x"+query, "")

	if n := malformed.Load(); n != 7 {
		t.Errorf("%d services gave a malformed answer, want 7", n)
	}
	all := strings.Join(w.lines(), "") + seen.String() + w.scrape()
	for _, want := range []string{`"malformed header or trailer"`, string(CodeUpstreamUnreachable), `"path":"/x"`, "bearerd_upstream_errors_total"} {
		if !strings.Contains(all, want) {
			t.Errorf("%s was not told; does the test still reach what it should?", want)
		}
	}
	for _, secret := range secrets {
		for line := range strings.Lines(all) {
			if strings.Contains(line, secret) {
				t.Errorf("a secret was told: %s", line)
			}
		}
	}
}

func TestAccessLineTellsOneRequest(t *testing.T) {
	w := newWorld(t, echo)
	r := newRequest(t, "PUT", "https://"+blobHost+"/c/"+strings.Repeat("b", 2*maxShown)+"?x=y", strings.NewReader("hello"))
	_, body := do(t, w.viaConnect(true), r)
	var line map[string]any
	for _, text := range w.lines() {
		if strings.Contains(text, `"method":"PUT"`) {
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, want := range map[string]any{
		"M": "request", "L": "INFO", "steering": "connect", "host": blobHost, "route": "storage", "status": 200.0,
		"operation": "storage.blob.put", "mints": nil,
		"received": 5.0, "sent": float64(len(body)), "path": "/c/" + strings.Repeat("b", maxShown-3) + "...",
	} {
		if line[name] != want {
			t.Errorf("%s is %v, want %v", name, line[name], want)
		}
	}
}

// A credential that works past us leaves a trace, whether it was given or not,
// and what a call does is counted.
func TestOperationsAreToldAndCounted(t *testing.T) {
	restricted := func(o *Options, _ *httptest.Server) {
		rules := testRules()
		rules[0].Operations = []string{"keyvault.secret.get"}
		cloud, _ := azure.CloudNamed("public")
		table, err := route.Compile(rules, cloud)
		if err != nil {
			t.Fatal(err)
		}
		o.Routes = table
	}
	w := newWorld(t, echo, restricted)
	do(t, w.plain(), newRequest(t, "GET", w.base("/vault/secrets/a"), nil))
	for range 2 {
		if answer, _ := do(t, w.plain(), newRequest(t, "POST", w.base("/vault/secrets/a/backup"), nil)); answer.StatusCode != 403 {
			t.Errorf("the backup got %d", answer.StatusCode)
		}
	}
	if answer, _ := do(t, w.plain(), newRequest(t, "POST", w.base("/blob/?restype=service&comp=userdelegationkey"), nil)); answer.StatusCode != 200 {
		t.Errorf("the key got %d", answer.StatusCode)
	}
	do(t, w.plain(), newRequest(t, "PUT", w.base("/blob/c/b?comp=a&comp=b"), nil))
	do(t, w.plain(), newRequest(t, "GET", w.base("/nope"), nil))
	lines := strings.Join(w.lines(), "")
	for part, want := range map[string]int{
		`"operation":"keyvault.secret.get"`:                            1,
		`"operation":"keyvault.secret.backup","mints":true`:            2,
		`"operation":"storage.account.userdelegationkey","mints":true`: 1,
		`"operation":"storage.unknown"`:                                1,
		`"operation"`:                                                  5,
		`"mints"`:                                                      3,
	} {
		if got := strings.Count(lines, part); got != want {
			t.Errorf("%s is told %d times, want %d:\n%s", part, got, want, lines)
		}
	}
	wantMetrics(t, w.scrape(),
		`bearerd_operations_total{operation="keyvault.secret.get"} 1`,
		`bearerd_operations_total{operation="keyvault.secret.backup"} 2`,
		`bearerd_operations_total{operation="storage.account.userdelegationkey"} 1`,
		`bearerd_operations_total{operation="storage.unknown"} 1`,
	)
}

func TestAccessLogIsAsMuchAsWasAskedFor(t *testing.T) {
	for access, want := range map[AccessLog]int{AccessNone: 0, AccessErrors: 1, AccessAll: 2} {
		w := newWorld(t, echo, func(o *Options, _ *httptest.Server) { o.AccessLog = access })
		do(t, w.plain(), newRequest(t, "GET", w.base("/vault/x"), nil))
		do(t, w.plain(), newRequest(t, "GET", w.base("/nope"), nil))
		if lines := w.lines(); len(lines) != want {
			t.Errorf("%d: %d lines, want %d: %s", access, len(lines), want, lines)
		}
	}
}
