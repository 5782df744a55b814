package source

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/bearerd/bearerd/imds"
)

// attempt is the HTTP client that MSAL is given for one attempt. It lets calls
// go to one endpoint alone, keeps what was answered, and shows MSAL a stand-in
// for every token.
type attempt struct {
	name     string
	id       imds.Identity
	audience string
	wire     imds.Wire // of this attempt alone
	endpoint origin
	// answerLocally answers a call that nobody needs to be asked; nil: none.
	answerLocally func(*http.Request) *http.Response

	calls    int
	last     imds.Answer
	token    *imds.Token // of the last answer
	failed   *imds.Error // of the last answer
	unpinned atomic.Bool // the endpoint's certificate is not the pinned one
}

// origin is where an endpoint is.
type origin struct{ scheme, host string }

var (
	errElsewhere = errors.New("the call is for another host than the endpoint's")
	errNoToken   = errors.New("the answer has no token")
)

// Do makes one call.
func (a *attempt) Do(r *http.Request) (*http.Response, error) {
	if (origin{r.URL.Scheme, r.URL.Host}) != a.endpoint {
		// Whatever MSAL may make of the environment, no other host gets a
		// request, or the secret in it.
		return nil, errElsewhere
	}
	if a.answerLocally != nil {
		if answer := a.answerLocally(r); answer != nil {
			return answer, nil
		}
	}
	a.calls++
	a.token, a.failed = nil, nil
	a.last = a.wire.Call(r)
	token, err := a.last.Token(a.id, a.audience)
	switch {
	case err == nil:
		a.token = token
		return respond(r, http.StatusOK, nil, standIn(a.last.Body)), nil
	case !errors.As(err, &a.failed) || a.failed.Status == 0 || a.failed.Status == http.StatusOK:
		return nil, errNoToken
	}
	// Arc's challenge is the one thing that MSAL reads of a refusal.
	header := http.Header{}
	if challenge := a.last.Header.Get("WWW-Authenticate"); challenge != "" {
		header.Set("WWW-Authenticate", challenge)
	}
	return respond(r, a.failed.Status, header, nil), nil
}

// CloseIdleConnections is part of what MSAL takes for an HTTP client. The
// connections are the transport's owner's to close.
func (*attempt) CloseIdleConnections() {}

// ConfigureClient lets MSAL pin the endpoint's certificate, for Service Fabric.
func (a *attempt) ConfigureClient(augment func(*http.Client) (*http.Client, error)) error {
	pinned, err := augment(a.wire.HTTP)
	if err != nil {
		return err
	}
	transport, ok := pinned.Transport.(*http.Transport)
	if !ok || transport.TLSClientConfig == nil || transport.TLSClientConfig.VerifyConnection == nil {
		return fmt.Errorf("the HTTP client for %s pins no certificate", a.name)
	}
	// The transport is this attempt's alone, and so are its connections.
	transport.DisableKeepAlives = true
	verify := transport.TLSClientConfig.VerifyConnection
	transport.TLSClientConfig.VerifyConnection = func(s tls.ConnectionState) error {
		err := verify(s)
		if err != nil {
			a.unpinned.Store(true)
		}
		return err
	}
	a.wire.HTTP = pinned
	return nil
}

// respond makes an answer for MSAL.
func respond(r *http.Request, status int, header http.Header, body []byte) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}
}

// standIn writes an answer without the token, but with the ids that it confirms,
// which MSAL compares with those asked for.
func standIn(body []byte) []byte {
	var echo struct {
		ClientID   string `json:"client_id,omitempty"`
		ObjectID   string `json:"object_id,omitempty"`
		ResourceID string `json:"msi_res_id,omitempty"`
		Otherwise  string `json:"mi_res_id,omitempty"`

		Token   string `json:"access_token"`
		Type    string `json:"token_type"`
		Expires int    `json:"expires_in"`
	}
	// What is no string is no id: MSAL reads no other either.
	_ = json.Unmarshal(body, &echo)
	echo.Token, echo.Type, echo.Expires = "held-by-bearerd", "Bearer", 3600
	out, err := json.Marshal(echo)
	if err != nil {
		return nil // cannot be: strings and a number
	}
	return out
}
