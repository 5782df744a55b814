package metrics

import "testing"

func TestCheck(t *testing.T) {
	for expression, want := range map[string]string{
		"up == 0": "",
		`rate(bearerd_requests_total{code="5xx", job="b"}[5m]) / instance_route:bearerd_requests:rate5m`: "",
		`histogram_quantile(0.9, rate(bearerd_request_duration_seconds_bucket{le!="1"}[5m]))`:            "",
		`rate(bearerd_request_duration_seconds[5m])`:                                                     "",
		`bearerd_imds_rate + bearerd_request_total`:                                                      "there is no metric bearerd_request_total",
		`bearerd_imds_rate_bucket`:                                                                       "there is no metric bearerd_imds_rate_bucket",
		`bearerd_upstream_errors_total{cause="tls", route=~"x"}`:                                         "bearerd_upstream_errors_total has no label route, but job, instance, pod, le, cause",
	} {
		got := ""
		if err := Check(expression); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", expression, got, want)
		}
	}
}
