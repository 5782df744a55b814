package proxy

import (
	"time"

	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/route"
)

// Refusal is a call that bearerd answered in the service's place, for people
// who look for why an app fails. It holds nothing that the caller sent: neither
// host nor path, and no field.
type Refusal struct {
	At     time.Time
	Code   Code
	Status int
	Route  string // its name, or what the metrics call calls without one
	Caller *caller.Caller
	// Reason is the route's own, of a call that it refused. Empty: the code says
	// all that may be said.
	Reason string
}

// tellRefusal tells whoever wants to know of an answer of our own. A Key Vault
// client that is challenged was refused nothing.
func (x *exchange) tellRefusal() {
	if x.code == "" || x.code == CodeChallenge {
		return
	}
	r := Refusal{At: x.s.now(), Code: x.code, Status: x.status, Route: x.routeName(), Caller: x.caller}
	if x.decision.Action == route.Refuse {
		r.Reason = x.decision.Reason
	}
	x.s.refused(r)
}
