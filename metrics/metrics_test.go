package metrics

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// used gives metrics of which every one has a value.
func used() *Metrics {
	m := New("1.2.3")
	m.Route("vault").Observe("GET", 200, 20*time.Millisecond, 10, 2000, "")
	m.Route("vault").ObserveOwn("dead", "inject")
	m.Refused("BearerdTokenUnavailable")
	m.Operation("keyvault.secret.get")
	m.Listener("127.0.0.1:8180").Accepted()
	m.CollectTokens(func() []TokenSample {
		return []TokenSample{{
			Audience: "https://vault.azure.net", Identity: "system-assigned",
			Obtained: time.UnixMilli(1_700_000_000_500), Expires: time.Unix(1_700_086_400, 0),
			Next: time.Unix(1_700_043_200, 0), State: "due", Class: "throttled",
		}}
	})
	m.CollectThrottle(func() (time.Time, float64) { return time.Unix(1_700_000_060, 0), 2.5 })
	m.CollectRedirect(func() RedirectSample {
		return RedirectSample{Wanted: true, InPlace: true, Checked: time.Unix(1_700_000_120, 0)}
	})
	m.CollectCertificates(func() []CertificateSample {
		return []CertificateSample{{Listener: "10.0.0.4:8443", Expires: time.Unix(1_750_000_000, 0)}, {Listener: "10.0.0.4:443", Failing: true}}
	})
	return m
}

// scrape gives the lines of /metrics that start with prefix, by their text up
// to the value.
func scrape(tb testing.TB, m *Metrics, prefix string) map[string]float64 {
	tb.Helper()
	w := httptest.NewRecorder()
	m.Handler(func(err error) { tb.Error(err) }).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		tb.Fatalf("status %d: %s", w.Code, w.Body)
	}
	got := make(map[string]float64)
	for line := range strings.Lines(w.Body.String()) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if ok {
			name += "}"
		} else {
			name, value, _ = strings.Cut(strings.TrimSpace(line), " ")
		}
		if strings.HasPrefix(line, "#") || !strings.HasPrefix(name, prefix) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			tb.Fatalf("%q: %v", line, err)
		}
		got[name] = n
	}
	return got
}

func wantValues(tb testing.TB, m *Metrics, want map[string]float64) {
	tb.Helper()
	got := scrape(tb, m, namespace)
	for name, value := range want {
		if v, ok := got[name]; !ok || v != value {
			tb.Errorf("%s = %v (there: %t), want %v", name, v, ok, value)
		}
	}
}

func TestObserve(t *testing.T) {
	m := New("test")
	r := m.Route("vault")
	for _, o := range []struct {
		method string
		status int
	}{
		{"GET", 200}, {"GET", 204}, {"GET", 304}, {"GET", 404}, {"GET", 503}, {"GET", 0}, {"GET", 499}, {"GET", 999},
		{"GET", 101}, {"CONNECT", 200}, {"PROPFIND", 200}, {"get", 200},
	} {
		r.Observe(o.method, o.status, 20*time.Millisecond, 3, 5, "")
	}
	wantValues(t, m, map[string]float64{
		`bearerd_requests_total{code="2xx",method="GET",route="vault"}`:     2,
		`bearerd_requests_total{code="3xx",method="GET",route="vault"}`:     1,
		`bearerd_requests_total{code="4xx",method="GET",route="vault"}`:     1,
		`bearerd_requests_total{code="5xx",method="GET",route="vault"}`:     1,
		`bearerd_requests_total{code="none",method="GET",route="vault"}`:    3,
		`bearerd_requests_total{code="1xx",method="GET",route="vault"}`:     1,
		`bearerd_requests_total{code="2xx",method="CONNECT",route="vault"}`: 1,
		`bearerd_requests_total{code="2xx",method="other",route="vault"}`:   2,
		// Neither the WebSocket nor the tunnel is timed.
		`bearerd_request_duration_seconds_count{route="vault"}`:             10,
		`bearerd_request_duration_seconds_bucket{route="vault",le="0.01"}`:  0,
		`bearerd_request_duration_seconds_bucket{route="vault",le="0.025"}`: 10,
		`bearerd_received_bytes_total{route="vault"}`:                       33,
		`bearerd_sent_bytes_total{route="vault"}`:                           55,
		`bearerd_tunnel_received_bytes_total`:                               3,
		`bearerd_tunnel_sent_bytes_total`:                                   5,
	})
}

// A negative count would make a counter panic.
func TestObserveTakesNegativeCounts(t *testing.T) {
	m := New("test")
	m.Route("vault").Observe("GET", 200, -time.Second, -1, -1, "")
	m.Throttled(-time.Second)
	wantValues(t, m, map[string]float64{
		`bearerd_received_bytes_total{route="vault"}`: 0,
		`bearerd_sent_bytes_total{route="vault"}`:     0,
		`bearerd_imds_throttle_paused_seconds_total`:  0,
	})
}

func TestCounts(t *testing.T) {
	m := used()
	m.Refused("BearerdTokenUnavailable")
	m.UpstreamError(CauseDNS)
	m.UpstreamError("what a resolver said")
	m.TokenRequest("hit")
	m.TokenRefresh("same_token")
	m.TokenRefresh("throttled")
	m.IMDSRequest("429", 30*time.Millisecond)
	m.IMDSRequest("418", 30*time.Millisecond)
	m.Throttled(1500 * time.Millisecond)
	m.ConnectionLimited("per_caller")
	m.SetAuthorityExpiry(time.Unix(1_800_000_000, 0))
	m.ConfigLoaded(time.Unix(1_700_000_000, 0))
	m.ConfigRejected()
	l := m.Listener("127.0.0.1:8180")
	l.Accepted()
	l.Closed()
	wantValues(t, m, map[string]float64{
		`bearerd_errors_total{code="BearerdTokenUnavailable"}`:                                                        2,
		`bearerd_upstream_errors_total{cause="dns"}`:                                                                  1,
		`bearerd_upstream_errors_total{cause="other"}`:                                                                1,
		`bearerd_upstream_errors_total{cause="tls"}`:                                                                  0,
		`bearerd_token_requests_total{result="hit"}`:                                                                  1,
		`bearerd_token_refreshes_total{result="same_token"}`:                                                          1,
		`bearerd_token_refreshes_total{result="throttled"}`:                                                           1,
		`bearerd_imds_requests_total{code="429"}`:                                                                     1,
		`bearerd_imds_requests_total{code="other"}`:                                                                   1,
		`bearerd_imds_request_duration_seconds_count`:                                                                 2,
		`bearerd_imds_throttle_pauses_total`:                                                                          1,
		`bearerd_imds_throttle_paused_seconds_total`:                                                                  1.5,
		`bearerd_imds_rate`:                                                                                           2.5,
		`bearerd_imds_paused_until_timestamp_seconds`:                                                                 1_700_000_060,
		`bearerd_connections_limited_total{limit="per_caller"}`:                                                       1,
		`bearerd_connections_open{listener="127.0.0.1:8180"}`:                                                         1,
		`bearerd_connections_accepted_total{listener="127.0.0.1:8180"}`:                                               2,
		`bearerd_authority_expiry_timestamp_seconds`:                                                                  1_800_000_000,
		`bearerd_listener_certificate_expiry_timestamp_seconds{listener="10.0.0.4:8443"}`:                             1_750_000_000,
		`bearerd_listener_certificate_failing{listener="10.0.0.4:8443"}`:                                              0,
		`bearerd_listener_certificate_expiry_timestamp_seconds{listener="10.0.0.4:443"}`:                              0,
		`bearerd_listener_certificate_failing{listener="10.0.0.4:443"}`:                                               1,
		`bearerd_config_last_reload_successful`:                                                                       0,
		`bearerd_config_last_reload_success_timestamp_seconds`:                                                        1_700_000_000,
		`bearerd_token_expiry_timestamp_seconds{audience="https://vault.azure.net",identity="system-assigned"}`:       1_700_086_400,
		`bearerd_token_obtained_timestamp_seconds{audience="https://vault.azure.net",identity="system-assigned"}`:     1_700_000_000.5,
		`bearerd_token_next_attempt_timestamp_seconds{audience="https://vault.azure.net",identity="system-assigned"}`: 1_700_043_200,
		`bearerd_token_state{audience="https://vault.azure.net",identity="system-assigned",state="due"}`:              1,
		`bearerd_token_failing{audience="https://vault.azure.net",class="throttled",identity="system-assigned"}`:      1,
	})
	if builds := scrape(t, m, "bearerd_build_info"); len(builds) != 1 {
		t.Errorf("build_info: %v", builds)
	}
	if got := scrape(t, m, "go_goroutines"); len(got) != 1 {
		t.Error("nothing about Go's runtime")
	}
}

func TestRedirectIsToldWhereItIsWanted(t *testing.T) {
	m := used()
	wantValues(t, m, map[string]float64{`bearerd_redirect_rules_in_place`: 1, `bearerd_redirect_verified_timestamp_seconds`: 1_700_000_120})
	m.CollectRedirect(func() RedirectSample { return RedirectSample{Wanted: true} })
	wantValues(t, m, map[string]float64{`bearerd_redirect_rules_in_place`: 0, `bearerd_redirect_verified_timestamp_seconds`: 0})
	m.CollectRedirect(func() RedirectSample { return RedirectSample{InPlace: true} })
	if got := scrape(t, m, "bearerd_redirect"); len(got) != 0 {
		t.Errorf("where no rules are asked for: %v", got)
	}
}

func TestTokensWithoutTokenAndTwice(t *testing.T) {
	m := New("test")
	m.CollectTokens(func() []TokenSample {
		return []TokenSample{
			{Audience: "a", Identity: "i"},
			{Audience: "a", Identity: "i", Expires: time.Unix(7, 0)},
			{Audience: "b\xff", Identity: "i\xff", Expires: time.Unix(8, 0)},
		}
	})
	got := scrape(t, m, "bearerd_token_expiry")
	if want := map[string]float64{
		`bearerd_token_expiry_timestamp_seconds{audience="a",identity="i"}`:                 0,
		"bearerd_token_expiry_timestamp_seconds{audience=\"b\uFFFD\",identity=\"i\uFFFD\"}": 8,
	}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := scrape(t, m, "bearerd_token_obtained"); len(got) != 0 {
		t.Errorf("when there is no token, none was obtained: %v", got)
	}
}

// A caller may send any method and make any status appear, and another program
// may answer in IMDS's place.
func TestSeriesAreBoundedWhateverCallersSend(t *testing.T) {
	m := used()
	most := 0
	for i := range 5000 {
		odd := strconv.Itoa(i)
		m.Route("vault").Observe("M"+odd, i, time.Second, 1, 1, "")
		m.Refused("code" + odd)
		m.UpstreamError(Cause("cause" + odd))
		m.IMDSRequest(odd, time.Second)
		m.TokenRequest(odd)
		m.TokenRefresh(odd)
		m.ConnectionLimited(odd)
		if i == 999 {
			most = len(scrape(t, m, namespace))
		}
	}
	if n := len(scrape(t, m, namespace)); n != most {
		t.Errorf("%d series became %d", most, n)
	}
	if n := len(scrape(t, m, "bearerd_errors_total")); n != maxCodes+1 {
		t.Errorf("%d codes, want %d and other", n, maxCodes)
	}
}

func TestSetRoutesDropsWhatOthersLeft(t *testing.T) {
	m := New("test")
	vault := m.Route("vault")
	vault.Observe("GET", 200, time.Second, 1, 1, "")
	m.Route("storage").Observe("GET", 200, time.Second, 1, 1, "")
	m.Route("storage").ObserveOwn("sas", "pass")
	m.Route(Unrouted).Observe("CONNECT", 200, time.Second, 1, 1, "")
	m.SetRoutes("vault", "arm")
	if m.Route("vault") != vault {
		t.Error("a route that stays lost its handle")
	}
	wantValues(t, m, map[string]float64{
		`bearerd_requests_total{code="2xx",method="GET",route="vault"}`:        1,
		`bearerd_sent_bytes_total{route="arm"}`:                                0,
		`bearerd_requests_total{code="2xx",method="CONNECT",route="unrouted"}`: 1,
	})
	for name := range scrape(t, m, namespace) {
		if strings.Contains(name, "storage") {
			t.Errorf("%s is still there", name)
		}
	}
}

func TestObserveAllocatesNothing(t *testing.T) {
	m := New("test")
	observe := func() {
		m.Route("vault").Observe("GET", 200, 3*time.Millisecond, 100, 1000, "")
		m.InFlight.Inc()
		m.InFlight.Dec()
		m.TokenRequest("hit")
		m.Refused("BearerdBadRequest")
	}
	observe()
	if n := testing.AllocsPerRun(1000, observe); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	b.Run("alone", func(b *testing.B) {
		m := New("test")
		b.ReportAllocs()
		for b.Loop() {
			m.Route("vault").Observe("GET", 200, 3*time.Millisecond, 100, 1000, "")
		}
	})
	b.Run("contended", func(b *testing.B) {
		m := New("test")
		b.ReportAllocs()
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				m.Route("vault").Observe("GET", 200, 3*time.Millisecond, 100, 1000, "")
			}
		})
	})
}

// Handles are made while others count and scrape.
func TestConcurrentUse(t *testing.T) {
	m := used()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 200 {
				m.Route(strconv.Itoa(n%10)).Observe("GET", 200, time.Millisecond, 1, 1, "")
				m.Refused(strconv.Itoa(n))
				if n%50 == i {
					if _, err := m.registry.Gather(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	wantValues(t, m, map[string]float64{`bearerd_requests_total{code="2xx",method="GET",route="7"}`: 160})
}

func TestLint(t *testing.T) {
	families, err := used().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// What is described is what is served.
func TestDescriptionsMatchTheRegistry(t *testing.T) {
	families, err := used().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	served := make(map[string]bool)
	described := make(map[string]Description)
	for _, d := range Descriptions() {
		described[d.Name] = d
	}
	for _, f := range families {
		name := f.GetName()
		if !strings.HasPrefix(name, namespace) {
			continue
		}
		served[name] = true
		d, ok := described[name]
		if !ok {
			t.Errorf("%s is not described", name)
			continue
		}
		if kind := strings.ToLower(f.GetType().String()); kind != string(d.Kind) || f.GetHelp() != d.Help {
			t.Errorf("%s is a %s (%s), described as %s (%s)", name, kind, f.GetHelp(), d.Kind, d.Help)
		}
		var got, want []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			got = append(got, l.GetName())
		}
		for _, l := range d.Labels {
			want = append(want, l.Name)
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s has labels %v, described as %v", name, got, want)
		}
	}
	for name := range described {
		if !served[name] {
			t.Errorf("%s is described but not served", name)
		}
	}
}

type failing struct{ desc *prometheus.Desc }

func (f failing) Describe(ch chan<- *prometheus.Desc) { ch <- f.desc }
func (f failing) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(f.desc, errors.New("the collector is broken"))
}

// One collector that fails hides nothing but its own metrics.
func TestHandlerServesWhatItCanAndTellsOfTheRest(t *testing.T) {
	m := New("test")
	m.registry.MustRegister(failing{prometheus.NewDesc("broken", "Never there.", nil, nil)})
	var told []error
	w := httptest.NewRecorder()
	m.Handler(func(err error) { told = append(told, err) }).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if len(told) != 1 || !strings.Contains(told[0].Error(), "the collector is broken") {
		t.Errorf("told %v", told)
	}
	if w.Code != 200 || !strings.Contains(w.Body.String(), "bearerd_requests_in_flight 0\n") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	m.Handler(nil).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
}

// Every line is one that a scraper can read, with a help and a type before it.
func TestEveryFamilyHasHelpAndType(t *testing.T) {
	w := httptest.NewRecorder()
	used().Handler(nil).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	known := make(map[string]int)
	lines := bufio.NewScanner(io.Reader(w.Body))
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); words[0] == "#" {
			known[words[2]]++
		}
	}
	for _, d := range Descriptions() {
		if known[d.Name] != 2 {
			t.Errorf("%s has %d comment lines, want its help and its type", d.Name, known[d.Name])
		}
	}
}
