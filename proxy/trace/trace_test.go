package trace

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector takes spans as an OTLP receiver does.
type collector struct {
	mu     sync.Mutex // guards what follows
	status int        // of its answers; 0: 200
	paths  []string
	fields []http.Header
	got    []*otlp.ResourceSpans
}

// ServeHTTP implements http.Handler.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var data otlp.TracesData
	if err != nil || proto.Unmarshal(body, &data) != nil || r.Method != "POST" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status != 0 {
		w.WriteHeader(c.status)
		return
	}
	c.paths, c.fields, c.got = append(c.paths, r.URL.Path), append(c.fields, r.Header), append(c.got, data.ResourceSpans...)
}

func (c *collector) answer(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// spans gives what came, and what their resource says.
func (c *collector) spans() (spans []*otlp.Span, resource map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	resource = make(map[string]string)
	for _, r := range c.got {
		for _, a := range r.Resource.Attributes {
			resource[a.Key] = a.Value.GetStringValue()
		}
		for _, s := range r.ScopeSpans {
			spans = append(spans, s.Spans...)
		}
	}
	return spans, resource
}

func open(t *testing.T, log *zap.Logger) *Tracer {
	t.Helper()
	tracer, err := Open(t.Context(), Options{Version: "test", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tracer.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tracer
}

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	parent  = "00-" + traceID + "-00f067aa0ba902b7-01"
)

func TestSpansReachTheCollector(t *testing.T) {
	c := new(collector)
	server := httptest.NewServer(c)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b, other=c")
	t.Setenv("OTEL_SERVICE_NAME", "payroll-proxy")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=prod")
	tracer := open(t, nil)
	began := time.Now().Add(-time.Second)
	span := tracer.Start(http.Header{"Traceparent": {parent}, "Tracestate": {"vendor=1"}}, began)
	sent := span.Header()
	span.End(&Outcome{Method: "GET", Host: "v.vault.azure.net", Port: 443, Route: "vault", Action: "inject", Operation: "keyvault.secret.get", Mints: true,
		Status: 502, Code: "BearerdUpstreamTLS", RequestID: "r-1", ServiceRequestID: "s-1", At: began.Add(time.Second)})
	if err := tracer.provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans, resource := c.spans()
	if len(spans) != 1 || c.paths[0] != "/v1/traces" || c.fields[0].Get("X-Key") != "a b" || c.fields[0].Get("Other") != "c" {
		t.Fatalf("the collector got %v at %v with %v", spans, c.paths, c.fields)
	}
	if resource["service.name"] != "payroll-proxy" || resource["service.version"] != "test" || resource["deployment.environment"] != "prod" {
		t.Errorf("the resource is %v", resource)
	}
	s := spans[0]
	if got := hexOf(s.TraceId); got != traceID || hexOf(s.ParentSpanId) != "00f067aa0ba902b7" || s.TraceState != "vendor=1" {
		t.Errorf("the span is in trace %s, a child of %x", got, s.ParentSpanId)
	}
	if want := "00-" + traceID + "-" + hexOf(s.SpanId) + "-01"; sent.Get("Traceparent") != want || sent.Get("Tracestate") != "vendor=1" {
		t.Errorf("the service was sent %v, want %s", sent, want)
	}
	if s.Name != "keyvault.secret.get" || s.Kind != otlp.Span_SPAN_KIND_CLIENT || s.EndTimeUnixNano-s.StartTimeUnixNano != uint64(time.Second) || s.Status.Code != otlp.Status_STATUS_CODE_ERROR {
		t.Errorf("the span is %v", s)
	}
	got := make(map[string]string)
	for _, a := range s.Attributes {
		got[a.Key] = strings.Trim(strings.SplitN(a.Value.String(), ":", 2)[1], `"`)
	}
	for name, want := range map[string]string{
		"http.request.method": "GET", "http.response.status_code": "502", "server.address": "v.vault.azure.net", "server.port": "443", "bearerd.route": "vault",
		"bearerd.action": "inject", "bearerd.operation": "keyvault.secret.get", "bearerd.mints": "true", "bearerd.request_id": "r-1", "az.service_request_id": "s-1",
		"error.type": "BearerdUpstreamTLS",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if len(got) != 11 {
		t.Errorf("the attributes are %v", got)
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var text strings.Builder
	for _, c := range b {
		text.WriteByte(digits[c>>4])
		text.WriteByte(digits[c&15])
	}
	return text.String()
}

// What is no trace of the caller's is not gone on with, and what the caller does
// not keep is not kept.
func TestCallersTraceIsGoneOnWith(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/x")
	tracer := open(t, nil)
	for name, test := range map[string]struct {
		values  []string
		same    bool
		sampled bool
	}{
		"kept":     {[]string{parent}, true, true},
		"not kept": {[]string{"00-" + traceID + "-00f067aa0ba902b7-00"}, true, false},
		"two":      {[]string{parent, parent}, false, true},
		"none":     {nil, false, true},
		"broken":   {[]string{"00-xyz"}, false, true},
	} {
		span := tracer.Start(http.Header{"Traceparent": test.values, "Tracestate": {"vendor=1"}}, time.Now())
		h := span.Header()
		if same := strings.Contains(h.Get("Traceparent"), traceID); same != test.same || same != (h.Get("Tracestate") != "") || (span.Sampled() != "") != test.sampled {
			t.Errorf("%s: the service is sent %v, and the trace is kept: %q", name, h, span.Sampled())
		}
	}
}

func TestSamplerIsTheVariables(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	if id := open(t, nil).Start(nil, time.Now()).Sampled(); id != "" {
		t.Errorf("the trace %s is kept", id)
	}
}

func TestNoSpansWhereNobodyAsksForThem(t *testing.T) {
	for _, variables := range []map[string]string{
		{},
		{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
	} {
		t.Run("", func(t *testing.T) {
			for name, value := range variables {
				t.Setenv(name, value)
			}
			tracer := open(t, nil)
			if tracer != nil {
				t.Fatalf("with %v spans are made", variables)
			}
			h, at := http.Header{"Traceparent": {parent}}, time.Now()
			if n := testing.AllocsPerRun(100, func() { tracer.Start(h, at).End(nil) }); n != 0 {
				t.Errorf("a span that is none allocates %v times", n)
			}
		})
	}
}

func TestVariablesThatCannotHoldAreRefused(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "OTEL_EXPORTER_OTLP_ENDPOINT is no URL of a collector; write one such as http://127.0.0.1:4318"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:secret@127.0.0.1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is no URL of a collector; write one such as http://127.0.0.1:4318"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", `OTEL_EXPORTER_OTLP_PROTOCOL is "grpc"; bearerd speaks http/protobuf, which collectors take at port 4318: set that, or OTEL_TRACES_EXPORTER=none`},
		{"OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key", "OTEL_EXPORTER_OTLP_CLIENT_KEY is set, and bearerd shows collectors no certificate; use OTEL_EXPORTER_OTLP_HEADERS, or remove it"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "Bearer secret", "OTEL_EXPORTER_OTLP_HEADERS is not name=value,name=value with values percent-encoded; correct it"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "10s", `OTEL_EXPORTER_OTLP_TIMEOUT is "10s"; write milliseconds`},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", "/none/ca.pem", "OTEL_EXPORTER_OTLP_CERTIFICATE: open /none/ca.pem: no such file or directory; name a file in PEM"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
			t.Setenv(test.name, test.value)
			if _, err := Open(t.Context(), Options{}); err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

// A collector is told from its certificate, and one that fails has one line in
// the log for each change, with nothing of the URL.
func TestCollectorThatFailsIsToldOnce(t *testing.T) {
	c := new(collector)
	server := httptest.NewTLSServer(c)
	defer server.Close()
	roots := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", server.URL+"/own/path?key=c4n4ry")
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", roots)
	core, logs := observer.New(zap.DebugLevel)
	tracer := open(t, zap.New(core))
	flush := func() {
		t.Helper()
		tracer.Start(nil, time.Now()).End(&Outcome{Method: "GET", At: time.Now()})
		if err := tracer.provider.ForceFlush(t.Context()); err != nil {
			t.Error(err)
		}
	}
	flush()
	if spans, _ := c.spans(); len(spans) != 1 || c.paths[0] != "/own/path" {
		t.Errorf("the collector got %v at %v", spans, c.paths)
	}
	c.answer(http.StatusTooManyRequests)
	flush()
	flush()
	c.answer(0)
	flush()
	lines := logs.All()
	if len(lines) != 2 || !strings.HasPrefix(lines[0].Message, "spans cannot be sent") || lines[1].Message != "spans are sent again" {
		t.Errorf("the log has %v", lines)
	}
	server.Close()
	flush()
	if text := fmt.Sprint(logs.All()); logs.Len() != 3 || strings.Contains(text, "c4n4ry") {
		t.Errorf("the log has %s", text)
	}
}
