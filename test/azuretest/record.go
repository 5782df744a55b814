package azuretest

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// keepRequests bounds what a Recorder keeps, for worlds that stay up for long.
const keepRequests = 10_000

// Request is what a fake saw of one call. It holds names of header fields and
// no values, so that no token gets into a test's log.
type Request struct {
	Method string
	Host   string
	URI    string // the request target as it was sent
	Proto  string
	Header []string // names, sorted, without those that net/http takes out (Host, Content-Length)
	Length int64    // of the body, as declared; -1 if it was not
	Read   int64    // of the body, as far as the service has read it
	Status int      // of the answer; 0 while there is none
	Caller Claims   // whose token it was; zero where none was accepted
}

// String gives the request line and the answer's status.
func (r Request) String() string {
	return fmt.Sprintf("%s https://%s%s (%s): %d", r.Method, r.Host, r.URI, r.Proto, r.Status)
}

// Recorder keeps the latest 10,000 requests that passed its Guard, and every
// violation. Its zero value is ready; it may be used concurrently.
type Recorder struct {
	mu         sync.Mutex // guards the fields below
	entries    []*entry
	violations []string
}

// entry is a Request under way.
type entry struct {
	request Request
	read    atomic.Int64

	mu     sync.Mutex // guards the fields below
	status int
	caller Claims
}

// Requests gives what was recorded, in order of arrival.
func (rec *Recorder) Requests() []Request {
	rec.mu.Lock()
	entries := slices.Clone(rec.entries)
	rec.mu.Unlock()
	requests := make([]Request, len(entries))
	for i, e := range entries {
		requests[i] = e.snapshot()
	}
	return requests
}

func (e *entry) snapshot() Request {
	r := e.request
	r.Read = e.read.Load()
	e.mu.Lock()
	defer e.mu.Unlock()
	r.Status, r.Caller = e.status, e.caller
	return r
}

// Violations lists what callers sent that no proxy may ever forward.
func (rec *Recorder) Violations() []string {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return slices.Clone(rec.violations)
}

// Reset forgets all that was recorded.
func (rec *Recorder) Reset() {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.entries, rec.violations = nil, nil
}

func (rec *Recorder) start(r *http.Request) *entry {
	e := &entry{request: Request{Method: r.Method, Host: r.Host, URI: r.RequestURI, Proto: r.Proto, Length: r.ContentLength}}
	for name := range r.Header {
		e.request.Header = append(e.request.Header, name)
	}
	slices.Sort(e.request.Header)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if len(rec.entries) >= keepRequests {
		rec.entries = slices.Delete(rec.entries, 0, keepRequests/10)
	}
	rec.entries = append(rec.entries, e)
	return e
}

func (rec *Recorder) violate(r *http.Request, what string) {
	path, _, _ := strings.Cut(r.RequestURI, "?") // the query may hold a signature
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.violations = append(rec.violations, fmt.Sprintf("%s %s%s: %s", r.Method, r.Host, path, what))
}

// countedBody counts what the service reads of a body.
type countedBody struct {
	io.ReadCloser
	read *atomic.Int64
}

func (b countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Add(int64(n))
	return n, err
}

// statusWriter notes the status of an answer. Unwrap gives
// http.ResponseController the writer's further abilities.
type statusWriter struct {
	http.ResponseWriter
	entry *entry
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.note(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	w.note(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// note keeps the first status, which is the one that was sent.
func (w *statusWriter) note(status int) {
	w.entry.mu.Lock()
	defer w.entry.mu.Unlock()
	if w.entry.status == 0 {
		w.entry.status = status
	}
}
