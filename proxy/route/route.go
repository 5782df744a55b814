// Package route answers which calls get a token, whose, and why: the compiled
// route table and its decision.
//
// It hides how rules are checked, indexed and matched. It sees a call as
// values and gives back a value, so that every forwarding path, and the
// command that explains decisions, asks the same question.
package route

import (
	"fmt"
	"slices"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/caller"
)

// Rule is one route as the configuration writes it. A field's zero value
// restricts nothing, unless its comment says otherwise.
type Rule struct {
	// Name is what logs, metrics and reasons call the route, unique; empty: it
	// is made from the service, or from the first host.
	Name string
	// Service is a service of the cloud; empty: the one that all hosts belong
	// to, else an API of the operator's own, which needs an audience.
	Service string
	// Hosts are "host", "host:port" or "*.suffix", where the star stands for
	// one label; empty: every name that is safely the service's. Without a
	// port, an entry stands for 443, and for 80 with plain http.
	Hosts []string
	// Audience is what tokens are asked for; empty: the service's. It vouches
	// for hosts that are not known to be the service's.
	Audience string
	Identity imds.Identity // zero: IMDS's own default
	Methods  []string
	Paths    []string // unescaped; * is one segment, ** many
	// Operations are names of azure.Operations, or what such names begin with
	// and ".*" (storage.blob.*), which leaves out those that mint credentials.
	Operations []string
	Callers    caller.Names // who may make the call
	// RequireHeader are fields that the call must carry, once, with that value.
	RequireHeader map[string]string
	Gateway       string // name of the base URL of the route's one host
	Required      bool   // readiness waits for the route's token
	Own           Own
	Upgrades      []string // only "websocket" exists
}

// Own says what becomes of a call that brings a live credential of its own.
type Own uint8

// The ways to treat a call with a credential of its own.
const (
	OwnPass    Own = iota // forward it untouched
	OwnReplace            // attach ours in place of the caller's
	OwnRefuse
)

// ParseOwn reads the configuration's word for an Own.
func ParseOwn(word string) (Own, error) {
	switch word {
	case "pass":
		return OwnPass, nil
	case "replace":
		return OwnReplace, nil
	case "refuse":
		return OwnRefuse, nil
	}
	return 0, fmt.Errorf("%q is not known; use pass, replace or refuse", word)
}

// String gives the configuration's word.
func (o Own) String() string {
	switch o {
	case OwnPass:
		return "pass"
	case OwnReplace:
		return "replace"
	case OwnRefuse:
		return "refuse"
	}
	return fmt.Sprintf("Own(%d)", uint8(o))
}

// Route is one compiled rule. Immutable, as are its lists.
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
	Hosts       []string     // as matched, the service's own spelled out
	Methods     []string     // empty: all
	Paths       []string     // empty: all
	Operations  []string     // empty: all
	Callers     caller.Names // empty: all

	targets   []target
	paths     []pathPattern
	exactly   []string // of Operations, the whole names
	below     []string // of Operations, what stands for all that begin with it
	header    []azure.Field
	websocket bool
	// reasons for an injection, by the credential that gives way to it, and for
	// passing a call with such a credential on.
	inject, pass [azure.Live + 1]string
}

// String names the route for reasons and logs: keyvault (routes[0]).
func (r *Route) String() string { return fmt.Sprintf("%s (routes[%d])", r.Name, r.Index) }

// Names reports whether the route is for a host at a port, by TLS.
func (r *Route) Names(host string, port uint16) bool {
	return slices.ContainsFunc(r.targets, func(t target) bool {
		return (t.host == host || t.host == "" && t.pattern.Match(host)) && t.takesPort(port, false)
	})
}

// Restricted reports whether the route takes less than all calls to its hosts. Who
// may make them is another matter: those whom it names may make them all.
func (r *Route) Restricted() bool {
	return len(r.Methods)+len(r.paths)+len(r.header)+len(r.Operations) > 0
}

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
