package proxy

import (
	"net/http"
	"strings"
	"testing"
)

func TestSampledTrace(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	const whole = "00-" + id + "-b7ad6b7169203331-01"
	for value, want := range map[string]string{
		whole:                                                    id,
		"00-" + id + "-b7ad6b7169203331-03":                      id,
		"00-" + id + "-b7ad6b7169203331-00":                      "", // nobody keeps it
		"00-" + id + "-b7ad6b7169203331-02":                      "",
		"01-" + id + "-b7ad6b7169203331-01-what-comes":           id,
		"01-" + id + "-b7ad6b7169203331-01.what-comes":           "",
		whole + "-more":                                          "",
		"ff-" + id + "-b7ad6b7169203331-01":                      "",
		"0g-" + id + "-b7ad6b7169203331-01":                      "",
		"00-" + strings.ToUpper(id) + "-b7ad6b7169203331-01":     "",
		"00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01": "",
		"00-" + id + "-0000000000000000-01":                      "",
		"00-" + id + "-b7ad6b716920333x-01":                      "",
		"00-" + id + "-b7ad6b7169203331-0":                       "",
		"00-" + id + "-b7ad6b7169203331-x1":                      "",
		"00_" + id + "-b7ad6b7169203331-01":                      "",
		"":                                                       "", "00": "",
	} {
		h := http.Header{}
		h.Set("traceparent", value)
		if got := sampledTrace(h); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
	if got := sampledTrace(http.Header{}); got != "" {
		t.Errorf("got %q of no field", got)
	}
	if got := sampledTrace(http.Header{"Traceparent": {whole, whole}}); got != "" {
		t.Errorf("got %q of two fields", got)
	}
}
