package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/bearerd/bearerd/proxy/trace"
)

// spans keeps what is sent to a collector, undecoded: package trace's tests
// decode.
type spans struct {
	mu  sync.Mutex // guards got
	got strings.Builder
}

// ServeHTTP implements http.Handler.
func (s *spans) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = io.Copy(&s.got, r.Body)
}

// With spans on, the service goes on with bearerd's span, which is the caller's
// child. What no route names, and logins that are Entra's, keep what they have.
func TestServiceGoesOnWithTheSpan(t *testing.T) {
	const id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	const secret = "c4n4ry"
	kept := new(spans)
	collector := httptest.NewServer(kept)
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	tracer, err := trace.Open(t.Context(), trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header["Traceparent"], r.Header["Tracestate"])
	}, answersLogins, func(o *Options, _ *httptest.Server) { o.Tracer = tracer })
	ask := func(url string, header ...string) string {
		r := newRequest(t, "GET", url, nil)
		r.Header.Set("Authorization", "SharedKey a:"+secret)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		_, body := do(t, w.plain(), r)
		return body
	}
	got := ask(w.base("/blob/c/path-"+secret+"?sig="+secret), "Traceparent", "00-"+id+"-"+parent+"-01", "Tracestate", "vendor=1")
	if !strings.HasPrefix(got, "[00-"+id+"-") || strings.Contains(got, parent) || !strings.HasSuffix(got, "-01] [vendor=1]") {
		t.Errorf("the service got %s", got)
	}
	if got := ask(w.base("/blob/c/b"), "Traceparent", "none", "Tracestate", "vendor=1"); len(got) != len("[00-"+id+"-"+parent+"-01] []") {
		t.Errorf("the service got %s, want a trace of bearerd's own", got)
	}
	if got := ask(w.base("/entra/x"), "Traceparent", "00-"+id+"-"+parent+"-01"); got != "[00-"+id+"-"+parent+"-01] []" {
		t.Errorf("Entra got %s", got)
	}
	ask(w.base("/nope"))
	if err := tracer.Close(t.Context()); err != nil {
		t.Error(err)
	}
	sent := kept.got.String()
	if n := strings.Count(sent, "bearerd.route"); n != 2 {
		t.Errorf("%d spans were sent, want 2", n)
	}
	if !strings.Contains(sent, "storage.blob.get") || strings.Contains(sent, secret) || strings.Contains(sent, "token-1") {
		t.Errorf("sent was %q", sent)
	}
	lines := w.logs.FilterMessage("request").All()
	if len(lines) != 4 || lines[0].ContextMap()["trace_id"] != id || lines[3].ContextMap()["trace_id"] != nil {
		t.Errorf("the log has %v", lines)
	}
}
