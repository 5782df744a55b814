// Package proxy is the data plane: it takes an application's calls, attaches
// the machine's token to those that a route allows, and forwards them.
//
// It hides how a call reached us (CONNECT, an absolute URL, a base URL) and how
// it leaves; what may leave and with which token is decided by package route
// and computed in rewrite.go, as values that a forwarding path only applies.
package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/metrics"
	"github.com/bearerd/bearerd/proxy/audit"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/trace"
)

// Tokens gives the machine's tokens; *cache.Cache is one.
type Tokens interface {
	// Token gives a valid token, waiting for it at most as long as the cache
	// is set to.
	Token(ctx context.Context, k cache.Key) (*imds.Token, error)
	// Renew gives a token other than the one that a service rejected, if there
	// is one.
	Renew(ctx context.Context, k cache.Key, rejected *imds.Token) (*imds.Token, error)
}

// Dialer is the only way out; *dial.Dialer is one.
type Dialer interface {
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

// Authority gives the certificates that intercepted callers see;
// *authority.Authority is one.
type Authority interface {
	Leaf(ctx context.Context, host string) (*tls.Certificate, error)
}

// Options are what a Server is made of. Settings.Routes, Tokens, Dialer,
// Authority and Metrics are required.
type Options struct {
	Settings  // at the start; Update changes them
	Tokens    Tokens
	Dialer    Dialer
	Authority Authority
	RootCAs   *x509.CertPool // what upstreams are verified against; nil: the system's roots
	Limits    Limits
	Learner   Learner // nil: nobody learns
	Metrics   *metrics.Metrics
	Audit     *audit.Stream    // nil: none is written
	Tracer    *trace.Tracer    // nil: no spans are made
	Logger    *zap.Logger      // nil: no log
	Now       func() time.Time // nil: time.Now
	// Refused is told of every call that is answered in the service's place. It
	// must answer at once, and be safe for concurrent use. nil: nobody is.
	Refused func(Refusal)
}

// Limits bound what callers can make the proxy hold. A zero field takes the
// default that its comment names.
type Limits struct {
	HeaderBytes   int           // of one request's header section; 64 KiB
	HeaderTimeout time.Duration // to send it, and for a TLS handshake; 10 s
	IdleTimeout   time.Duration // of a connection between requests; 90 s
	HeldTimeout   time.Duration // to send a body that is read before anything of it goes out; 1 min
	Streams       int           // concurrent HTTP/2 streams of one caller's connection; 250
	Spool         int64         // bytes of one request's body kept for a replay; 64 KiB
	SpoolTotal    int64         // of all requests' bodies together; 64 MiB
}

func (l *Limits) setDefaults() {
	setDefault(&l.HeaderBytes, 64<<10)
	setDefault(&l.HeaderTimeout, 10*time.Second)
	setDefault(&l.IdleTimeout, 90*time.Second)
	setDefault(&l.HeldTimeout, time.Minute)
	setDefault(&l.Streams, 250)
	setDefault(&l.Spool, 64<<10)
	setDefault(&l.SpoolTotal, 64<<20)
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Server serves callers on any number of listeners. New makes one; it is safe
// for concurrent use.
type Server struct {
	settings  atomic.Pointer[snapshot]
	tokens    Tokens
	dialer    Dialer
	authority Authority
	learner   Learner // nil: nobody learns
	metrics   *metrics.Metrics
	audit     *audit.Stream // nil: there is none
	tracer    *trace.Tracer // nil: there is none
	log       *zap.Logger
	now       func() time.Time
	refused   func(Refusal)

	routed   *http.Transport // verified TLS to routed hosts
	unrouted *ownWays        // calls that no route names
	spools   *spoolBudget
	buffers  sync.Pool // *[copyBufferSize]byte
	tunnels  tunnels
	ours     *ownEnds
	handlers *handlers

	headerTimeout time.Duration
	heldTimeout   time.Duration
	transparent   listeners
	base          context.Context // of every request and connection; cancel ends it

	outer     *Graceful
	inner     *innerListener
	innerHTTP *Graceful
	innerDone chan struct{}
	cancel    context.CancelFunc
}

// New makes a Server that is ready to Serve. Shutdown or Close ends it.
func New(o Options) (*Server, error) {
	o.Limits.setDefaults()
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Refused == nil {
		o.Refused = func(Refusal) {}
	}
	settings, err := o.Settings.snapshot()
	if err != nil {
		return nil, err
	}
	// Callers cause these lines at will (a scan, a broken handshake).
	errorLog, err := zap.NewStdLogAt(o.Logger, zap.DebugLevel)
	if err != nil {
		return nil, fmt.Errorf("proxy: the log of broken connections: %w", err)
	}
	ours := newOwnEnds(o.Dialer)
	o.Dialer = ours
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		tokens:    o.Tokens,
		dialer:    o.Dialer,
		ours:      ours,
		authority: o.Authority,
		learner:   o.Learner,
		metrics:   o.Metrics,
		audit:     o.Audit,
		tracer:    o.Tracer,
		log:       o.Logger,
		now:       o.Now,
		refused:   o.Refused,
		spools:    newSpoolBudget(o.Limits.Spool, o.Limits.SpoolTotal),
		handlers:  newHandlers(),
		base:      ctx,
		inner:     newInnerListener(),
		innerDone: make(chan struct{}),
		cancel:    cancel,

		headerTimeout: o.Limits.HeaderTimeout,
		heldTimeout:   o.Limits.HeldTimeout,
	}
	s.settings.Store(settings)
	s.buffers.New = func() any { return new([copyBufferSize]byte) }
	s.routed, s.unrouted = newRouted(o), newOwnWays(o)
	outer := newHTTPServer(ctx, s.serveOuter, o.Limits, errorLog)
	// The plain port speaks HTTP/1.1 alone: one parser on a port that asks no
	// caller who it is.
	outer.Protocols = new(http.Protocols)
	outer.Protocols.SetHTTP1(true)
	outer.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return s.unrouted.connContext(caller.ConnContext(ctx, c), c)
	}
	outer.ConnState = s.unrouted.connState
	inner := newHTTPServer(ctx, s.serveIntercepted, o.Limits, errorLog)
	inner.ConnContext = connContext
	s.outer, s.innerHTTP = NewGraceful(outer), NewGraceful(inner)
	go func() {
		defer close(s.innerDone)
		// It ends with the listener only, which Shutdown closes.
		_ = s.innerHTTP.Serve(s.inner)
	}()
	return s, nil
}

func newHTTPServer(ctx context.Context, h http.HandlerFunc, l Limits, errorLog *log.Logger) *http.Server {
	return &http.Server{
		Handler: h,
		// Else net/http would answer "OPTIONS *" past every check.
		DisableGeneralOptionsHandler: true,
		BaseContext: func(l net.Listener) context.Context {
			if o, ok := l.(*opened); ok {
				return context.WithValue(ctx, interceptionKey{}, o.interception)
			}
			return ctx
		},
		MaxHeaderBytes:    l.HeaderBytes,
		ReadHeaderTimeout: l.HeaderTimeout, // of a TLS handshake too
		IdleTimeout:       l.IdleTimeout,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          l.Streams,
			MaxReceiveBufferPerConnection: connectionWindow,
			MaxReceiveBufferPerStream:     streamWindow,
		},
		ErrorLog: errorLog,
	}
}

// Serve answers callers on l until Shutdown or Close, and then gives nil. How
// the TLS of those whose calls are intercepted is spoken, i says.
func (s *Server) Serve(l net.Listener, i Interception) error {
	return s.outer.Serve(&opened{l, s.newInterception(i)})
}

// opened is a listener and how the calls that come in by it are intercepted.
type opened struct {
	net.Listener
	interception *tls.Config
}

// Shutdown stops accepting, waits for the requests under way until ctx ends,
// then breaks off what is left. Tunnels are closed once the requests are done:
// bearerd cannot see whether they are in use.
func (s *Server) Shutdown(ctx context.Context) error {
	s.transparent.close()
	s.innerHTTP.SetKeepAlivesEnabled(false)
	err := s.outer.Shutdown(ctx)
	if innerErr := s.innerHTTP.Shutdown(ctx); err == nil {
		err = innerErr
	}
	s.Close()
	return err
}

// Close breaks off everything at once, and returns when no request is being
// handled any more.
func (s *Server) Close() {
	s.transparent.close()
	s.outer.Close()
	s.innerHTTP.Close()
	s.inner.Close()
	<-s.innerDone
	s.cancel()
	s.tunnels.close()
	s.handlers.close()
	s.routed.CloseIdleConnections()
	s.unrouted.close()
}

// serveOuter tells the three ways apart in which a caller can ask on the plain
// port. They cannot be confused: each has its own form of request target.
func (s *Server) serveOuter(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		s.serveConnect(w, r)
	case r.URL.IsAbs():
		s.serveAbsolute(w, r)
	default:
		s.serveBase(w, r)
	}
}

// serveAbsolute answers "GET http://host/path", what a client sends to a proxy
// for plain http.
func (s *Server) serveAbsolute(w http.ResponseWriter, r *http.Request) {
	x := s.newExchange(w, r, steeredByAbsolute, caller.OfRequest(r))
	x.serve(func() *problem {
		scheme := r.URL.Scheme
		if scheme != "http" && scheme != "https" {
			return problemf(http.StatusBadRequest, CodeBadRequest, "the scheme %s cannot be proxied", shown(scheme))
		}
		if r.URL.User != nil {
			return withUserinfo()
		}
		host, port, err := azure.NormalizeHost(r.URL.Host)
		if err != nil {
			return problemf(http.StatusBadRequest, CodeBadRequest, "the URL's host %s: %v", shown(r.URL.Host), err)
		}
		if port == 0 {
			port = 80
			if scheme == "https" {
				port = 443
			}
		}
		path, query := splitTarget(r.RequestURI)
		x.setTarget(scheme, host, port, path, query)
		return x.forward()
	})
}

// withUserinfo refuses "payroll.vault.azure.net@evil.example", which a person
// or a filter reads as the former and which leads to the latter.
func withUserinfo() *problem {
	return problemf(http.StatusBadRequest, CodeBadRequest, "a target with user information is not taken, for its host is easily misread; leave out what is before the @")
}
