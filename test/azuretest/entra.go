package azuretest

import (
	"io"
	"net/http"
	"slices"
	"sync"
)

// Entra stands for the real login service, which has to see only what bearerd
// does not answer itself. It keeps each request as it arrived, and answers every
// one alike. Its zero value is ready; it may be used concurrently.
type Entra struct {
	mu     sync.Mutex // guards logins
	logins []Login
}

// Login is one request to Entra.
type Login struct {
	Method, Host, URI string
	Header            http.Header
	Length            int64 // of the body, as declared; -1 if it was not
	Body              []byte
}

// ServeHTTP implements http.Handler.
func (e *Entra) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the recorder shows a request without a status
	}
	e.mu.Lock()
	e.logins = append(e.logins, Login{Method: r.Method, Host: r.Host, URI: r.RequestURI, Header: r.Header.Clone(), Length: r.ContentLength, Body: body})
	e.mu.Unlock()
	writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_client", "error_description": "AADSTS7000215: this is Entra, which knows nobody."})
}

// Logins gives the requests in order of arrival.
func (e *Entra) Logins() []Login {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.logins)
}
