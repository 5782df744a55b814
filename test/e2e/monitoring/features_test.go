//go:build e2e && linux

package monitoring

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

const trace = "0af7651916cd43dd8448eb211c80319c"

// traced calls the vault as a part of a trace that is kept.
func (s *scene) traced() {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.d.URL+"/vault/secrets/x?api-version=7.4", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("traceparent", "00-"+trace+"-b7ad6b7169203331-01")
	resp, err := rig.Direct.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
}

// A Prometheus that asks for exemplars gets them by the text format as by
// protobuf, and with native histograms the rules' latency is still there.
func TestExemplarsAndNativeHistograms(t *testing.T) {
	for _, c := range []struct{ name, features, histogram string }{
		{"text", "exemplar-storage", `bearerd_request_duration_seconds_bucket`},
		{"protobuf", "exemplar-storage,native-histograms", `histogram_count(bearerd_request_duration_seconds)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := startPrometheus(t, "--enable-feature="+c.features)
			s := play(t, p, imdstest.Options{}, nil)
			p.until(t, c.histogram+" > 0", true, s.traced)
			p.until(t, `instance_route:bearerd_request_duration_seconds:p90_rate5m{route="payroll"} > 0`, true, s.traced)
			rig.Eventually(t, "Prometheus has the trace", func() error {
				s.traced()
				var answer struct {
					Data []struct {
						Exemplars []struct{ Labels map[string]string }
					}
				}
				if err := p.get("/api/v1/query_exemplars?start=0&end=9999999999&query="+url.QueryEscape(`{__name__=~"bearerd_request_duration_seconds.*"}`), &answer); err != nil {
					return err
				}
				for _, d := range answer.Data {
					for _, e := range d.Exemplars {
						if e.Labels["trace_id"] == trace {
							return nil
						}
					}
				}
				return fmt.Errorf("got %v", answer.Data)
			})
		})
	}
}

// What the dashboard's panels ask is PromQL, and most of them have something to
// show of a bearerd that has just been called.
func TestDashboardOnPrometheus(t *testing.T) {
	text, err := os.ReadFile(deployed + "grafana/bearerd.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	p := startPrometheus(t)
	s := play(t, p, imdstest.Options{}, nil)
	p.until(t, `rate(bearerd_requests_total{route="payroll"}[2s]) > 0`, true, s.call)
	variables := strings.NewReplacer("$__rate_interval", "4s", "$instance", ".*", "$route", ".*")
	asked, shown := 0, 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			asked++
			got, err := p.query(variables.Replace(target.Expr))
			if err != nil {
				t.Errorf("panel %q: %v", panel.Title, err)
			}
			if len(got) > 0 {
				shown++
			}
		}
	}
	t.Logf("%d of %d expressions have something to show", shown, asked)
	if shown < asked/2 || asked == 0 {
		t.Errorf("%d of %d expressions have something to show", shown, asked)
	}
}
