package proxy

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

// attempt sends the call once, from the start of its body. The error is
// errFenced where the body has been read too far to start again.
func (x *exchange) attempt(edits *requestEdits) (*http.Response, error) {
	ctx, done := x.forwardInformational()
	defer done()
	out := x.r.WithContext(ctx)
	out.URL = x.url
	out.Host = "" // the URL's
	out.RequestURI = ""
	out.Header = edits.apply(x.r.Header)
	out.TransferEncoding = nil
	out.Trailer = nil
	out.Close = false
	out.Body = http.NoBody
	if x.body != nil {
		body, ok := x.body.next()
		if !ok {
			return nil, errFenced
		}
		out.Body = body
		out.GetBody = x.body.again
		if held, ok := x.body.(*heldBody); ok {
			out.ContentLength = held.size
		} else {
			x.announceTrailer(out, edits)
		}
	}
	x.carried = edits.token
	if x.decision.Action == route.Tunnel || x.loggedIn.Result != "" {
		// A login host of an organisation's own (AD FS) may log in a connection.
		return x.s.unrouted.of(x.r).RoundTrip(out)
	}
	return x.s.routed.RoundTrip(out)
}

// upstreamURL keeps path and query byte for byte: re-encoding either breaks a
// signature, and the service must get exactly what route judged. A routed call
// never leaves in the clear. emptyQuery says that a question mark follows the
// path, and nothing follows that. It is false for the few targets that net/http
// would change.
func upstreamURL(c *azure.Call, routed, emptyQuery bool) (*url.URL, bool) {
	u := &url.URL{
		Scheme:     "https",
		Host:       c.Host,
		Opaque:     c.Path,
		RawQuery:   c.Query,
		ForceQuery: c.Query == "" && emptyQuery,
	}
	port := c.Port
	if !routed {
		u.Scheme = c.Scheme
	} else if port == 80 {
		port = 443
	}
	if strings.Contains(u.Host, ":") {
		u.Host = "[" + u.Host + "]"
	}
	if !(port == 443 && u.Scheme == "https" || port == 80 && u.Scheme == "http") {
		u.Host += ":" + strconv.Itoa(int(port))
	}
	if !strings.HasPrefix(c.Path, "//") {
		return u, true
	}
	// As Opaque, net/url would take that for an authority.
	path, err := url.PathUnescape(c.Path)
	if err != nil {
		return nil, false
	}
	u.Path, u.RawPath, u.Opaque = path, c.Path, ""
	return u, u.EscapedPath() == c.Path
}

// announceTrailer tells the service which trailers follow. Their values are
// known when the body has ended.
func (x *exchange) announceTrailer(out *http.Request, edits *requestEdits) {
	if x.trailer == nil {
		for name := range x.r.Trailer {
			if !edits.dropsTrailer(name) {
				if x.trailer == nil {
					x.trailer = make(http.Header)
				}
				x.trailer[name] = nil
			}
		}
	}
	if x.trailer != nil {
		out.Trailer = x.trailer
		out.ContentLength = -1 // HTTP/1.1 carries trailers on chunked bodies only
	}
}

// fillTrailer runs when the request's body has ended, on the goroutine that
// will send the trailers.
func (x *exchange) fillTrailer() {
	for name := range x.trailer {
		x.trailer[name] = x.r.Trailer[name]
	}
}

// forwardInformational gives a context that passes 103 and its like on as they
// come. 100 is net/http's own, sent when the body is first asked for. done must
// be called before the final answer is written: the transport may otherwise
// still be at it, on a goroutine of its own.
func (x *exchange) forwardInformational() (ctx context.Context, done func()) {
	if !x.r.ProtoAtLeast(1, 1) || x.r.ProtoMajor == 1 && x.r.Header["Expect"] != nil {
		// HTTP/1.0 knows none. And net/http may be writing its 100 at any moment,
		// which a hint is not worth colliding with.
		return x.r.Context(), func() {}
	}
	var (
		mu   sync.Mutex // guards over, and w until then
		over bool
	)
	ctx = httptrace.WithClientTrace(x.r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			mu.Lock()
			defer mu.Unlock()
			if over || code == http.StatusContinue || code == http.StatusSwitchingProtocols {
				return nil
			}
			h := x.w.Header()
			edits := editResponse(azure.Header(header), x.base, false)
			edits.apply(h, http.Header(header))
			delete(h, "Content-Type")
			x.w.WriteHeader(code)
			clear(h)
			return nil
		},
	})
	return ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
	}
}
