package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

// batch is the calls that a call has in its body, each decided on, and the body
// that is sent.
type batch struct {
	read      *azure.Batch
	decisions []route.Decision          // of its calls
	each      bool                      // a part is authorised by a field of its own
	tokens    map[cache.Key]*imds.Token // of such parts
	body      *heldBody
}

// judgesBatch reports whether the calls within the call have to be known: where
// its route does not take every call, where each part wants a token of its own,
// and where the calls name a base URL. Any other batch streams through.
func (x *exchange) judgesBatch() bool {
	d := &x.decision
	if d.Action == route.Tunnel || !d.Operation.Carries() {
		return false
	}
	return d.Route.Restricted() || x.base != nil || x.s.learner != nil || d.Action == route.Inject && d.Operation.AuthorisesEach()
}

// openBatch reads the body and decides on each call in it. One that no route
// takes refuses them all: the service would make the others.
func (x *exchange) openBatch() *problem {
	body := &heldBody{budget: x.s.spools}
	x.body = body
	if x.r.Body != nil {
		if p := x.hold(func() error { return body.fill(x.r.Body, x.r.ContentLength) }); p != nil {
			return p
		}
	}
	var base azure.BatchBase
	if x.base != nil {
		base = azure.BatchBase{Origin: x.base.origin, Prefix: x.base.prefix}
	}
	read, err := azure.ReadBatch(&x.call, x.decision.Operation, body.text, base)
	if err != nil {
		return problemf(http.StatusBadRequest, CodeBadBatch, "the batch cannot be read in one way alone, or the service takes none like it: %v", err)
	}
	b := &batch{read: read, body: body, each: x.decision.Operation.AuthorisesEach(), tokens: make(map[cache.Key]*imds.Token)}
	for i := range read.Calls {
		d := x.settings.routes.DecideWithin(&read.Calls[i].Call, &x.call, x.caller, x.s.now())
		if p := x.refusesWithin(&d, i, len(read.Calls)); p != nil {
			return p
		}
		if x.decision.Action == route.Pass {
			d.Action = route.Pass // the batch's own credential counts, and none is added
		}
		b.decisions = append(b.decisions, d)
	}
	x.batch = b
	return nil
}

// refusesWithin tells why a call of the batch, the i-th of n, is refused.
func (x *exchange) refusesWithin(d *route.Decision, i, n int) *problem {
	refuse := func(code Code, format string, args ...any) *problem {
		return problemf(http.StatusForbidden, code, "call %d of the batch's %d: %s", i+1, n, fmt.Sprintf(format, args...))
	}
	outer := &x.decision
	switch {
	case d.Action == route.Refuse:
		return refuse(Code(d.Code), "%s", d.Reason)
	case d.Action == route.Tunnel, !outer.Operation.MayCarry(d.Operation):
		return refuse(route.CodeNotPermitted, "%s is no operation that %s carries; send it by itself", d.Operation.Name, outer.Operation.Name)
	case outer.Operation.AuthorisesEach() || outer.Action != route.Inject:
		return nil
	case d.Action != route.Inject || d.Own != azure.None && d.Own != azure.Dead:
		return refuse(route.CodeOwnCredential, "it brings %s, and the token of the batch is for all; leave it out", d.Own)
	case keyOf(d.Route) != keyOf(outer.Route):
		return refuse(route.CodeNotPermitted, "%s takes it for another identity than %s, which takes the batch, and one token is for all; send it by itself", d.Route, outer.Route)
	}
	return nil
}

// authoriseParts gets the tokens of a batch whose parts have each their own, and
// writes the body that is sent.
func (x *exchange) authoriseParts() *problem {
	b := x.batch
	for i := range b.decisions {
		d := &b.decisions[i]
		if !b.each || d.Action != route.Inject || b.tokens[keyOf(d.Route)] != nil {
			continue
		}
		token, p := x.token(d)
		if p != nil {
			return p
		}
		b.tokens[keyOf(d.Route)] = token
	}
	if !b.write() {
		return busy()
	}
	return nil
}

func busy() *problem {
	p := problemf(http.StatusServiceUnavailable, CodeBusy, "the bodies of other calls fill the memory for them; try again, or raise limits.spool_total")
	p.retryAfter = retryBusy
	return p
}

// mints reports whether a call of the batch, of which there may be none, gives a
// credential.
func (b *batch) mints() bool {
	return b != nil && slices.ContainsFunc(b.decisions, func(d route.Decision) bool { return d.Operation.Mints })
}

// isRewritten reports whether the body is another than the caller's.
func (b *batch) isRewritten() bool { return len(b.tokens) > 0 || b.read.IsRewritten() }

// write makes the pieces of the body; false where there is no room for them.
func (b *batch) write() bool {
	var heads [][]byte
	if b.each && b.isRewritten() {
		heads = make([][]byte, len(b.decisions))
		for i := range heads {
			heads[i] = b.head(i)
		}
	}
	return b.body.replace(b.read.Rewrite(heads))
}

// head writes a part's request line and header. They are written anew, so that
// the service cannot read another call in them than was judged. x-ms-version is
// the batch's alone.
func (b *batch) head(i int) []byte {
	call, d := &b.read.Calls[i], b.decisions[i]
	edits := editRequest(&call.Call, d, b.tokens[keyOf(d.Route)], false)
	edits.set = nil
	header := edits.apply(call.Header)
	delete(header, "X-Ms-Version")
	var head bytes.Buffer
	head.WriteString(call.Line() + "\r\n")
	if err := header.Write(&head); err != nil {
		panic("proxy: a header could not be written to memory: " + err.Error())
	}
	return head.Bytes()
}

// renew has the parts that had a token carry the fresh one; false where there is
// no room for that.
func (b *batch) renew(old, fresh *imds.Token) bool {
	for key, token := range b.tokens {
		if token.Equal(old) {
			b.tokens[key] = fresh
		}
	}
	return b.write()
}
