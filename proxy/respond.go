package proxy

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/bearerd/bearerd/metrics"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

// mapsLinks reports whether links in the answer's body lead the app around us
// unless they are mapped.
func (x *exchange) mapsLinks() bool {
	return x.base != nil && x.decision.Route != nil && x.decision.Route.Service.PagesByLink() && x.r.Method != http.MethodHead
}

// mapsBody tells whether this answer is one that carries such links. Only what
// is known to be a page of a list is touched.
func (x *exchange) mapsBody(answer *http.Response) bool {
	mediaType, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
	return answer.StatusCode == http.StatusOK && x.mapsLinks() &&
		strings.EqualFold(strings.TrimSpace(mediaType), "application/json") &&
		len(answer.Header["Content-Encoding"]) == 0
}

// respond streams the service's answer to the caller.
func (x *exchange) respond(answer *http.Response, sent *requestEdits) *problem {
	if answer.StatusCode == http.StatusSwitchingProtocols {
		return x.switchProtocols(answer, sent)
	}
	if answer.StatusCode < 200 {
		return malformedAnswer(x.call.Host)
	}
	mapsBody := x.mapsBody(answer)
	edits := editResponse(azure.Header(answer.Header), x.base, mapsBody)
	h := x.w.Header()
	edits.apply(h, answer.Header)
	for name := range answer.Trailer {
		if !edits.dropsTrailer(name) {
			h.Add("Trailer", name)
		}
	}
	if len(h["Trailer"]) > 0 && x.r.ProtoMajor == 1 {
		delete(h, "Content-Length") // HTTP/1.1 carries trailers on chunked bodies only
	}
	x.status = answer.StatusCode
	x.w.WriteHeader(x.status)
	body, length := answer.Body, answer.ContentLength
	if mapsBody {
		body, length = newLinkReader(body, x.base.mapURL), -1
	}
	if x.broken = x.stream(body, length); x.broken != nil {
		return nil
	}
	for name, values := range answer.Trailer {
		switch {
		case edits.dropsTrailer(name):
		case slices.Contains(h["Trailer"], name):
			h[name] = values
		default: // it was not announced
			h[http.TrailerPrefix+name] = values
		}
	}
	return nil
}

// stream passes the body on, each piece as soon as it is there. length is the
// body's, negative if unknown.
func (x *exchange) stream(body io.Reader, length int64) error {
	flusher := http.NewResponseController(x.w)
	if length < 0 {
		// The first piece may be long in coming, as from a service that sends
		// events.
		if err := flusher.Flush(); err != nil {
			return err
		}
	}
	buf := x.s.buffers.Get().(*[copyBufferSize]byte)
	defer x.s.buffers.Put(buf)
	for {
		n, err := body.Read(buf[:])
		if n > 0 {
			m, writeErr := x.w.Write(buf[:n])
			x.sent += int64(m)
			if writeErr != nil {
				return writeErr
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			if x.r.Context().Err() == nil {
				x.cause = causeOf(err)
			}
			return err
		}
		// A read brings what is there. What follows may take long, unless
		// nothing follows: then the server's own flush is enough.
		if x.sent != length {
			if err := flusher.Flush(); err != nil {
				return err
			}
		}
	}
}

// noAnswer tells the caller why the service gave no answer.
func (x *exchange) noAnswer(err error) *problem {
	if x.r.Context().Err() != nil {
		return clientGone(err)
	}
	return upstreamProblem(x.call.Host, err)
}

// finish tells the log and the metrics how the request ended.
func (x *exchange) finish() {
	took := x.s.now().Sub(x.started)
	if x.body != nil {
		x.received = x.body.taken()
	}
	x.s.spools.giveBack(x.held)
	name := x.routeName()
	x.count(name, took)
	x.audit(took)
	x.tellRefusal()
	x.endSpan(took)
	if x.s.learner != nil {
		x.teach()
	}
	op := x.decision.Operation
	if access := x.settings.access; access == AccessNone || access == AccessErrors && x.status < 400 && x.broken == nil {
		return
	}
	line := x.s.log.Check(x.level(), "request")
	if line == nil {
		return
	}
	// The query is left out: it may hold a signature.
	fields := []zap.Field{
		zap.String("request_id", x.requestID()),
		zap.String("steering", string(x.steering)), zap.Stringer("caller", x.caller), zap.String("remote", x.r.RemoteAddr),
		zap.String("method", cut(x.r.Method)), zap.String("host", x.call.Host), zap.String("path", cut(x.call.Path)),
		zap.String("route", name), zap.Int("status", x.status), zap.Duration("took", took),
		zap.Int64("received", x.received), zap.Int64("sent", x.sent),
	}
	if trace := x.sampledTrace(); trace != "" {
		fields = append(fields, zap.String("trace_id", trace))
	}
	if op.Name != "" {
		fields = append(fields, zap.String("operation", op.Name))
	}
	if x.batch != nil {
		fields = append(fields, zap.Int("calls", len(x.batch.decisions)))
	}
	if op.Mints || x.batch.mints() {
		fields = append(fields, zap.Bool("mints", true))
	}
	if x.loggedIn.Result != "" {
		fields = append(fields, zap.String("login", string(x.loggedIn.Result)), zap.String("reason", x.loggedIn.Reason))
	}
	if x.loggedIn.Client != "" {
		fields = append(fields, zap.String("client", x.loggedIn.Client), zap.String("audience", cut(x.loggedIn.Audience)))
	}
	if x.code != "" {
		fields = append(fields, zap.String("code", string(x.code)))
	}
	if x.problem != nil {
		fields = append(fields, zap.String("message", x.problem.message))
		if x.problem.cause != nil {
			fields = append(fields, zap.String("cause", logged(x.problem.cause)))
		}
	}
	if x.broken != nil {
		fields = append(fields, zap.String("broken", logged(x.broken)))
	}
	line.Write(fields...)
}

// count tells the metrics.
func (x *exchange) count(name string, took time.Duration) {
	m := x.s.metrics
	m.InFlight.Dec()
	if x.code != "" {
		m.Refused(string(x.code))
	}
	if x.cause != "" {
		m.UpstreamError(x.cause)
	}
	counts := m.Route(name)
	if x.code == route.CodeCallerNotPermitted {
		counts.CallerRefused()
	}
	counts.Observe(x.r.Method, x.status, took, x.received, x.sent, x.sampledTrace())
	if own := x.decision.Own; own != azure.None {
		counts.ObserveOwn(own.Kind(), x.decision.Action.String())
	}
	if x.loggedIn.Result != "" {
		m.Login(string(x.loggedIn.Result))
	}
	if op := x.decision.Operation; op.Name != "" {
		m.Operation(op.Name)
	}
}

// routeName is what the log and the metrics call the route.
func (x *exchange) routeName() string {
	switch {
	case x.decision.Route != nil:
		return x.decision.Route.Name
	case x.intercepted:
		return metrics.Intercepted
	}
	return metrics.Unrouted
}

func (x *exchange) level() zapcore.Level {
	if x.problem != nil && x.status >= 500 {
		return zap.WarnLevel
	}
	return zap.InfoLevel
}
