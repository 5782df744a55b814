package imds

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
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

	// DefaultTimeout bounds one call.
	DefaultTimeout = 10 * time.Second
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
	wire     Wire
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
	c := &Client{
		endpoint: u.Scheme + "://" + u.Host,
		wire:     Wire{HTTP: NewHTTPClient(o.Transport), Timeout: o.Timeout, Now: o.Now, Observe: o.Observe},
	}
	if c.wire.Timeout <= 0 {
		c.wire.Timeout = DefaultTimeout
	}
	if c.wire.Now == nil {
		c.wire.Now = time.Now
	}
	return c, nil
}

// Close releases the transport's idle connections.
func (c *Client) Close() { c.wire.HTTP.CloseIdleConnections() }

// Token makes one attempt to get a token. Every failure is an *Error.
// (https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token)
func (c *Client) Token(ctx context.Context, id Identity, audience string) (*Token, error) {
	if err := id.Validate(); err != nil {
		return nil, &Error{Class: Misconfigured, Audience: audience, Identity: id, Err: err}
	}
	if id.Source != "" && id.Source != SourceIMDS {
		// IMDS would answer with another identity of the same id, or none.
		return nil, &Error{Class: Misconfigured, Audience: audience, Identity: id, Err: errForeign}
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
	return c.get(ctx, tokenPath, query).Token(id, audience)
}

// Environment asks which cloud the machine is in: "AzurePublicCloud",
// "AzureUSGovernmentCloud", "AzureChinaCloud" and the like.
// (https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service)
func (c *Client) Environment(ctx context.Context) (string, error) {
	answer := c.get(ctx, instancePath, url.Values{"api-version": {instanceVersion}, "format": {"text"}})
	const hint = "is this an Azure machine? else name the cloud in the configuration"
	if answer.Err != nil {
		return "", fmt.Errorf("ask IMDS for the cloud: %w; %s", answer.Err, hint)
	}
	if answer.Status != http.StatusOK {
		return "", fmt.Errorf("ask IMDS for the cloud: status %d; %s", answer.Status, hint)
	}
	name := strings.TrimSpace(string(answer.Body))
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return !isAlphanumeric(r) }) {
		return "", fmt.Errorf("ask IMDS for the cloud: the answer is not the name of one; %s", hint)
	}
	return name, nil
}

func isAlphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// get makes one bounded GET.
func (c *Client) get(ctx context.Context, path string, query url.Values) Answer {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.endpoint+path+"?"+query.Encode(), nil)
	if err != nil {
		return Answer{Err: err}
	}
	r.Header.Set("Metadata", "true")
	return c.wire.Call(r)
}
