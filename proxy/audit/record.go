package audit

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// Event is what a record is of.
type Event string

// The events.
const (
	Call      Event = "call"       // to a routed host, whatever became of it
	BatchCall Event = "batch_call" // one within a batch, which has a record of its own
	Connect   Event = "connect"    // a CONNECT to a routed host that was refused
	Login     Event = "login"      // a client's login that was answered in Entra's place
	Token     Event = "token"      // a token that was asked for in IMDS's place
	Lost      Event = "lost"       // records that could not be kept
)

// Record is one line of the stream. What is empty is left out of it. No field
// holds a token, a caller's credential or a query.
type Record struct {
	Time      time.Time `json:"time"` // when it began
	Event     Event     `json:"event"`
	RequestID string    `json:"request_id,omitempty"`

	Remote       string   `json:"remote,omitempty"` // address
	User         string   `json:"user,omitempty"`
	UID          *uint32  `json:"uid,omitempty"`
	PID          int      `json:"pid,omitempty"` // of the process that connected to a unix socket
	Cgroup       string   `json:"cgroup,omitempty"`
	Certificates []string `json:"certificates,omitempty"`
	Unknown      string   `json:"unknown,omitempty"` // why the user is not known

	Steering string `json:"steering,omitempty"`
	Route    string `json:"route,omitempty"`
	Action   string `json:"action,omitempty"` // inject, pass or refuse
	// ObjectID is the identity's whose token the call carried.
	ObjectID  string `json:"object_id,omitempty"`
	Audience  string `json:"audience,omitempty"`
	Own       string `json:"own,omitempty"`    // what kind of credential the call brought
	Client    string `json:"client,omitempty"` // of a login
	Operation string `json:"operation,omitempty"`
	// Mints is set where the call, or one in its batch, asks for a credential
	// that works past the proxy.
	Mints bool `json:"mints,omitempty"`

	Method string `json:"method,omitempty"`
	Host   string `json:"host,omitempty"`
	Path   string `json:"path,omitempty"` // without the query
	Calls  int    `json:"calls,omitempty"`

	Status int    `json:"status,omitempty"` // that the caller got; 499: it left before
	Code   string `json:"code,omitempty"`   // of an answer of bearerd's own
	// ServiceRequestID is x-ms-request-id of the answer, ClientRequestID
	// x-ms-client-request-id of the request.
	ServiceRequestID string  `json:"service_request_id,omitempty"`
	ClientRequestID  string  `json:"client_request_id,omitempty"`
	Received         int64   `json:"received,omitempty"` // bytes, from the caller
	Sent             int64   `json:"sent,omitempty"`
	Seconds          float64 `json:"seconds,omitempty"` // that it took
	Broken           bool    `json:"broken,omitempty"`  // the answer was broken off

	Lost int `json:"lost,omitempty"` // how many records
}

// writeTo appends the record in JSON, with its line break.
func (r *Record) writeTo(b *bytes.Buffer) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		panic("audit: strings and numbers did not encode: " + err.Error())
	}
}

// MaxPath bounds what a record repeats of a path, which a caller chooses.
const MaxPath = 1 << 10

// Field is one name of a record's, and what it holds, for the documentation.
type Field struct{ Name, Means string }

// Fields lists every field, in the order of a line.
func Fields() []Field {
	return []Field{
		{"time", "when it began, UTC"},
		{"event", "`call` (to a routed host, whatever became of it), `batch_call` (one within a batch, right behind the batch's own record), `connect` (a CONNECT to a routed host that was refused), `login` (a login at a host of `entra`'s), `token` (a token asked for at a listener in mode imds), `lost` (records that could not be kept)"},
		{"request_id", "bearerd's: the caller's `x-ms-client-request-id`, else the trace of its `traceparent`, else made; the log has the same"},
		{"remote", "the caller's address"},
		{"user", "the caller's user, by name where it has one"},
		{"uid", "its number"},
		{"pid", "the process that connected, over a unix socket; it may have passed the connection on"},
		{"cgroup", "its control group"},
		{"certificates", "the names in its client certificate"},
		{"unknown", "why the user is not known"},
		{"steering", "how the call came: `connect`, `absolute`, `base`, `transparent`"},
		{"route", "the route that took the call, or came closest; `unrouted`: none"},
		{"action", "`inject` (with the machine's token), `pass` (with the caller's own credential), `refuse`"},
		{"object_id", "the identity whose token the call carried, by its service principal: what Azure's own logs name"},
		{"audience", "what the token is for"},
		{"own", "what kind of credential the call brought: `token`, `sas`, `foreign`, `placeholder`, `dead`"},
		{"client", "the client that logs in"},
		{"operation", "what the call does ([services.md](services.md))"},
		{"mints", "true: it, or a call in its batch, asks for a credential that works past bearerd"},
		{"method", "the method"},
		{"host", "the host"},
		{"path", "the path, without the query, its first 1024 bytes"},
		{"calls", "how many calls a batch holds"},
		{"status", "what the caller got; 499: it left before"},
		{"code", "of an answer of bearerd's own ([errors.md](errors.md))"},
		{"service_request_id", "the answer's `x-ms-request-id`"},
		{"client_request_id", "the request's `x-ms-client-request-id`"},
		{"received", "bytes from the caller"},
		{"sent", "bytes to the caller"},
		{"seconds", "how long it took"},
		{"broken", "true: the answer was broken off"},
		{"lost", "how many records"},
	}
}

// ID gives what a caller or a service calls a request, where it looks like the
// name of one: what does not is left out, for it could be anything.
func ID(text string) string {
	const most = 128
	if len(text) > most || strings.ContainsFunc(text, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_' || r == '.' || r == ':' || r == '/')
	}) {
		return ""
	}
	return text
}
