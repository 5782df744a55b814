package imds

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Class is what a failure means for asking again.
type Class uint8

// The classes, from azure-protocol's table of statuses: decided by the status
// and the error code, never by the description's words, with one exception that
// only tells two kinds of 400 apart.
const (
	Unavailable   Class = iota // network, time-outs, 5xx: retry
	Throttled                  // 429: it concerns the whole machine
	Updating                   // 404, 410: IMDS is restarting; back within 70 s
	NotAssigned                // no such identity, or assigned seconds ago: retry slowly
	Misconfigured              // unknown audience, several identities without an id: asking again does not help
	Denied                     // 401, 403: asking again at speed does not help
	Malformed                  // an answer that cannot be used: retry
)

// String names the class for metrics and people.
func (c Class) String() string {
	names := [...]string{"unavailable", "throttled", "updating", "not_assigned", "misconfigured", "denied", "malformed"}
	if int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("Class(%d)", c)
}

// Error is a failed attempt to get a token. It never holds one. It is not
// changed once made.
type Error struct {
	Class       Class
	Status      int           // of HTTP; 0 without an answer
	Code        string        // "error" of the answer
	Description string        // "error_description" of the answer: bounded, printable
	RetryAfter  time.Duration // as asked for by the answer; 0: not asked for
	Audience    string
	Identity    Identity
	Err         error  // what went wrong without a usable answer
	Advice      string // what to do next, where the source knows better than the class
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "token for %s (%s) from %s: ", e.Audience, e.Identity, e.from())
	switch {
	case e.Status == 0:
		fmt.Fprintf(&b, "%v", e.Err)
	case e.Err != nil:
		fmt.Fprintf(&b, "status %d: %v", e.Status, e.Err)
	default:
		fmt.Fprintf(&b, "status %d", e.Status)
	}
	if e.Code != "" {
		fmt.Fprintf(&b, " %s", e.Code)
	}
	if e.Description != "" {
		fmt.Fprintf(&b, " (%s)", e.Description)
	}
	fmt.Fprintf(&b, "; %s", e.Hint())
	return b.String()
}

func (e *Error) from() string {
	if e.Identity.Source == "" || e.Identity.Source == SourceIMDS {
		return "IMDS"
	}
	return e.Identity.Source
}

// Unwrap gives what went wrong without a usable answer.
func (e *Error) Unwrap() error { return e.Err }

// Hint tells an operator what to do next.
func (e *Error) Hint() string {
	if e.Advice != "" {
		return e.Advice
	}
	switch e.Class {
	case Throttled:
		return "IMDS limits the whole machine; bearerd waits and asks again, look for other programs that ask IMDS"
	case Updating:
		return "IMDS is updating or the identity is not there yet; bearerd asks again"
	case NotAssigned:
		return "assign the identity to the machine (az vm identity assign); a new assignment takes up to a few minutes"
	case Misconfigured:
		return e.hintMisconfigured()
	case Denied:
		return "if this is not an Azure machine, something else answers at IMDS's address; else check the identity"
	case Malformed:
		return "something else than IMDS seems to answer at its address; check imds.endpoint and proxies in between"
	default:
		return e.hintUnavailable()
	}
}

func (e *Error) hintMisconfigured() string {
	switch {
	case e.Status == 0:
		return "correct the route's identity"
	case e.Code == codeInvalidResource:
		return "correct the route's audience"
	case e.Code == codeInvalidRequest:
		return "the machine has several identities: name one by client_id, object_id or resource_id under identity"
	}
	return "IMDS does not understand the request; check imds.endpoint and proxies in between"
}

func (e *Error) hintUnavailable() string {
	switch {
	case e.Status == http.StatusBadGateway || e.Status == http.StatusGatewayTimeout:
		return "a proxy seems to stand before IMDS, which must be asked directly; bearerd asks again"
	case e.Status != 0:
		return "IMDS has a passing failure; bearerd asks again"
	}
	return "IMDS answers on Azure machines only; check that this is one and that nothing blocks 169.254.169.254, or set imds.endpoint"
}

const (
	codeInvalidResource = "invalid_resource"
	codeInvalidRequest  = "invalid_request"
)

var (
	errNotAnAnswer = errors.New("the answer is not the JSON of an error")
	errForeign     = errors.New("the identity is of another source than IMDS")
)

// classify tells what a status and an error code mean.
func classify(status int, code, description string) Class {
	switch {
	case status == 429:
		return Throttled
	case status == 404 || status == 410:
		return Updating
	case status == 401 || status == 403:
		return Denied
	case status >= 500:
		return Unavailable
	case status == 400 && code == codeInvalidResource:
		return Misconfigured
	case status == 400 && code == codeInvalidRequest:
		// Both are documented with the same status and code: no identity, which
		// may be assigned any moment, and several, which wants an id. Read
		// wrongly, the one is only asked for more slowly than it could be.
		if strings.Contains(strings.ToLower(description), "multiple user assigned") {
			return Misconfigured
		}
		return NotAssigned
	case status == 400:
		return Misconfigured
	default: // a redirect, a 2xx without a token: not IMDS
		return Malformed
	}
}
