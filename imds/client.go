package imds

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// DefaultEndpoint is where IMDS answers on every Azure machine.
	DefaultEndpoint = "http://169.254.169.254"

	tokenPath       = "/metadata/identity/oauth2/token"
	tokenVersion    = "2018-02-01"
	instancePath    = "/metadata/instance/compute/azEnvironment"
	instanceVersion = "2021-02-01"

	defaultTimeout = 10 * time.Second
	// maxBody bounds an answer. A token is 2 to 4 KiB, with many groups up to 16.
	maxBody = 1 << 20
)

// Options are what a Client is made of. The zero value asks the machine's IMDS.
type Options struct {
	Endpoint string           // scheme and authority; empty: DefaultEndpoint
	Timeout  time.Duration    // of one attempt; 0: 10 s
	Now      func() time.Time // nil: time.Now
	// Transport carries the calls; nil: one of the client's own, which takes no
	// proxy from the environment and makes a connection for every call.
	Transport http.RoundTripper
	// Observe is told of every call's status, a number or "error", and
	// duration. nil: nobody is.
	Observe func(status string, took time.Duration)
}

// Client asks IMDS. A call is one attempt, and nothing is kept; it is safe for
// concurrent use. Close releases what connections its transport keeps.
type Client struct {
	endpoint string
	timeout  time.Duration
	now      func() time.Time
	observe  func(string, time.Duration)
	http     *http.Client
}

// New makes a client.
func New(o Options) (*Client, error) {
	if o.Endpoint == "" {
		o.Endpoint = DefaultEndpoint
	}
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		// Not quoted, for it may hold a password.
		return nil, fmt.Errorf("the IMDS endpoint has to be a scheme and an authority alone; write it like %s", DefaultEndpoint)
	}
	c := &Client{endpoint: u.Scheme + "://" + u.Host, timeout: o.Timeout, now: o.Now, observe: o.Observe}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.observe == nil {
		c.observe = func(string, time.Duration) {}
	}
	if o.Transport == nil {
		o.Transport = &http.Transport{
			// IMDS refuses what came through a proxy, and the environment's
			// proxy may be bearerd itself.
			Proxy:       nil,
			DialContext: (&net.Dialer{Timeout: c.timeout}).DialContext,
			// On a connection that was kept, net/http repeats a GET that got no
			// answer: a call that nobody counts towards the machine's limits.
			// It also writes what comes unasked to the standard log.
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 64 << 10,
		}
	}
	c.http = &http.Client{
		Transport: o.Transport,
		// A redirect would carry the request off the link-local address.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Close releases the transport's idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Token makes one attempt to get a token. Every failure is an *Error.
// (https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token)
func (c *Client) Token(ctx context.Context, id Identity, audience string) (*Token, error) {
	fail := &Error{Class: Unavailable, Audience: audience, Identity: id}
	if err := id.Validate(); err != nil {
		fail.Class, fail.Err = Misconfigured, err
		return nil, fail
	}
	query := url.Values{"api-version": {tokenVersion}, "resource": {audience}}
	switch {
	case id.ClientID != "":
		query.Set("client_id", id.ClientID)
	case id.ObjectID != "":
		query.Set("object_id", id.ObjectID)
	case id.ResourceID != "":
		query.Set("msi_res_id", id.ResourceID)
	}
	asked := c.now()
	status, header, body, err := c.get(ctx, tokenPath, query)
	fail.Status, fail.Err = status, err
	switch {
	case status != 0 && status != http.StatusOK:
		c.refused(fail, header, body)
		return nil, fail
	case err != nil:
		if errors.Is(err, errTooLong) || errors.Is(err, errNotHTTP) {
			fail.Class = Malformed
		}
		return nil, fail
	}
	// The lifetime counts from before the answer was made, so that a slow one
	// cannot lengthen it.
	token, err := parseToken(body, asked)
	if err != nil {
		fail.Class, fail.Err = Malformed, err
		return nil, fail
	}
	return token, nil
}

// refused tells what an answer without a token means. The status counts even
// where the body could not be read.
func (c *Client) refused(fail *Error, header http.Header, body []byte) {
	var a answerBody
	if fail.Err == nil && json.Unmarshal(body, &a) != nil {
		fail.Err = errNotAnAnswer
	}
	fail.Code, fail.Description = printable(a.Error), printable(a.ErrorDescription)
	fail.Class = classify(fail.Status, a.Error, a.ErrorDescription)
	fail.RetryAfter = parseRetryAfter(header, c.now())
}

// Environment asks which cloud the machine is in: "AzurePublicCloud",
// "AzureUSGovernmentCloud", "AzureChinaCloud" and the like.
// (https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service)
func (c *Client) Environment(ctx context.Context) (string, error) {
	status, _, body, err := c.get(ctx, instancePath, url.Values{"api-version": {instanceVersion}, "format": {"text"}})
	const hint = "is this an Azure machine? else name the cloud in the configuration"
	if err != nil {
		return "", fmt.Errorf("ask IMDS for the cloud: %w; %s", err, hint)
	}
	if status != http.StatusOK {
		return "", fmt.Errorf("ask IMDS for the cloud: status %d; %s", status, hint)
	}
	name := strings.TrimSpace(string(body))
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return !isAlphanumeric(r) }) {
		return "", fmt.Errorf("ask IMDS for the cloud: the answer is not the name of one; %s", hint)
	}
	return name, nil
}

func isAlphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

var (
	errTooLong = fmt.Errorf("the body is longer than %d bytes", maxBody)
	errNotHTTP = errors.New("the answer is not HTTP")
)

// get makes one bounded GET. The status is 0 where there was no answer.
func (c *Client) get(ctx context.Context, path string, query url.Values) (status int, header http.Header, body []byte, err error) {
	attempt, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	started := c.now()
	defer func() {
		if err != nil {
			err = c.describe(ctx, err)
		}
		label := "error"
		if err == nil {
			label = strconv.Itoa(status)
		}
		c.observe(label, c.now().Sub(started))
	}()
	r, err := http.NewRequestWithContext(attempt, http.MethodGet, c.endpoint+path+"?"+query.Encode(), nil)
	if err != nil {
		return 0, nil, nil, err
	}
	r.Header.Set("Metadata", "true")
	answer, err := c.http.Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(io.LimitReader(answer.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = errTooLong
	}
	return answer.StatusCode, answer.Header, body, err
}

// describe keeps of an error what cannot quote the answer. Package net/http
// puts lines that it does not understand into its errors, and one of them may
// hold a token.
func (c *Client) describe(ctx context.Context, err error) error {
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
		return fmt.Errorf("no answer within %s: %w", c.timeout, context.DeadlineExceeded)
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
