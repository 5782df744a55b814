package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// exemplars gives the traces in an answer in OpenMetrics, each with the bucket
// that it is an example of.
func exemplars(t *testing.T, m *Metrics) map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	m.Handler(func(err error) { t.Error(err) }).ServeHTTP(w, r)
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "application/openmetrics-text") {
		t.Fatalf("got %s", got)
	}
	found := make(map[string]string)
	for line := range strings.Lines(w.Body.String()) {
		if series, example, ok := strings.Cut(line, " # "); ok {
			_, bucket, _ := strings.Cut(series, `le="`)
			bucket, _, _ = strings.Cut(bucket, `"`)
			_, id, _ := strings.Cut(example, `{trace_id="`)
			found[bucket], _, _ = strings.Cut(id, `"`)
		}
	}
	return found
}

// An answer's time comes with a trace to look at: one for each bucket and
// second, so that it costs nothing that counts.
func TestExemplars(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New("test")
		r := m.Route("vault")
		r.Observe("GET", 200, 3*time.Millisecond, 0, 0, "")
		if got := exemplars(t, m); len(got) != 0 {
			t.Errorf("got %v of a request in no trace", got)
		}
		r.Observe("GET", 200, 3*time.Millisecond, 0, 0, "first")
		r.Observe("GET", 200, 3*time.Millisecond, 0, 0, "second")
		r.Observe("GET", 200, time.Hour, 0, 0, "slow")
		if got := exemplars(t, m); len(got) != 2 || got["0.005"] != "first" || got["+Inf"] != "slow" {
			t.Errorf("got %v", got)
		}
		time.Sleep(time.Second)
		r.Observe("GET", 200, 3*time.Millisecond, 0, 0, "third")
		if got := exemplars(t, m); got["0.005"] != "third" {
			t.Errorf("a second later: got %v", got)
		}
		wantValues(t, m, map[string]float64{`bearerd_request_duration_seconds_count{route="vault"}`: 5})
	})
}

// Whoever asks for native histograms gets them, each with a bounded number of
// buckets.
func TestNativeHistograms(t *testing.T) {
	m := New("test")
	for took := time.Microsecond; took < time.Hour; took += took/20 + 1 {
		m.Route("vault").Observe("GET", 200, took, 0, 0, "")
		m.IMDSRequest("200", took)
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetType().String() != "HISTOGRAM" || !strings.HasPrefix(f.GetName(), namespace) {
			continue
		}
		for _, h := range f.GetMetric() {
			native := h.GetHistogram()
			if len(native.GetPositiveSpan()) == 0 || len(native.GetPositiveDelta()) > nativeBuckets || len(native.GetBucket()) == 0 {
				t.Errorf("%s has %d native buckets in %d spans, and %d others", f.GetName(), len(native.GetPositiveDelta()), len(native.GetPositiveSpan()), len(native.GetBucket()))
			}
		}
	}
}
