package proxy

import (
	"crypto/tls"
	"net/http"
	"time"
)

const (
	// Both HTTP/2 windows are set on both sides: with one alone, what net/http
	// buffers grows with the number of streams.
	connectionWindow = 1 << 20
	streamWindow     = 256 << 10

	handshakeTimeout = 10 * time.Second
	// continueTimeout is how long a service may take to ask for the body of a
	// call with Expect: 100-continue before it is sent all the same.
	continueTimeout = 5 * time.Second
	idleUpstream    = 90 * time.Second
	// idlePerHost keeps a connection for every call that a busy app makes at
	// once; net/http's default of 2 would dial anew for nearly each.
	idlePerHost = 256
	// idleTotal bounds them over all hosts, for a caller can ask for any name
	// that a wildcard covers.
	idleTotal = 1024
)

// newRouted makes the way out of routed calls, whose connections all callers
// share. No other call rides on one that carries tokens.
func newRouted(o Options) *http.Transport {
	t := newTransport(o, &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12})
	t.ForceAttemptHTTP2 = true
	t.MaxIdleConns, t.MaxIdleConnsPerHost = idleTotal, idlePerHost
	t.HTTP2 = &http.HTTP2Config{
		MaxReceiveBufferPerConnection: connectionWindow,
		MaxReceiveBufferPerStream:     streamWindow,
		SendPingTimeout:               30 * time.Second, // notices a connection that died silently
		PingTimeout:                   15 * time.Second,
	}
	return t
}

// newTransport makes what all ways out have in common. They share the dialer,
// which checks where a connection really goes.
func newTransport(o Options, t *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // dial knows the way out; the environment's proxy may be us
		DialContext:            o.Dialer.DialContext,
		TLSClientConfig:        t,
		TLSHandshakeTimeout:    handshakeTimeout,
		DisableCompression:     true, // or it asks for gzip and unpacks what the caller did not ask for
		IdleConnTimeout:        idleUpstream,
		ExpectContinueTimeout:  continueTimeout,
		MaxResponseHeaderBytes: 256 << 10,
	}
}
