package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/metrics"
	"github.com/bearerd/bearerd/proxy/entra"
	"github.com/bearerd/bearerd/proxy/route"
)

// ErrorHeader is on every response that bearerd makes up itself, with the
// error's code as its value, so that a person can tell our answer from the
// service's.
const ErrorHeader = "Bearerd-Error"

// Code names one kind of answer that bearerd gives instead of the service's.
type Code string

// The codes that the data plane answers with; Codes tells their meaning. A
// route's refusal carries a code of package route.
const (
	CodeAuditUnavailable    Code = "BearerdAuditUnavailable"
	CodeBadRequest          Code = "BearerdBadRequest"
	CodeBadBatch            Code = "BearerdBadBatch"
	CodeBusy                Code = "BearerdBusy"
	CodeChallenge           Code = "BearerdChallenge"
	CodeCrossSite           Code = "BearerdCrossSiteRequest"
	CodeUnmatched           Code = "BearerdUnmatchedHost"
	CodePortNotRouted       Code = "BearerdPortNotRouted"
	CodeForbiddenTarget     Code = "BearerdForbiddenTarget"
	CodeUnknownGateway      Code = "BearerdUnknownGateway"
	CodeMethodNotAllowed    Code = "BearerdMethodNotAllowed"
	CodeMisdirected         Code = "BearerdMisdirectedRequest"
	CodeUpstreamUnreachable Code = "BearerdUpstreamUnreachable"
	CodeUpstreamTLS         Code = "BearerdUpstreamTLS"
	CodeUpstreamTimeout     Code = "BearerdUpstreamTimeout"
	CodeTokenUnavailable    Code = "BearerdTokenUnavailable"
	CodeTokenMisconfigured  Code = "BearerdTokenMisconfigured"
)

// CodeInfo documents one Code.
type CodeInfo struct {
	Code   Code
	Status int
	Cause  string
	Cure   string
}

// Codes lists every answer of our own, in order of status, for the generated
// reference.
func Codes() []CodeInfo {
	return []CodeInfo{
		{CodeBadRequest, 400, "The request names no usable target.", "Send CONNECT, an absolute http:// URL, or a base URL's path."},
		{CodeBadBatch, 400, "A batch whose calls are judged, or are each given a token, can be read in two ways, is longer than services take (then the status is 413), or is none of the service's documented ones.", "The message tells what is wrong, and in which of its calls; send what the SDKs send, or the calls one by one."},
		{CodeChallenge, 401, "A Key Vault client asked which tenant to log in to, by a write without its body.", "Nothing: the client comes back with the body."},
		{route.CodePlaceholder, 401, "The call brings a placeholder of bearerd's (see entra) that was asked for another service, or, with 403, to a host that no route names.", "Have the app ask for a token for the service that it calls; add a route for the host."},
		{entra.CodeLogin, 400, "A client of `entra.clients` logs in for a service that no route has. The body has the shape of Entra's errors.", "Add a route for the service that the message names, or have the app ask for another."},
		{CodeCrossSite, 403, "A browser sent the request on behalf of a foreign page.", "Call bearerd from a program, not from a web page."},
		{CodeUnmatched, 403, "No route names the host, and the configuration says unmatched: refuse.", "Add a route for the host, or set unmatched: tunnel."},
		{CodePortNotRouted, 403, "A route names the host, but not this port.", "Use port 443, or name the port in the route's hosts."},
		{CodeForbiddenTarget, 403, "The target is IMDS, the WireServer, a listener of ours, or an address that is not reachable through bearerd.", "Call it directly (NO_PROXY), or allow it by upstream.connect_to or upstream.allow_addresses."},
		{route.CodeNotPermitted, 403, "A route names the host, but none takes the call whole: its method, path, header or operation differs.", "The message tells what differed; `bearerd explain` shows it for any call. Widen the route if the call is meant to be allowed."},
		{route.CodeCallerNotPermitted, 403, "Routes name the host, but each is for other callers, or who calls is not known.", "The message tells who calls and whom the route takes. Call as one of them, or add the user, group or cgroup to the route's callers."},
		{route.CodeOwnCredential, 403, "The call brings a live credential of its own, and the route says own: refuse; or own: replace, and it is in the query.", "Remove the credential from the app, or set own: pass or own: replace."},
		{route.CodeClientTooOld, 403, "The client speaks a version of the Storage protocol that knows no tokens, and counts on what the versions that do have ended: Atom on tables, or a path as the source of a copy.", "Use a newer client library; the message tells which, and storage-clients.md what works with which version."},
		{CodeUnknownGateway, 404, "The base URL names no gateway of the configuration.", "Use one of the gateways that the message lists."},
		{CodeMethodNotAllowed, 405, "TRACE, or CONNECT inside an intercepted connection.", "Use another method."},
		{CodeMisdirected, 421, "SNI, Host or :authority differ from the target of the connection, or a base URL was asked under a foreign host name.", "Open a connection for each host; list further names of the proxy under names."},
		{CodeUpstreamUnreachable, 502, "The service could not be resolved or connected to, or broke off.", "Check DNS and the network; bearerd's log tells the cause."},
		{CodeUpstreamTLS, 502, "The service's certificate was not accepted for the routed name.", "Check upstream.ca_file, and that connect_to points at the right host."},
		{CodeTokenMisconfigured, 502, "The identity endpoint refuses this identity or audience; asking again does not help.", "Follow the message: name the identity, or correct the audience."},
		{CodeBusy, 503, "The bodies of batches and logins that are read before they are sent fill the memory for them, or this one did not come whole within a minute (then the status is 408).", "Send the body without a pause; retry after Retry-After seconds, or raise limits.spool_total."},
		{CodeAuditUnavailable, 503, "Calls are to be written to the audit stream (`audit.on_error: refuse`), and it cannot be written.", "The line `the audit stream cannot be written` in bearerd's log tells why: free the disk, start journald, or set `on_error: continue`."},
		{CodeTokenUnavailable, 503, "There is no valid token yet.", "Retry after Retry-After seconds; the message and /status tell why."},
		{CodeUpstreamTimeout, 504, "The service did not answer in time.", "Retry; check the network."},
	}
}

// Reference writes the reference of our answers in Markdown.
func Reference(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString(referenceHead)
	for _, c := range Codes() {
		fmt.Fprintf(&b, "| %d | `%s` | %s | %s |\n", c.Status, c.Code, c.Cause, c.Cure)
	}
	_, err := b.WriteTo(w)
	return err
}

const referenceHead = `# Errors

An answer that bearerd makes up itself carries the header ` + "`" + ErrorHeader + "`" + ` with one of these codes, and the body
` + "`" + `{"error":{"code":"...","message":"..."}}` + "`" + `. An answer without that header is the service's own.

This page is generated from the code: ` + "`go test ./proxy -run TestErrorReference -update`" + `.

| status | code | cause | cure |
| --- | --- | --- | --- |
`

// problem is an answer of our own.
type problem struct {
	status     int
	code       Code
	message    string
	retryAfter time.Duration // 0: no Retry-After
	challenge  string        // WWW-Authenticate; empty: none
	upstream   metrics.Cause // where it is the service's; else empty
	cause      error         // for the log only
}

func (p *problem) Error() string { return string(p.code) + ": " + p.message }
func (p *problem) Unwrap() error { return p.cause }

func problemf(status int, code Code, format string, args ...any) *problem {
	return &problem{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

// tokenProblem tells the client why there is no token for its call. Only a
// failure that time may heal invites a retry.
func tokenProblem(err error) *problem {
	p := &problem{status: http.StatusServiceUnavailable, code: CodeTokenUnavailable, message: err.Error()}
	var unavailable *cache.UnavailableError
	if errors.As(err, &unavailable) {
		p.retryAfter = unavailable.RetryAfter
	}
	var refused *imds.Error
	if errors.As(err, &refused) && refused.Class == imds.Misconfigured {
		p.status, p.code, p.retryAfter = http.StatusBadGateway, CodeTokenMisconfigured, 0
		return p
	}
	p.retryAfter = max(p.retryAfter, time.Second)
	return p
}

// write sends the problem in the shape of Azure's errors. HEAD gets the
// header alone.
func (p *problem) write(w http.ResponseWriter) {
	var body struct {
		Error struct {
			Code    Code   `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	body.Error.Code, body.Error.Message = p.code, strings.ToValidUTF8(p.message, "\uFFFD")
	text, err := json.Marshal(&body)
	if err != nil {
		panic("proxy: two strings did not encode: " + err.Error())
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Cache-Control", "no-store")
	h.Set(ErrorHeader, string(p.code))
	if p.challenge != "" {
		h.Set("WWW-Authenticate", p.challenge)
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	w.WriteHeader(p.status)
	// A client that has gone away needs no answer.
	_, _ = w.Write(text)
}
