package route

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/caller"
)

// Action is what becomes of a call.
type Action uint8

// The actions.
const (
	Tunnel Action = iota // no route names the host: the call is none of ours
	Inject               // attach the route's token
	Pass                 // forward untouched, with the caller's own credential
	Refuse
)

// String names the action for people.
func (a Action) String() string {
	return [...]string{Tunnel: "tunnel", Inject: "inject", Pass: "pass", Refuse: "refuse"}[a]
}

// The codes of refusals, for the error that the caller gets.
const (
	// CodeNotPermitted: routes name the host, and none takes the call whole.
	CodeNotPermitted = "BearerdNotPermitted"
	// CodeCallerNotPermitted: routes name the host, but other callers.
	CodeCallerNotPermitted = "BearerdCallerNotPermitted"
	// CodeOwnCredential: a route takes the call, but not with the credential
	// of its own that it brings.
	CodeOwnCredential = "BearerdOwnCredential"
	// CodePlaceholder: the call brings a placeholder of bearerd's that is not
	// for the service.
	CodePlaceholder = "BearerdPlaceholder"
	// CodeClientTooOld: a route takes the call, but its service would not, with
	// a token.
	CodeClientTooOld = "BearerdClientTooOld"
)

// Decision is what becomes of a call, and why.
type Decision struct {
	Action Action
	// Route is the one that takes the call. For a Refuse it is the one that
	// came closest, for a Tunnel nil.
	Route *Route
	// Operation is what the call does, as the service of Route understands it.
	Operation azure.Operation
	// Own is what the call brings of its own to a route that takes it.
	Own    azure.Credential
	Code   string // of a Refuse
	Reason string // for people; holds no value of the call's fields or query
	// Source is what becomes of what the call copies or moves away; nil: it names
	// no source, or gets no token and the table does not learn.
	Source *Source

	// What follows is a table's that learns.

	// Suspended is set where no route takes the call whole, and Route would but
	// for its methods, paths and operations.
	Suspended bool
	// Obstacle tells why no restricted route takes the call, whatever operations
	// it names; empty: one could. It holds no value of the call's.
	Obstacle string
}

// Decide says what becomes of a call that who makes at the time now: the first
// route that takes it whole counts. Where routes name the host and none takes the
// call, it is refused; it never goes on as if nobody had named it. The call's host
// must be as azure.NormalizeHost gives it.
//
// It does not allocate where the call gets a token and brings no Authorization.
func (t *Table) Decide(c *azure.Call, who *caller.Caller, now time.Time) Decision {
	m := matcher{table: t, call: c, carrier: c, who: who, now: now}
	return m.decide()
}

// DecideWithin says what becomes of a call that carrier, a batch to the same
// host, has in its body. A field that a route requires may be the batch's.
func (t *Table) DecideWithin(c, carrier *azure.Call, who *caller.Caller, now time.Time) Decision {
	m := matcher{table: t, call: c, carrier: carrier, who: who, now: now}
	return m.decide()
}

func (m *matcher) decide() Decision {
	c := m.call
	candidates, ok := m.table.byHost.Get(c.Host)
	if !ok {
		if _, placeholder := azure.PlaceholderAudience(c); placeholder {
			return Decision{
				Action: Refuse, Own: azure.Placeholder, Code: CodePlaceholder,
				Reason: "the call brings a placeholder of bearerd's, which is worth nothing where no route names the host; add a route",
			}
		}
		return Decision{Action: Tunnel, Reason: "no route names the host"}
	}
	var closest *candidate
	var best mismatch
	for i := range candidates {
		miss := m.compare(&candidates[i])
		if miss.stage == whole {
			return m.take(candidates[i].route, false)
		}
		if closest == nil || miss.stage > best.stage {
			closest, best = &candidates[i], miss
		}
	}
	if m.table.learns {
		if r := m.suspended(candidates); r != nil {
			return m.take(r, true)
		}
	}
	d := Decision{Action: Refuse, Route: closest.route, Operation: m.operation(closest.route.Service), Code: CodeNotPermitted}
	if best.stage == atCaller {
		d.Code = CodeCallerNotPermitted
		d.Reason = fmt.Sprintf("the caller is %s, and %s takes %s only; call as one of them, or add this one to the route's callers", m.who, d.Route, &d.Route.Callers)
		return d
	}
	d.Reason = fmt.Sprintf("no route takes the whole call; %s comes closest, but %s", closest.route, closest.differs(c, d.Operation, best))
	return d
}

// take decides on a call that a route takes, or would.
func (m *matcher) take(r *Route, suspended bool) Decision {
	d := r.current(m.call, r.authorise(m.call, m.now))
	d.Route, d.Operation, d.Suspended = r, m.operation(r.Service), suspended
	if d.Action == Inject || d.Action == Pass && m.table.learns {
		d.Source = m.sourceAt(r.Service)
	}
	if m.table.learns && (suspended || !r.Restricted()) {
		d.Obstacle = m.obstacle(r)
	}
	return d
}

// authorise decides on a call that the route takes, by the credential that it
// brings.
func (r *Route) authorise(c *azure.Call, now time.Time) Decision {
	own := r.Service.CredentialOf(c, now)
	switch own {
	case azure.None, azure.Dead, azure.Foreign:
		return Decision{Action: Inject, Own: own, Reason: r.inject[own]}
	case azure.Placeholder:
		return r.takePlaceholder(c)
	}
	switch r.Own {
	case OwnPass:
		return Decision{Action: Pass, Own: own, Reason: r.pass[own]}
	case OwnReplace:
		// The query goes on byte for byte, so what it holds cannot give way.
		if r.Service.QueryCredential(c, now) == azure.None {
			return Decision{Action: Inject, Own: own, Reason: r.inject[own]}
		}
		return Decision{
			Action: Refuse, Own: own, Code: CodeOwnCredential,
			Reason: fmt.Sprintf("the query brings %s, which %s is to replace and cannot; leave it out", own, r),
		}
	default:
		return Decision{
			Action: Refuse, Own: own, Code: CodeOwnCredential,
			Reason: fmt.Sprintf("the call brings %s, which %s refuses; leave it out", own, r),
		}
	}
}

// takePlaceholder has the machine's token stand in for a placeholder that was
// asked for this service. The attack is an app that is talked into sending its
// token for one service to another, which Entra's audiences forbid. Its end does
// not matter: a call without any credential gets the same.
func (r *Route) takePlaceholder(c *azure.Call) Decision {
	if audience, ok := azure.PlaceholderAudience(c); ok && r.Service.Takes(audience) {
		return Decision{Action: Inject, Own: azure.Placeholder, Reason: r.inject[azure.Placeholder]}
	}
	return Decision{
		Action: Refuse, Own: azure.Placeholder, Code: CodePlaceholder,
		Reason: fmt.Sprintf("the call brings a placeholder of bearerd's that was asked for another service than that of %s; ask for %s", r, r.Audience),
	}
}

// current refuses what would get a token and whose client is too old for one.
func (r *Route) current(c *azure.Call, d Decision) Decision {
	if d.Action != Inject {
		return d
	}
	if reason := r.Service.Outdated(c); reason != "" {
		return Decision{Action: Refuse, Own: d.Own, Code: CodeClientTooOld, Reason: fmt.Sprintf("%s takes the call, but %s", r, reason)}
	}
	return d
}

// stage is how far a call and a route agree. The furthest one tells which
// route came closest.
type stage uint8

const (
	atPort   stage = iota
	atCaller       // before what the call is like: a route of the caller's own is closer than another's
	atMethod
	atPath
	atHeader
	atUpgrade
	atOperation
	atDisguise
	atSource
	whole
)

// mismatch is where a call and a route part.
type mismatch struct {
	stage  stage
	detail string
}

// candidate is a route that names the call's host.
type candidate struct {
	route  *Route
	target target
}

// matcher compares one call with candidates, and keeps what holds for all.
type matcher struct {
	table       *Table
	call        *azure.Call
	carrier     *azure.Call // which has the fields that routes require: call itself, or the batch that it is in
	who         *caller.Caller
	moves       string // the operation, where it is the source of a move
	now         time.Time
	pathJudged  bool
	pathProblem string
	service     *azure.Service // that op and source are of; nil: of none yet
	op          azure.Operation
	sourceRead  bool
	source      *Source
}

// operation gives what the call does at a service.
func (m *matcher) operation(s *azure.Service) azure.Operation {
	if m.service != s {
		m.service, m.op = s, s.OperationOf(m.call)
		m.sourceRead, m.source = false, nil
		if m.moves != "" {
			m.op = azure.Operation{Name: m.moves}
		}
	}
	return m.op
}

func (m *matcher) compare(cand *candidate) mismatch {
	c, r := m.call, cand.route
	if miss := m.reaches(cand); miss.stage != whole {
		return miss
	}
	// A TRACE would show the token to the caller, and a CONNECT would end what
	// can be judged.
	if c.Method == http.MethodTrace || c.Method == http.MethodConnect || len(r.Methods) > 0 && !slices.Contains(r.Methods, c.Method) {
		return mismatch{stage: atMethod}
	}
	var matched *pathPattern
	if len(r.paths) > 0 {
		if !m.pathJudged {
			m.pathJudged, m.pathProblem = true, pathProblem(c.Path)
		}
		if m.pathProblem != "" {
			return mismatch{atPath, m.pathProblem}
		}
		if matched = r.matchPath(c.Path); matched == nil {
			return mismatch{stage: atPath}
		}
	}
	if miss := m.carries(r); miss.stage != whole {
		return miss
	}
	if r.Restricted() {
		return m.judge(r, matched)
	}
	return mismatch{stage: whole}
}

// reaches compares where the call goes, and who makes it.
func (m *matcher) reaches(cand *candidate) mismatch {
	plain := m.call.Scheme == "http"
	port := m.call.Port
	if port == 0 {
		if port = 443; plain {
			port = 80
		}
	}
	if !cand.target.takesPort(port, plain) {
		return mismatch{stage: atPort}
	}
	if r := cand.route; !r.Callers.Empty() && !r.Callers.Match(m.who) {
		return mismatch{stage: atCaller}
	}
	return mismatch{stage: whole}
}

// carries compares what the call must bring, and must not ask for.
func (m *matcher) carries(r *Route) mismatch {
	for _, want := range r.header {
		if value, count := first(m.carrier, want.Name); count != 1 || value != want.Value {
			return mismatch{atHeader, want.Name}
		}
	}
	if !r.websocket && asksWebSocket(m.call) {
		return mismatch{stage: atUpgrade}
	}
	return mismatch{stage: whole}
}

// judge compares a restricted route with what the call does, rather than what
// its method and path say.
func (m *matcher) judge(r *Route, matched *pathPattern) mismatch {
	c, op := m.call, m.operation(r.Service)
	named, exactly := r.names(op)
	switch {
	case !op.Understood():
		return mismatch{atOperation, "it is restricted, and what the call does is not understood: " + op.Reason + "; send it plainly, or by a route without restrictions"}
	case len(r.Operations) > 0 && !named:
		return mismatch{stage: atOperation}
	case op.Mints && !exactly:
		// Whoever has such a credential is bound by no route any more.
		return mismatch{atOperation, "it is restricted, and " + op.Name + " gives a credential that works past bearerd; name it in the route's operations if that is meant"}
	}
	// A PUT that means PATCH is both.
	if method := r.Service.EffectiveMethod(c); method != c.Method && len(r.Methods) > 0 && !slices.Contains(r.Methods, method) {
		return mismatch{atMethod, "the call means " + method + ", and "}
	}
	if reason := r.disguise(c, op, matched, named); reason != "" {
		return mismatch{atDisguise, reason}
	}
	if reason := m.sourceAt(r.Service).refusal(); reason != "" {
		return mismatch{atSource, reason}
	}
	return mismatch{stage: whole}
}

func (r *Route) matchPath(path string) *pathPattern {
	for i := range r.paths {
		if r.paths[i].match(path) {
			return &r.paths[i]
		}
	}
	return nil
}

// disguise tells why the call may reach something else than its path says.
func (r *Route) disguise(c *azure.Call, op azure.Operation, matched *pathPattern, named bool) string {
	d := r.Service.DisguiseOf(c, op, matched != nil, named)
	if d.Literal != "" && matched != nil && matched.names(d.Literal) {
		return "" // the route says that it means this
	}
	return d.Reason
}

// differs says where the call and the route part, and what to do.
func (cand *candidate) differs(c *azure.Call, op azure.Operation, miss mismatch) string {
	r := cand.route
	switch miss.stage {
	case atPort:
		return fmt.Sprintf("it takes %s, not port %d; name the port in its hosts", cand.target, c.Port)
	case atMethod:
		if len(r.Methods) == 0 {
			return "no route takes that method"
		}
		return fmt.Sprintf("%sit takes %s only; change the method, or the route's methods", miss.detail, strings.Join(r.Methods, ", "))
	case atPath:
		if miss.detail != "" {
			return fmt.Sprintf("the path cannot be judged: %s; send it in its plain form", miss.detail)
		}
		return fmt.Sprintf("it takes the paths %s only; change the path, or the route's paths", strings.Join(r.Paths, ", "))
	case atHeader:
		return fmt.Sprintf("the call must carry the field %s, once, with the route's value; add it", miss.detail)
	case atUpgrade:
		return "it takes no WebSocket; list websocket in its upgrades"
	case atOperation:
		if miss.detail != "" {
			return miss.detail
		}
		return fmt.Sprintf("it takes the operations %s only, and the call is %s; change the call, or the route's operations", strings.Join(r.Operations, ", "), op.Name)
	case atSource:
		return fmt.Sprintf("it is restricted, and what the call copies or moves away is judged as a call of its own: %s", miss.detail)
	default:
		return fmt.Sprintf("it is restricted, and the call may do something else than its method and path say: %s; send it plainly, or by a route without restrictions", miss.detail)
	}
}

// first asks a header that may be nil.
func first(c *azure.Call, name string) (string, int) {
	if c.Header == nil {
		return "", 0
	}
	return c.Header.First(name)
}
