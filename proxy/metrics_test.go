package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/proxy/dial"
)

// scrape gives the metrics as Prometheus reads them.
func (w *world) scrape() string {
	answer := httptest.NewRecorder()
	w.metrics.Handler(nil).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	return answer.Body.String()
}

func wantMetrics(t *testing.T, scrape string, want ...string) {
	t.Helper()
	for _, line := range want {
		if !strings.Contains(scrape, line+"\n") {
			name, _, _ := strings.Cut(line, "{")
			name, _, _ = strings.Cut(name, " ")
			have := ""
			for l := range strings.Lines(scrape) {
				if strings.HasPrefix(l, name) {
					have += l
				}
			}
			t.Errorf("%s is not counted; there is\n%s", line, have)
		}
	}
}

func TestRequestsAreCounted(t *testing.T) {
	w := newWorld(t, echo)
	_, body := do(t, w.plain(), newRequest(t, "PUT", w.base("/blob/c"), strings.NewReader("hello")))
	do(t, w.plain(), newRequest(t, "PUT", w.base("/vault/secrets/a"), nil))
	do(t, w.plain(), newRequest(t, "GET", w.base("/nope"), nil))
	w.lines() // ends the server
	wantMetrics(t, w.scrape(),
		`bearerd_requests_total{code="2xx",method="PUT",route="storage"} 1`,
		`bearerd_requests_total{code="4xx",method="PUT",route="keyvault"} 1`,
		`bearerd_requests_total{code="4xx",method="GET",route="unrouted"} 1`,
		`bearerd_received_bytes_total{route="storage"} 5`,
		fmt.Sprintf(`bearerd_sent_bytes_total{route="storage"} %d`, len(body)),
		`bearerd_errors_total{code="BearerdChallenge"} 1`,
		`bearerd_errors_total{code="BearerdUnknownGateway"} 1`,
		`bearerd_requests_in_flight 0`,
	)
}

// The CONNECT of an intercepted host is no call that a route has missed.
func TestConnectOfAnInterceptedHostIsNotUnrouted(t *testing.T) {
	w := newWorld(t, echo)
	do(t, w.viaConnect(false), newRequest(t, "GET", "https://"+blobHost+"/c", nil))
	lines := w.lines()
	if !slices.ContainsFunc(lines, func(line string) bool {
		return strings.Contains(line, `"method":"CONNECT"`) && strings.Contains(line, `"route":"intercepted"`)
	}) {
		t.Errorf("the log says\n%s", strings.Join(lines, "\n"))
	}
	wantMetrics(t, w.scrape(),
		`bearerd_requests_total{code="2xx",method="CONNECT",route="intercepted"} 1`,
		`bearerd_requests_total{code="2xx",method="GET",route="storage"} 1`,
	)
}

func TestTunnelsAreCounted(t *testing.T) {
	w := newWorld(t, echo)
	w.dialer.to = lineServer(t)
	conn := w.connect("mail.example:25")
	io.WriteString(conn, "helo\n")
	in := bufio.NewReader(conn)
	in.ReadString('\n')
	wantMetrics(t, w.scrape(), "bearerd_tunnels_open 1", "bearerd_requests_in_flight 1")
	conn.(*net.TCPConn).CloseWrite()
	io.ReadAll(in)
	w.lines()
	wantMetrics(t, w.scrape(),
		"bearerd_tunnels_open 0", "bearerd_requests_in_flight 0",
		"bearerd_tunnel_received_bytes_total 5", "bearerd_tunnel_sent_bytes_total 8",
		`bearerd_requests_total{code="2xx",method="CONNECT",route="unrouted"} 1`,
	)
}

func TestUpstreamFailuresAreCountedByCause(t *testing.T) {
	other := newTestCA(t)
	for cause, prepare := range map[string]func(*world){
		"dns":       func(w *world) { w.dialer.err = fmt.Errorf("connect: %w", &net.DNSError{Err: "no such host"}) },
		"connect":   func(w *world) { w.dialer.to = closedPort(w.t) },
		"timeout":   func(w *world) { w.dialer.err = timeoutError{} },
		"forbidden": func(w *world) { w.dialer.err = &dial.ForbiddenError{Target: "x", Reason: "ours"} },
		"tls":       func(w *world) { w.ca.cert, w.ca.key = other.cert, other.key },
		"reset":     func(w *world) { w.service(func(_ *http.Request, conn net.Conn) {}) },
		"other": func(w *world) {
			w.service(func(_ *http.Request, conn net.Conn) { io.WriteString(conn, "not HTTP\r\n\r\n") })
		},
	} {
		t.Run(cause, func(t *testing.T) {
			w := newWorld(t, echo)
			prepare(w)
			if answer, _ := do(t, w.plain(), newRequest(t, "GET", w.base("/api/x"), nil)); answer.Header.Get(ErrorHeader) == "" {
				t.Errorf("got %d", answer.StatusCode)
			}
			wantMetrics(t, w.scrape(), `bearerd_upstream_errors_total{cause="`+cause+`"} 1`)
		})
	}
	t.Run("a broken HTTP/2 stream", func(t *testing.T) {
		w := newWorld(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		do(t, w.plain(), newRequest(t, "GET", w.base("/api/x"), nil))
		wantMetrics(t, w.scrape(), `bearerd_upstream_errors_total{cause="reset"} 1`)
	})
}

// closedPort is an address on which nobody listens.
func closedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
