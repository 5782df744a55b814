package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/bearerd/bearerd/proxy/audit"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/entra"
	"github.com/bearerd/bearerd/proxy/route"
	"github.com/bearerd/bearerd/proxy/trace"
)

// reserve keeps a place in the audit stream for a call to a host that is judged,
// before anything of it goes out.
func (x *exchange) reserve() *problem {
	if x.s.audit == nil || !x.settings.named(x.call.Host) {
		return nil
	}
	if err := x.s.audit.Reserve(); err != nil {
		p := problemf(http.StatusServiceUnavailable, CodeAuditUnavailable, "calls are to be written to the audit stream, which cannot be written; bearerd's log tells why")
		p.retryAfter = retryBusy
		p.cause = err
		return p
	}
	x.reserved = true
	return nil
}

// audit writes the record of a call that has ended.
func (x *exchange) audit(took time.Duration) {
	if x.s.audit == nil {
		return
	}
	event := x.event()
	switch {
	case event == "" && x.reserved:
		x.s.audit.Release()
		return
	case event == "":
		return
	case !x.reserved && x.s.audit.Reserve() != nil:
		return // nothing of it went out
	}
	r := x.record(event)
	r.Seconds = took.Seconds()
	x.s.audit.Write(x.parts(&r)...)
}

// event tells what the call is in the audit stream; empty: nothing.
func (x *exchange) event() audit.Event {
	switch {
	case x.intercepted:
		return "" // the calls on its connection are told
	case x.loggedIn.Result == entra.Answered, x.loggedIn.Result == entra.Refused:
		return audit.Login
	case x.loggedIn.Result != "":
		return "" // it is Entra's
	case x.decision.Code == route.CodePlaceholder, x.call.Host != "" && x.settings.routes.Named(x.call.Host):
	default:
		return ""
	}
	if x.call.Scheme == "" {
		return audit.Connect
	}
	return audit.Call
}

func (x *exchange) record(event audit.Event) audit.Record {
	d := &x.decision
	r := audit.Record{
		Time: x.started.UTC(), Event: event, RequestID: x.requestID(), Remote: x.r.RemoteAddr,
		Steering: string(x.steering), Route: x.routeName(), Action: "refuse",
		Operation: d.Operation.Name, Mints: d.Operation.Mints || x.batch.mints(),
		Method: cut(x.r.Method), Host: x.call.Host, Path: pathOf(&x.call),
		Status: x.status, Code: string(x.code), Broken: x.broken != nil,
		ClientRequestID: audit.ID(x.r.Header.Get(clientRequestID)), ServiceRequestID: audit.ID(x.w.Header().Get("X-Ms-Request-Id")),
		Received: x.received, Sent: x.sent,
	}
	RecordCaller(&r, x.caller)
	if d.Action != route.Tunnel {
		r.Action = d.Action.String()
	}
	if event == audit.Login {
		r.Action, r.Client, r.Audience = string(x.loggedIn.Result), x.loggedIn.Client, cut(x.loggedIn.Audience)
	}
	if d.Own != azure.None {
		r.Own = d.Own.Kind()
	}
	if d.Action == route.Inject {
		r.Audience = d.Route.Audience
	}
	if x.carried != nil {
		r.ObjectID = x.carried.ObjectID()
	}
	if x.batch != nil {
		r.Calls = len(x.batch.decisions)
	}
	return r
}

// RecordCaller says in a record who called.
func RecordCaller(r *audit.Record, c *caller.Caller) {
	const mostNames = 16 // of a certificate
	if c == nil {
		r.Unknown = "nobody looked"
		return
	}
	r.User, r.Cgroup = c.Names()
	r.PID, r.Unknown = c.PID, c.Unknown
	if c.Known {
		r.UID, r.Unknown = &c.UID, ""
	}
	for _, name := range c.Certificates[:min(len(c.Certificates), mostNames)] {
		r.Certificates = append(r.Certificates, cut(name))
	}
}

// parts gives the records of the calls within a batch, behind the batch's own.
func (x *exchange) parts(whole *audit.Record) []audit.Record {
	records := []audit.Record{*whole}
	if x.batch == nil {
		return records
	}
	for i := range x.batch.decisions {
		d, call := &x.batch.decisions[i], &x.batch.read.Calls[i]
		part := audit.Record{
			Time: whole.Time, Event: audit.BatchCall, RequestID: whole.RequestID,
			Remote: whole.Remote, User: whole.User, UID: whole.UID, PID: whole.PID, Cgroup: whole.Cgroup, Certificates: whole.Certificates, Unknown: whole.Unknown,
			Steering: whole.Steering, Route: d.Route.Name, Action: d.Action.String(), ObjectID: whole.ObjectID,
			Operation: d.Operation.Name, Mints: d.Operation.Mints,
			Method: cut(call.Call.Method), Host: call.Call.Host, Path: pathOf(&call.Call),
			ClientRequestID: audit.ID(call.Header.Get(clientRequestID)),
		}
		if token := x.batch.tokens[keyOf(d.Route)]; token != nil {
			part.ObjectID = token.ObjectID()
		}
		if d.Action == route.Inject {
			part.Audience = d.Route.Audience
		}
		if d.Own != azure.None {
			part.Own = d.Own.Kind()
		}
		records = append(records, part)
	}
	return records
}

func pathOf(c *azure.Call) string { return c.Path[:min(len(c.Path), audit.MaxPath)] }

// clientRequestID is the field by which a caller names its call to Azure.
const clientRequestID = "X-Ms-Client-Request-Id"

// requestID names the call in the log and the audit stream: as its caller does,
// by its name for the call or its trace, else by a name that is made up and sent
// to nobody.
func (x *exchange) requestID() string {
	if x.id != "" {
		return x.id
	}
	if x.id = audit.ID(x.r.Header.Get(clientRequestID)); x.id != "" {
		return x.id
	}
	if x.id, _ = traceOf(x.r.Header); x.id == "" {
		x.id = fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())
	}
	return x.id
}

// endSpan ends the call's span, if it has one.
func (x *exchange) endSpan(took time.Duration) {
	if x.span == nil {
		return
	}
	x.span.End(&trace.Outcome{
		Method: cut(x.r.Method), Host: x.call.Host, Port: x.call.Port, Route: x.routeName(), Action: x.decision.Action.String(),
		Operation: x.decision.Operation.Name, Mints: x.decision.Operation.Mints || x.batch.mints(),
		Status: x.status, Code: string(x.code), Broken: x.broken != nil,
		RequestID: x.requestID(), ServiceRequestID: audit.ID(x.w.Header().Get("X-Ms-Request-Id")), At: x.started.Add(took),
	})
}

// sampledTrace gives the id of the trace that the call is part of; empty if of
// none, or of one that nobody keeps.
func (x *exchange) sampledTrace() string {
	if x.span != nil {
		return x.span.Sampled()
	}
	return sampledTrace(x.r.Header)
}
