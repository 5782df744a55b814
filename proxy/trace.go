package proxy

import (
	"net/http"
	"strings"
)

// sampledTrace gives the id of the trace that a call is part of; empty if of
// none, or of one that nobody keeps.
func sampledTrace(h http.Header) string {
	if id, sampled := traceOf(h); sampled {
		return id
	}
	return ""
}

// traceOf gives the id of the trace that a call is part of, by its traceparent
// (W3C Trace Context), empty if of none, and whether it is kept. What a caller
// wrote beyond 32 digits never gets anywhere.
func traceOf(h http.Header) (id string, sampled bool) {
	values := h["Traceparent"]
	if len(values) != 1 {
		return "", false
	}
	// version-id-parent-flags, and in later versions perhaps more.
	v := values[0]
	const whole = 2 + 1 + 32 + 1 + 16 + 1 + 2
	if len(v) < whole || v[2] != '-' || v[35] != '-' || v[52] != '-' || len(v) > whole && (v[:2] == "00" || v[whole] != '-') {
		return "", false
	}
	trace, parent, flags := v[3:35], v[36:52], v[53:whole]
	if !lowerHex(v[:2]) || v[:2] == "ff" || !lowerHex(trace) || !lowerHex(parent) || !lowerHex(flags) ||
		strings.Trim(trace, "0") == "" || strings.Trim(parent, "0") == "" {
		return "", false
	}
	const odd = "13579bdf" // the lowest bit
	return trace, strings.Contains(odd, flags[1:])
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
