// Package route answers which calls get a token, whose, and why: the compiled
// route table and its decision.
//
// It hides how rules are checked, indexed and matched. It sees a call as
// values and gives back a value, so that every forwarding path, and the
// command that explains decisions, asks the same question.
package route

import (
	"fmt"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/proxy/azure"
)

// Rule is one route as the configuration writes it. The zero value of a field
// means that it does not restrict, unless it says otherwise.
type Rule struct {
	Name          string        // empty: generated from the service or the first host
	Service       string        // a service of the cloud; empty: told from Hosts, else an API of the operator's own
	Hosts         []string      // "host", "host:port" or "*.suffix"; empty: all that the service safely has
	Audience      string        // empty: the service's
	Identity      imds.Identity // zero: system-assigned
	Methods       []string
	Paths         []string          // * is one segment, ** many
	RequireHeader map[string]string // fields that the call must carry, once, with that value
	Gateway       string            // name under which the route's one host is a base URL; empty: none
	Required      bool              // readiness waits for the route's token
	Own           Own
	Upgrades      []string // only "websocket" exists
}

// Own says what becomes of a call that brings a live credential of its own.
type Own uint8

// The ways to treat a call's own credential.
const (
	OwnPass    Own = iota // forward it untouched
	OwnReplace            // put ours in its place
	OwnRefuse
)

// Action is what becomes of a call.
type Action uint8

// The actions.
const (
	Tunnel Action = iota // no route names the host
	Inject               // attach the route's token
	Pass                 // forward untouched: the call has a credential of its own
	Refuse
)

// Route is one compiled rule. Immutable.
type Route struct {
	Name        string
	Index       int            // of the rule
	Service     *azure.Service // never nil; its Audience is the route's
	Audience    string
	Identity    imds.Identity
	Gateway     string // empty: none
	GatewayHost string
	GatewayPort uint16
	Required    bool
	Own         Own
	Hosts       []string // as matched, with the service's own spelled out
	Methods     []string
	Paths       []string
}

// Decision is what becomes of a call, and why.
type Decision struct {
	Action Action
	Route  *Route // nil for Tunnel, and for Refuse the route that came closest
	Code   string // of a Refuse
	Reason string // for people
}

// The codes of refusals.
const (
	// CodeNotPermitted: a route names the host, but none takes the call whole.
	CodeNotPermitted = "BearerdNotPermitted"
	// CodeOwnCredential: the route takes the call, but not with a credential of
	// the caller's own.
	CodeOwnCredential = "BearerdOwnCredential"
)

// RuleError is one mistake in one rule.
type RuleError struct {
	Index int    // of the rule
	Field string // key in the configuration, with the element's index: hosts[1]; empty: the rule itself
	Err   error
}

// Error implements error.
func (e *RuleError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("routes[%d]: %v", e.Index, e.Err)
	}
	return fmt.Sprintf("routes[%d].%s: %v", e.Index, e.Field, e.Err)
}

// Unwrap gives the mistake itself.
func (e *RuleError) Unwrap() error { return e.Err }
