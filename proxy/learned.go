package proxy

import (
	"net/http"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/entra"
	"github.com/bearerd/bearerd/proxy/learn"
	"github.com/bearerd/bearerd/proxy/route"
)

// Learner is told what applications do; *learn.Recorder is one.
type Learner interface {
	Call(*learn.Call)
	Login(*learn.Login)
	Unrouted(host string)
}

// teach tells the learner what the request was, once it is over. Nothing that it
// carried is told.
func (x *exchange) teach() {
	d := &x.decision
	switch {
	case x.loggedIn.Result == entra.Answered:
		x.s.learner.Login(&learn.Login{Client: x.loggedIn.Client, Audience: cut(x.loggedIn.Audience), Caller: x.caller})
	case d.Action == route.Tunnel && !x.intercepted && x.call.Host != "" && x.code == "":
		x.s.learner.Unrouted(x.call.Host)
	case d.Action != route.Inject && d.Action != route.Pass, d.Route == nil, x.code == CodeChallenge:
		// A probe is followed by the call that is meant.
	default:
		x.teachCall(&x.call, d)
		if x.batch != nil {
			for i := range x.batch.decisions {
				x.teachCall(&x.batch.read.Calls[i].Call, &x.batch.decisions[i])
			}
		}
	}
}

// teachCall tells of one call and of what it copies or moves away.
func (x *exchange) teachCall(c *azure.Call, d *route.Decision) {
	x.s.learner.Call(&learn.Call{
		Route: d.Route, Suspended: d.Suspended, Obstacle: d.Obstacle,
		Host: c.Host, Port: c.Port, Operation: d.Operation, Caller: x.caller,
		Brought: learn.BroughtBy(c, d.Own),
		Denied:  x.code == "" && (x.status == http.StatusUnauthorized || x.status == http.StatusForbidden),
	})
	if s := d.Source; s != nil && (s.Decision.Action == route.Inject || s.Decision.Action == route.Pass) {
		x.teachCall(&s.Call, &s.Decision)
	}
}
