package imds

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// maxBody bounds an answer. A token is 2 to 4 KiB, with many groups up to 16.
const maxBody = 1 << 20

// Wire carries single calls to a token endpoint, IMDS's or that of a relative
// that package source asks: no proxy, no redirect, no second try, and an answer
// of bounded size. It is safe for concurrent use.
type Wire struct {
	// HTTP must follow no redirects, which would carry a call, and the secret
	// in it, off its endpoint: see NewHTTPClient.
	HTTP    *http.Client
	Timeout time.Duration    // of one call; required
	Now     func() time.Time // required
	// Observe is told of every call's status, a number or "error", and
	// duration. nil: nobody is.
	Observe func(status string, took time.Duration)
}

// NewHTTPClient makes a client that follows no redirects. transport nil: one of
// its own, which takes no proxy from the environment and makes a connection for
// every call.
func NewHTTPClient(transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = &http.Transport{
			// IMDS refuses what came through a proxy, and the environment's
			// proxy may be bearerd itself.
			Proxy:       nil,
			DialContext: (&net.Dialer{}).DialContext,
			// On a connection that was kept, net/http repeats a GET that got no
			// answer: a call that nobody counts towards the machine's limits.
			// It also writes what comes unasked to the standard log.
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 64 << 10,
		}
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Answer is what a token endpoint said to one call. It does not print, for its
// body may hold a token.
type Answer struct {
	Status int // of HTTP; 0: there was no answer
	Header http.Header
	Body   []byte
	Err    error // why there is no answer, or a part of one alone; quotes nothing of it
	// Asked and Came are when the call began and ended.
	Asked, Came time.Time
}

var (
	errTooLong = fmt.Errorf("the body is longer than %d bytes", maxBody)
	errNotHTTP = errors.New("the answer is not HTTP")
)

// Call makes one call, within the request's context and the wire's time.
func (w *Wire) Call(r *http.Request) Answer {
	ctx := r.Context()
	attempt, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	a := Answer{Asked: w.Now()}
	err := a.read(w.HTTP, r.WithContext(attempt))
	a.Came = w.Now()
	label := strconv.Itoa(a.Status)
	if err != nil {
		a.Err = describe(ctx, w.Timeout, err)
		label = "error"
	}
	if w.Observe != nil {
		w.Observe(label, a.Came.Sub(a.Asked))
	}
	return a
}

func (a *Answer) read(client *http.Client, r *http.Request) error {
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	a.Status, a.Header = answer.StatusCode, answer.Header
	a.Body, err = io.ReadAll(io.LimitReader(answer.Body, maxBody+1))
	if err == nil && len(a.Body) > maxBody {
		err = errTooLong
	}
	return err
}

// describe keeps of an error what cannot quote the answer. Package net/http
// puts lines that it does not understand into its errors, and one of them may
// hold a token.
func describe(ctx context.Context, timeout time.Duration, err error) error {
	var (
		network     *net.OpError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		alert       tls.AlertError
	)
	switch {
	case ctx.Err() != nil: // the caller's own reason
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s: %w", timeout, context.DeadlineExceeded)
	case errors.Is(err, errTooLong):
		return errTooLong
	case errors.As(err, &network):
		return network
	case errors.As(err, &certificate):
		return certificate
	case errors.As(err, &record):
		return errors.New(record.Msg)
	case errors.As(err, &alert):
		return alert
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection ended before the answer did")
	}
	return errNotHTTP
}

// Token reads the token in the answer. Every failure is an *Error.
func (a Answer) Token(id Identity, audience string) (*Token, error) {
	fail := &Error{Class: Unavailable, Audience: audience, Identity: id, Status: a.Status, Err: a.Err}
	switch {
	case a.Status != 0 && a.Status != http.StatusOK:
		a.refused(fail)
		return nil, fail
	case a.Err != nil:
		if errors.Is(a.Err, errTooLong) || errors.Is(a.Err, errNotHTTP) {
			fail.Class = Malformed
		}
		return nil, fail
	}
	// The lifetime counts from before the answer was made, so that a slow one
	// cannot lengthen it.
	token, err := parseToken(a.Body, a.Asked)
	if err != nil {
		fail.Class, fail.Err = Malformed, err
		return nil, fail
	}
	return token, nil
}

// refused tells what an answer without a token means. The status counts even
// where the body could not be read.
func (a Answer) refused(fail *Error) {
	var body answerBody
	if fail.Err == nil {
		err := json.Unmarshal(a.Body, &body)
		if fail.Identity.Source != "" && body.Error == "" {
			err = body.readRelative(a.Body)
		}
		if err != nil {
			fail.Err = errNotAnAnswer
		}
	}
	fail.Code, fail.Description = Printable(body.Error), Printable(body.ErrorDescription)
	fail.Class = classify(fail.Status, body.Error, body.ErrorDescription)
	fail.RetryAfter = parseRetryAfter(a.Header, a.Came)
}

// readRelative reads an error as IMDS's relatives write it: App Service a
// message alone, Cloud Shell and Azure ML an object of code and message.
func (a *answerBody) readRelative(body []byte) error {
	var r struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Error   struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return err
	}
	a.Error = cmp.Or(r.Error.Code, r.Code)
	a.ErrorDescription = cmp.Or(r.Error.Message, r.Message)
	return nil
}

// Format implements fmt.Formatter.
func (Answer) Format(s fmt.State, _ rune) {
	// There is nobody to tell of a failed print.
	_, _ = io.WriteString(s, "[answer]")
}
