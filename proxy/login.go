package proxy

import (
	"bytes"
	"io"
	"strconv"

	"github.com/bearerd/bearerd/proxy/entra"
	"github.com/bearerd/bearerd/proxy/route"
)

// login answers a call to a login host, or has it passed on to Entra as it
// came, without a token.
func (x *exchange) login() (answered bool, p *problem) {
	request := entra.Request{Call: &x.call, Base: "https://" + x.call.Host, Now: x.s.now()}
	if x.base != nil {
		request.Base = x.base.origin + x.base.prefix
	}
	d := x.settings.logins.Decide(&request)
	if d.Action == entra.Read {
		var whole bool
		if request.Form, whole, p = x.readForm(); p != nil {
			return false, p
		}
		if whole {
			request.HasForm = true
			d = x.settings.logins.Decide(&request)
		} else {
			d = entra.Decision{Result: entra.Passed, Reason: "its form is longer than any login's"}
		}
	}
	x.loggedIn = d
	x.decision = route.Decision{Action: route.Pass, Reason: d.Reason}
	if d.Action != entra.Answer {
		return false, nil
	}
	x.received = int64(len(request.Form))
	h := x.w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(d.Body)))
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache") // RFC 6749, section 5.1
	if d.Code != "" {
		h.Set(ErrorHeader, d.Code)
	}
	x.status, x.code = d.Status, Code(d.Code)
	x.w.WriteHeader(x.status)
	n, err := x.w.Write(d.Body)
	x.sent, x.broken = int64(n), err
	return true, nil
}

// readForm reads a login's form, and puts what it has read back in front of the
// rest, so that a login that is not answered here is passed on byte for byte.
// whole is false where the form is longer than any that is judged.
func (x *exchange) readForm() (form []byte, whole bool, p *problem) {
	most := int64(entra.MaxForm)
	switch n := x.r.ContentLength; {
	case n == 0:
		return nil, true, nil
	case n > 0:
		most = n
	}
	if !x.s.spools.reserve(most) {
		return nil, false, busy()
	}
	x.held = most
	if p := x.hold(func() (err error) {
		form, err = io.ReadAll(io.LimitReader(x.r.Body, most+1))
		return err
	}); p != nil {
		return nil, false, p
	}
	x.r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(form), x.r.Body), x.r.Body}
	return form, int64(len(form)) <= most, nil
}
