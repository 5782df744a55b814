package azuretest

import (
	"context"
	"net/http"
	"strings"
)

type entryKey struct{}

// Guard puts rec in front of a fake: it records each request, and refuses with
// 400 and a violation what a proxy must never forward.
func (rec *Recorder) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := rec.start(r)
		w = &statusWriter{ResponseWriter: w, entry: e}
		if found := violations(r); len(found) > 0 {
			for _, what := range found {
				rec.violate(r, what)
			}
			http.Error(w, "refused: "+strings.Join(found, "; "), http.StatusBadRequest)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), entryKey{}, e))
		r.Body = countedBody{r.Body, &e.read}
		next.ServeHTTP(w, r)
		for name := range r.Trailer {
			if name == "Authorization" || isForwarding(name) {
				rec.violate(r, name+" as a trailer")
			}
		}
	})
}

// noteCaller records whose token was accepted.
func noteCaller(r *http.Request, c Claims) {
	if e, ok := r.Context().Value(entryKey{}).(*entry); ok {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.caller = c
	}
}

// violations lists what is wrong with a request in ways that only a proxy can
// be blamed for. Each is one of the attacks or leaks that bearerd must stop.
func violations(r *http.Request) (found []string) {
	if r.TLS == nil {
		found = append(found, "without TLS")
	} else if host, _, _ := strings.Cut(r.Host, ":"); !strings.EqualFold(host, r.TLS.ServerName) {
		found = append(found, "TLS was for "+r.TLS.ServerName)
	}
	if r.Method == http.MethodTrace || r.Method == http.MethodConnect {
		found = append(found, "method "+r.Method)
	}
	if !strings.HasPrefix(r.RequestURI, "/") && r.RequestURI != "*" {
		found = append(found, "a request target that is not a path")
	}
	for _, name := range []string{"Authorization", "X-Ms-Version"} {
		if len(r.Header[name]) > 1 {
			found = append(found, name+" more than once")
		}
	}
	websocket := strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
	for name, values := range r.Header {
		all := strings.ToLower(strings.Join(values, ","))
		switch {
		case isForwarding(name):
			found = append(found, name)
		case name == "Connection" && !isPlainConnection(all, websocket):
			found = append(found, "Connection that names header fields")
		case name == "Te" && all != "trailers":
			found = append(found, "Te that asks for more than trailers")
		case name == "Upgrade" && !websocket:
			found = append(found, "Upgrade to "+all)
		}
	}
	return found
}

// isForwarding names the fields that concern one connection, or that proxies
// are spoken to by or speak by (RFC 9110, section 7.6; RFC 7239).
func isForwarding(name string) bool {
	switch name {
	case "Forwarded", "Via", "Keep-Alive", "Transfer-Encoding", "Http2-Settings":
		return true
	}
	return strings.HasPrefix(name, "Proxy-") || strings.HasPrefix(name, "X-Forwarded-")
}

// isPlainConnection reports whether a Connection field says no more than how
// the connection goes on.
func isPlainConnection(value string, websocket bool) bool {
	for option := range strings.SplitSeq(value, ",") {
		switch strings.TrimSpace(option) {
		case "close", "keep-alive", "te":
		case "upgrade":
			if !websocket {
				return false
			}
		default:
			return false
		}
	}
	return true
}
