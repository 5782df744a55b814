package proxy

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

// This file is where a token meets a header. The edits are values: the
// forwarding paths apply them and know no rule themselves.

// requestEdits tell what becomes of a caller's header section: a field stays
// unless drops says otherwise, then set and the token are added.
type requestEdits struct {
	routed    bool
	keepOwn   bool        // the caller's Authorization stays
	token     *imds.Token // nil: none is attached
	source    *imds.Token // for the service to read the source of a copy with; nil: none
	set       []azure.Field
	traced    bool     // set has the trace's fields, in place of the caller's
	otherBody bool     // the body is not the caller's, so that its digests do not hold
	named     []string // what the caller's Connection names, canonical
	websocket bool
	trailers  bool // the caller takes trailers
}

// editRequest computes the edits of a call that route decided on. The token is
// attached where the decision is Inject. plain asks the service for an answer
// without content coding, so that the links in it can be mapped.
func editRequest(c *azure.Call, d route.Decision, token *imds.Token, plain bool) requestEdits {
	e := requestEdits{
		routed:    d.Action != route.Tunnel,
		keepOwn:   d.Action != route.Inject,
		named:     connectionNames(c.Header),
		websocket: asksWebSocket(c.Header),
		trailers:  takesTrailers(c.Header),
	}
	if d.Action == route.Inject {
		e.token = token
		e.set = d.Route.Service.Fields(c)
		if d.Source.Authorised() {
			e.set = append(e.set, d.Route.Service.SourceFields(c)...)
		}
	}
	if plain {
		e.set = append(e.set, azure.Field{Name: "Accept-Encoding", Value: "identity"})
	}
	return e
}

// goOn has the service go on with a trace by the fields of h.
func (e *requestEdits) goOn(h http.Header) {
	e.traced = true
	e.set = slices.Clip(e.set) // which may be shared
	for name, values := range h {
		e.set = append(e.set, azure.Field{Name: name, Value: values[0]})
	}
}

// drops reports whether a field of the caller, or a trailer, is not forwarded.
func (e *requestEdits) drops(name string) bool {
	if isHopByHop(name) || slices.Contains(e.named, name) {
		return true
	}
	switch name {
	case "Authorization":
		// The attack is a caller that gets its own header sent beside ours, or,
		// as a trailer, after ours.
		return !e.keepOwn
	case "Content-Md5", "Content-Digest", "Repr-Digest", "Digest", "X-Ms-Content-Crc64":
		return e.otherBody
	case sourceAuthorization:
		return e.source != nil
	case "Traceparent", "Tracestate":
		return e.traced
	case "Host":
		// HTTP/2 carries it beside :authority. The target decides.
		return true
	case "Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto":
		// Whoever called the app is none of the service's business, and what
		// an app says about it must not look like our word.
		return e.routed
	}
	for i := range e.set {
		if e.set[i].Name == name {
			return true
		}
	}
	return false
}

// dropsTrailer reports whether a trailer is not forwarded. Besides what is
// dropped as a header, that is what says how a message is to be read or who sent
// it (RFC 9110, section 6.5.1): the attack is a field that is judged, or set, in
// the header, and comes once more where a lenient service merges the two.
func (e *requestEdits) dropsTrailer(name string) bool {
	return e.drops(name) || e.routed && azure.DecidesOperation(name) || !httpguts.ValidTrailerHeader(name)
}

// apply gives the header that is sent, for the net/http path. The values are
// shared with in, which must not change any more.
func (e *requestEdits) apply(in http.Header) http.Header {
	out := make(http.Header, len(in)+len(e.set)+2)
	for name, values := range in {
		if !e.drops(name) {
			out[name] = values
		}
	}
	for i := range e.set {
		out[e.set[i].Name] = []string{e.set[i].Value}
	}
	if e.websocket {
		out["Connection"] = []string{"Upgrade"}
		out["Upgrade"] = []string{"websocket"}
	}
	if e.trailers {
		out["Te"] = []string{"trailers"}
	}
	if _, ok := out["User-Agent"]; !ok {
		out["User-Agent"] = nil // or net/http adds its own
	}
	e.authorize(out)
	return out
}

// sourceAuthorization is the field by which Storage is let read the source of a
// copy.
const sourceAuthorization = "X-Ms-Copy-Source-Authorization"

// authorize attaches the tokens. It comes last, so that nothing that the caller
// sent (a Connection header that names Authorization, say) can remove it.
func (e *requestEdits) authorize(out http.Header) {
	if e.token != nil {
		e.token.SetAuthHeader(out)
	}
	if e.source != nil {
		var value = make(http.Header, 1)
		e.source.SetAuthHeader(value)
		out[sourceAuthorization] = value["Authorization"]
	}
}

// responseEdits tell what becomes of the service's header section.
type responseEdits struct {
	named    []string
	base     *baseURL // nil: not on a base URL
	mapsBody bool     // links in the body are mapped, so its length and digests do not hold
}

// editResponse computes the edits of an answer. base is nil unless the call
// came on a base URL.
func editResponse(h azure.Fields, base *baseURL, mapsBody bool) responseEdits {
	return responseEdits{named: connectionNames(h), base: base, mapsBody: mapsBody}
}

// edit gives what becomes of one field of the service's: its value to send, or
// false where the field, or trailer, is dropped.
func (e *responseEdits) edit(name, value string) (string, bool) {
	if isHopByHop(name) || slices.Contains(e.named, name) || name == ErrorHeader {
		return "", false
	}
	switch name {
	case "Alt-Svc":
		// It would invite the client to go around us.
		return "", false
	case "Location", "Azure-Asyncoperation", "Operation-Location":
		if e.base != nil {
			return e.base.mapHeader(value), true
		}
	case "Content-Length", "Content-Md5", "Content-Digest", "Repr-Digest", "Digest", "Accept-Ranges":
		if e.mapsBody {
			return "", false
		}
	case "Etag":
		if e.mapsBody && !strings.HasPrefix(value, "W/") {
			return "W/" + value, true
		}
	}
	return value, true
}

// dropsTrailer reports whether a trailer of the service is not passed on.
func (e *responseEdits) dropsTrailer(name string) bool {
	_, keep := e.edit(name, "")
	return !keep || !httpguts.ValidTrailerHeader(name)
}

// apply fills out with the edited header of in, for the net/http path.
func (e *responseEdits) apply(out, in http.Header) {
	for name, values := range in {
		first, keep := e.edit(name, values[0])
		if !keep {
			continue
		}
		if len(values) == 1 && first == values[0] {
			out[name] = values // shared: the common case copies nothing
			continue
		}
		edited := make([]string, len(values))
		for i, value := range values {
			edited[i], _ = e.edit(name, value)
		}
		out[name] = edited
	}
	if _, ok := out["Content-Type"]; !ok {
		out["Content-Type"] = nil // or net/http guesses one
	}
}

// targetProblem tells why a request target cannot be passed on byte for byte;
// "" where it can. HTTP/2 carries spaces in a path, and a service that is spoken
// to in HTTP/1.1 would take what follows one for the end of the request line.
// What follows a # is no part of a target, so that services differ on it.
func targetProblem(path, query string) string {
	if !strings.HasPrefix(path, "/") {
		return "it is not a path"
	}
	for _, part := range [...]string{path, query} {
		for i := range len(part) {
			if c := part[i]; c <= ' ' || c == 0x7f || c == '#' {
				return "it holds a space, a control character or a #"
			}
		}
	}
	return ""
}

// isHopByHop names the fields that concern one connection only (RFC 9110,
// section 7.6.1), and those by which proxies are spoken to.
func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings":
		return true
	}
	return strings.HasPrefix(name, "Proxy-")
}

// connectionNames lists the fields, in canonical form, that the Connection
// field names beyond the usual ones.
func connectionNames(h azure.Fields) []string {
	first, count := h.First("Connection")
	if count == 0 {
		return nil
	}
	if count == 1 && (first == "keep-alive" || first == "close" || first == "Upgrade") {
		return nil
	}
	var names []string
	for name, value := range h.Each {
		if name != "Connection" {
			continue
		}
		for token := range strings.SplitSeq(value, ",") {
			canonical := textproto.CanonicalMIMEHeaderKey(textproto.TrimString(token))
			if canonical != "" && canonical != "Close" && !isHopByHop(canonical) {
				names = append(names, canonical)
			}
		}
	}
	return names
}

// asksWebSocket reports whether the header asks to switch to WebSocket
// (RFC 6455). Any other upgrade is dropped with the hop-by-hop fields, which
// the protocol allows: an h2c upgrade past us would be a second parser's view of
// one connection.
func asksWebSocket(h azure.Fields) bool {
	upgrade, count := h.First("Upgrade")
	return count == 1 && strings.EqualFold(upgrade, "websocket") && lists(h, "Connection", "upgrade")
}

func takesTrailers(h azure.Fields) bool { return lists(h, "Te", "trailers") }

// lists reports whether a comma-separated field holds a token, whatever its case.
func lists(h azure.Fields, field, token string) bool {
	if _, count := h.First(field); count == 0 {
		return false
	}
	for name, value := range h.Each {
		if name != field {
			continue
		}
		for t := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(textproto.TrimString(t), token) {
				return true
			}
		}
	}
	return false
}
