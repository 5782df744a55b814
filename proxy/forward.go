package proxy

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/metrics"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/entra"
	"github.com/bearerd/bearerd/proxy/route"
	"github.com/bearerd/bearerd/proxy/trace"
)

// copyBufferSize is what one read from the service can bring at most.
const copyBufferSize = 32 << 10

// steering is how a call came to us.
type steering string

const (
	steeredByConnect     steering = "connect"
	steeredByAbsolute    steering = "absolute"
	steeredByBase        steering = "base"
	steeredTransparently steering = "transparent"
)

// exchange is one request on its way through, and what is told about it
// afterwards. It lives on the handler's goroutine.
type exchange struct {
	s           *Server
	settings    *snapshot // those of its start
	w           http.ResponseWriter
	r           *http.Request
	steering    steering
	caller      *caller.Caller // who sent it; nil: nobody looked
	intercepted bool           // it is a CONNECT, and what follows on its connection are calls of their own
	base        *baseURL       // nil unless steered by base URL

	call     azure.Call
	decision route.Decision
	url      *url.URL    // what is asked of the service
	body     requestBody // nil: the request has none
	batch    *batch      // nil: the call is none, or none whose calls are judged
	trailer  http.Header // what is sent after it

	loggedIn entra.Decision // of a call to a login host
	held     int64          // of the spools' budget, by a login's form

	reserved bool        // a place in the audit stream
	carried  *imds.Token // what the call went out with; nil: none
	id       string      // see requestID
	span     *trace.Span // of a call that routes decided on; nil: none is made

	started  time.Time
	status   int // what the caller got; 0: nothing yet
	received int64
	sent     int64
	code     Code // of an answer of our own
	problem  *problem
	cause    metrics.Cause // why the service gave no whole answer; empty: it did
	broken   error         // what broke the answer off, once it was under way
}

func (s *Server) newExchange(w http.ResponseWriter, r *http.Request, by steering, who *caller.Caller) *exchange {
	return &exchange{s: s, settings: s.settings.Load(), w: w, r: r, steering: by, caller: who, started: s.now()}
}

// setTarget fixes where the call goes. Nothing that the caller says later
// changes it.
func (x *exchange) setTarget(scheme, host string, port uint16, path, query string) {
	x.call = azure.Call{
		Method: x.r.Method,
		Scheme: scheme,
		Host:   host,
		Port:   port,
		Path:   path,
		Query:  query,
		Header: azure.Header(x.r.Header),
		Length: x.r.ContentLength,
	}
}

// serve runs handle, answers with the problem that it gives, and tells the log
// and the metrics how the request ended.
func (x *exchange) serve(handle func() *problem) {
	if !x.s.handlers.enter() {
		panic(http.ErrAbortHandler)
	}
	defer x.s.handlers.leave()
	x.s.metrics.InFlight.Inc()
	defer x.finish()
	if x.r.ProtoMajor == 1 && x.r.Body != http.NoBody {
		// Otherwise net/http holds every answer, a refusal of ours as well, back
		// until the request has ended. A writer that cannot do it is no server's,
		// and then nothing is held.
		_ = http.NewResponseController(x.w).EnableFullDuplex()
	}
	x.problem = handle()
	if p := x.problem; p != nil {
		x.cause = p.upstream
		if x.status == 0 && p.status != statusClientGone {
			x.status, x.code = p.status, p.code
			p.write(x.w)
			return
		}
		if x.status == 0 {
			x.status = p.status
		}
	}
	if x.problem != nil || x.broken != nil {
		// The caller must not take half an answer, or none, for a whole one.
		panic(http.ErrAbortHandler)
	}
}

// forward sends the call to its target and the answer back.
func (x *exchange) forward() *problem {
	if x.r.Method == http.MethodTrace || x.r.Method == http.MethodConnect {
		return problemf(http.StatusMethodNotAllowed, CodeMethodNotAllowed, "%s is not forwarded", x.r.Method)
	}
	if reason := targetProblem(x.call.Path, x.call.Query); reason != "" {
		return problemf(http.StatusBadRequest, CodeBadRequest, "the request target cannot be passed on as it is: %s", reason)
	}
	if p := x.reserve(); p != nil {
		return p
	}
	if x.base != nil {
		x.mapSources()
		x.mapBatch()
	}
	if x.settings.logins.Names(x.call.Host) {
		if answered, p := x.login(); answered || p != nil {
			return p
		}
	} else if p := x.decide(); p != nil {
		return p
	}
	var ok bool
	if x.url, ok = upstreamURL(&x.call, x.decision.Action != route.Tunnel, strings.HasSuffix(x.r.RequestURI, "?")); !ok {
		return problemf(http.StatusBadRequest, CodeBadRequest, "the request target cannot be passed on as it is: it starts with two slashes and holds what must be escaped")
	}
	token, p := x.token(&x.decision)
	if p != nil {
		return p
	}
	if token != nil && x.decision.Route.Service.IsProbe(&x.call) {
		return x.challenge(token)
	}
	p = x.openBody()
	if x.body != nil {
		defer x.body.release()
	}
	if p != nil {
		return p
	}
	edits := editRequest(&x.call, x.decision, token, x.mapsLinks())
	if x.span != nil {
		edits.goOn(x.span.Header())
	}
	edits.otherBody = x.batch != nil && x.batch.isRewritten()
	if x.decision.Action == route.Inject && x.decision.Source.Authorised() {
		if edits.source, p = x.token(&x.decision.Source.Decision); p != nil {
			return p
		}
	}
	answer, err := x.send(&edits)
	if err != nil {
		return x.noAnswer(err)
	}
	defer answer.Body.Close()
	return x.respond(answer, &edits)
}

// decide asks the routes what becomes of the call.
func (x *exchange) decide() *problem {
	x.decision = x.settings.routes.Decide(&x.call, x.caller, x.s.now())
	if x.decision.Action != route.Tunnel {
		x.span = x.s.tracer.Start(x.r.Header, x.started)
	}
	switch {
	case x.decision.Action == route.Refuse:
		return x.refusal()
	case x.decision.Action == route.Tunnel && x.settings.refuseUnmatched:
		return problemf(http.StatusForbidden, CodeUnmatched, "no route names %s, and other hosts are refused", x.call.Host)
	}
	return nil
}

// refusal is the answer to a call that route refused.
func (x *exchange) refusal() *problem {
	p := problemf(RefusalStatus(x.decision), Code(x.decision.Code), "%s", x.decision.Reason)
	if p.status == http.StatusUnauthorized {
		// An SDK that is challenged asks for another token.
		p.challenge = x.decision.Route.Service.Challenge("")
	}
	return p
}

// RefusalStatus is the status of the answer to a call that route refused.
func RefusalStatus(d route.Decision) int {
	if d.Code == route.CodePlaceholder && d.Route != nil {
		return http.StatusUnauthorized
	}
	return http.StatusForbidden
}

// token gets what a call that was decided on carries, and nil for one that is
// not injected.
func (x *exchange) token(d *route.Decision) (*imds.Token, *problem) {
	if d.Action != route.Inject {
		return nil, nil
	}
	token, err := x.s.tokens.Token(x.r.Context(), keyOf(d.Route))
	if err != nil {
		if x.r.Context().Err() != nil {
			return nil, clientGone(err)
		}
		return nil, tokenProblem(err)
	}
	return token, nil
}

func keyOf(r *route.Route) cache.Key { return cache.Key{Identity: r.Identity, Audience: r.Audience} }

// challenge answers a Key Vault client's probe as the vault would.
//
// The Key Vault clients of Azure's SDKs send their first request without
// authorisation and with the body removed, to learn from the 401 which tenant
// to log in to. Were the token attached there, a write would reach the vault
// without its body, and the client, seeing no 401, would never send the body.
// So the probe gets its 401 here, and the client comes back with the body and
// whatever credential it was given, which the real token then replaces.
func (x *exchange) challenge(token *imds.Token) *problem {
	var tenant string
	if claims, err := token.Claims(); err == nil {
		tenant = claims.TenantID
	}
	h := x.w.Header()
	h.Set("WWW-Authenticate", x.decision.Route.Service.Challenge(tenant))
	h.Set("Content-Length", "0")
	h.Set(ErrorHeader, string(CodeChallenge))
	x.status, x.code = http.StatusUnauthorized, CodeChallenge
	x.w.WriteHeader(x.status)
	return nil
}

// openBody prepares the request's body to be sent, perhaps twice.
func (x *exchange) openBody() *problem {
	if x.judgesBatch() {
		if p := x.openBatch(); p != nil {
			return p
		}
		return x.authoriseParts()
	}
	if x.r.Body == nil || x.r.ContentLength == 0 { // HTTP/2 gives such a request a body all the same
		return nil
	}
	var spools *spoolBudget
	if x.decision.Action == route.Inject {
		spools = x.s.spools
	}
	x.body = newReplayBody(x.r.Body, x.r.ContentLength, spools, x.fillTrailer)
	return nil
}

// send makes the call, and makes it once more where the service rejects the
// token, there is another one, and the body can be sent again.
func (x *exchange) send(edits *requestEdits) (*http.Response, error) {
	answer, err := x.attempt(edits)
	if err != nil || edits.token == nil || answer.StatusCode != http.StatusUnauthorized ||
		azure.SourceRejected(answer.Header.Get("X-Ms-Error-Code")) || !azure.TokenRejected(answer.Header["Www-Authenticate"]) {
		return answer, err
	}
	// Even where this call cannot be sent again, the app's next one is served.
	fresh, err := x.s.tokens.Renew(x.r.Context(), keyOf(x.decision.Route), edits.token)
	if err != nil || fresh.Equal(edits.token) {
		return answer, nil
	}
	if edits.source.Equal(edits.token) {
		edits.source = fresh
	}
	if x.batch != nil && !x.batch.renew(edits.token, fresh) {
		return answer, nil
	}
	edits.token = fresh
	again, err := x.attempt(edits)
	if errors.Is(err, errFenced) {
		return answer, nil
	}
	x.s.metrics.Replays.Inc()
	answer.Body.Close()
	return again, err
}
