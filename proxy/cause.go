package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"syscall"

	"github.com/bearerd/bearerd/metrics"
	"github.com/bearerd/bearerd/proxy/dial"
)

// This file tells why a service gave no answer: to the caller, to the metrics
// and to the log, each as much as it may know.

// statusClientGone is for the log and the metrics: the caller left before its
// answer. Nothing is sent with it.
const statusClientGone = 499

// upstreamProblem tells a caller why its call, or tunnel, got no answer from a
// host.
func upstreamProblem(host string, err error) *problem {
	p := &problem{status: http.StatusBadGateway, code: CodeUpstreamUnreachable, cause: err, upstream: causeOf(err)}
	switch p.upstream {
	case metrics.CauseForbidden:
		forbidden, _ := errors.AsType[*dial.ForbiddenError](err)
		p.status, p.code, p.message = http.StatusForbidden, CodeForbiddenTarget, forbidden.Error()
	case metrics.CauseTLS:
		p.code, p.message = CodeUpstreamTLS, fmt.Sprintf("no verified TLS connection to %s: %s", host, cut(err.Error()))
	case metrics.CauseTimeout:
		p.status, p.code, p.message = http.StatusGatewayTimeout, CodeUpstreamTimeout, host+" did not answer in time"
	case metrics.CauseDNS:
		resolve, _ := errors.AsType[*net.DNSError](err)
		p.message = fmt.Sprintf("the name of %s was not resolved: %s", host, cut(resolve.Err))
	case metrics.CauseConnect:
		p.message = host + " could not be connected to; bearerd's log has the cause"
	default:
		p.message = host + " broke off without an answer; bearerd's log has the cause"
	}
	return p
}

// malformedAnswer is the end of a call whose answer is none in HTTP.
func malformedAnswer(host string) *problem {
	return &problem{status: http.StatusBadGateway, code: CodeUpstreamUnreachable, upstream: metrics.CauseOther,
		message: host + " gave an answer that is not HTTP"}
}

// clientGone is the end of a request whose caller has left.
func clientGone(err error) *problem {
	return &problem{status: statusClientGone, message: "the caller left", cause: err}
}

// streamError is net/http's own for a broken HTTP/2 stream, which makes itself
// into any struct of this form.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

// Error implements error.
func (e streamError) Error() string { return fmt.Sprintf("HTTP/2 stream error %d", e.Code) }

// causeOf classes what went wrong on the way to a service, or back.
func causeOf(err error) metrics.Cause {
	switch {
	case isA[*dial.ForbiddenError](err):
		return metrics.CauseForbidden
	case isA[*net.DNSError](err):
		return metrics.CauseDNS
	case isA[x509.UnknownAuthorityError](err), isA[x509.HostnameError](err), isA[x509.CertificateInvalidError](err),
		isA[*tls.CertificateVerificationError](err), isA[tls.AlertError](err), isA[tls.RecordHeaderError](err):
		return metrics.CauseTLS
	}
	if deadline, ok := errors.AsType[timeouter](err); ok && deadline.Timeout() {
		return metrics.CauseTimeout
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return metrics.CauseConnect
	}
	if isA[streamError](err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) {
		return metrics.CauseReset
	}
	return metrics.CauseOther
}

type timeouter interface {
	error
	Timeout() bool
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// maxShown bounds what a message or a line of the log repeats of what a caller
// or a service sent.
const maxShown = 200

func cut(text string) string {
	if len(text) > maxShown {
		return text[:maxShown] + "..."
	}
	return text
}

// shown makes a caller's input harmless in a message.
func shown(text string) string { return fmt.Sprintf("%+q", cut(text)) }

// logged gives an error's text for the log. What a service or a caller sent in
// place of HTTP is left out of it: net/http quotes such a line, and it may hold
// a credential, or the token that a service echoed.
func logged(err error) string {
	if isA[textproto.ProtocolError](err) { // repeats the line unquoted
		return "malformed header or trailer"
	}
	text := err.Error()
	if causeOf(err) == metrics.CauseOther {
		text, _, _ = strings.Cut(text, `"`)
	}
	return cut(text)
}
