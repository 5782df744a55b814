// Package daemon answers what makes a running bearerd out of a configuration:
// what a file may say, in which order everything starts, what a reload changes,
// and in which order everything ends.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/imds"
	identitysource "github.com/bearerd/bearerd/imds/source"
	"github.com/bearerd/bearerd/metrics"
	"github.com/bearerd/bearerd/proxy"
	"github.com/bearerd/bearerd/proxy/audit"
	"github.com/bearerd/bearerd/proxy/authority"
	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/dial"
	"github.com/bearerd/bearerd/proxy/listen"
	"github.com/bearerd/bearerd/proxy/route"
	"github.com/bearerd/bearerd/proxy/trace"
)

// Options are what a Daemon is made of. Config is required.
type Options struct {
	Config  *Config
	Version string    // of the binary, for people and metrics
	Log     io.Writer // where the log goes; nil: os.Stderr
	// Reload reads the configuration anew; nil: it cannot be.
	Reload func() (*Config, error)
	// Supervisor is who has started the daemon; the zero value is nobody that
	// wants to know of it.
	Supervisor Supervisor
	// Learn is the file for what applications need, which is learned while what
	// routes say of methods, paths and operations is suspended; empty: it holds.
	Learn string
}

// Daemon is a running bearerd. Start makes one, which Shutdown must end; it is
// safe for concurrent use.
type Daemon struct {
	version string
	started time.Time
	reload  func() (*Config, error)
	level   zap.AtomicLevel
	log     *zap.Logger
	metrics *metrics.Metrics

	imds         *imds.Client
	tokens       *tokens
	principals   *principals
	audit        *audit.Stream // nil: none is written
	refusals     *refusals
	tracer       *trace.Tracer // nil: no spans are made
	authority    *authority.Authority
	rsaAuthority *authority.Authority // nil: no listener takes clients that know RSA alone
	proxy        *proxy.Server
	admin        *http.Server
	metadata     *proxy.Graceful // answers at doors in IMDS's mode
	adminDoor    *door
	limits       *listen.Limits // of all callers' doors together
	callers      *caller.Finder
	learner      *learner // nil: nothing is learned

	supervisor *supervisor

	doorsMu  sync.Mutex // guards what follows
	doors    []*door    // where callers connect, in the configuration's order; replaced, never changed
	released bool       // no door is opened any more

	reading  sync.Mutex            // orders reloads; held for as long as a disk takes
	turn     sync.Mutex            // orders those who replace state
	state    atomic.Pointer[state] // replaced, never changed, so that nobody waits for a reload
	draining atomic.Bool

	background sync.WaitGroup
	cancel     context.CancelFunc // of the background
	done       chan struct{}      // closed when the daemon is to end
	doneOnce   sync.Once
	failure    error // of the listener that closed done; read it after done
}

// Start starts everything and returns when callers are answered. Nothing that
// takes long is waited for: not IMDS, which may not be there.
func Start(ctx context.Context, o Options) (*Daemon, error) {
	if o.Log == nil {
		o.Log = os.Stderr
	}
	d := &Daemon{
		version: o.Version, started: time.Now(), reload: o.Reload,
		metrics: metrics.New(o.Version), refusals: newRefusals(), done: make(chan struct{}),
	}
	d.level, d.log = newLogger(o.Config.Log, o.Log, o.Supervisor.Journal, d.metrics.LogLineDropped)
	d.supervisor = &supervisor{Supervisor: o.Supervisor, log: d.log}
	if o.Learn != "" {
		d.learner = newLearner(o.Learn, d.started)
	}
	if err := d.build(ctx, o.Config); err != nil {
		d.release()
		return nil, err
	}
	d.serve(o.Config)
	return d, nil
}

// build makes every part, in the order in which they need one another.
func (d *Daemon) build(ctx context.Context, c *Config) (err error) {
	if d.imds, err = imds.New(imds.Options{Endpoint: c.IMDS.Endpoint, Observe: d.metrics.IMDSRequest}); err != nil {
		return err
	}
	cloud := c.LikelyCloud()
	table, err := d.compile(c, cloud)
	if err != nil {
		return err
	}
	logins, err := c.Logins(cloud, table)
	if err != nil {
		return err
	}
	if err := d.openSources(table); err != nil {
		return err
	}
	d.tokens = d.newTokens(c)
	d.state.Store(&state{config: c, settings: c.settings(), cloud: cloud, routes: table, logins: logins, loadedAt: time.Now()})
	d.metrics.SetRoutes(routeNames(table)...)
	if err := d.open(ctx, c); err != nil {
		return err
	}
	if err := d.openAuthority(ctx, c, table); err != nil {
		return err
	}
	if err := d.secure(c); err != nil {
		return err
	}
	if err := d.openAudit(c); err != nil {
		return err
	}
	if d.tracer, err = trace.Open(ctx, trace.Options{Version: d.version, Logger: d.log}); err != nil {
		return err
	}
	dialer, err := c.NewDialer(d.ownAddresses)
	if err != nil {
		return err
	}
	settings := proxySettings(c, table, logins)
	d.proxy, err = proxy.New(proxy.Options{
		Settings: settings, Tokens: d.tokens, Dialer: dialer, Authority: d.authority, RootCAs: c.Upstream.RootCAs,
		Limits: c.Limits.Limits, Learner: d.asLearner(), Metrics: d.metrics, Audit: d.audit, Tracer: d.tracer, Logger: d.log, Refused: d.refusals.note,
	})
	if err != nil {
		return err
	}
	if err := d.beginLearning(); err != nil {
		return err
	}
	d.metadata = d.newMetadata(c)
	d.admin, err = d.newAdmin(c)
	return err
}

// openSources looks whether the environment has the routes' sources. One that
// is missing is an error now, not at its first use.
func (d *Daemon) openSources(table *route.Table) error {
	for _, k := range Keys(table, false) {
		if k.Identity.Source == "" {
			continue
		}
		if _, err := identitysource.Open(k.Identity.Source, d.sourceOptions()); err != nil {
			return err
		}
	}
	return nil
}

func (d *Daemon) sourceOptions() identitysource.Options {
	return identitysource.Options{Observe: d.metrics.IMDSRequest}
}

func (d *Daemon) newTokens(c *Config) *tokens {
	d.metrics.CollectTokens(d.tokenSamples)
	d.metrics.CollectRedirect(d.redirectSample)
	d.metrics.CollectThrottle(func() (time.Time, float64) { return d.tokens.Throttle() })
	d.principals = &principals{
		source: identitysource.NewMux(d.imds, d.sourceOptions()), changed: d.metrics.IdentityChanges.Inc,
		log: d.log, now: time.Now, known: make(map[imds.Identity]principal),
	}
	return newTokens(func() *cache.Cache {
		return cache.New(cache.Options{
			Source: d.principals, Rate: c.IMDS.Rate, Burst: c.IMDS.Burst, Concurrency: c.IMDS.Concurrency,
			TokenWait: max(c.IMDS.TokenWait, 1), // 0 would be the cache's own default
			IdleAfter: c.IMDS.IdleAfter,
			Logger:    d.log,
			Hooks: cache.Hooks{
				Served:  func(o cache.Outcome) { d.metrics.TokenRequest(o.String()) },
				Fetched: func(_ cache.Key, result string) { d.metrics.TokenRefresh(result) },
				Paused:  d.metrics.Throttled,
			},
		})
	})
}

func (d *Daemon) openAuthority(ctx context.Context, c *Config, table *route.Table) (err error) {
	o := AuthorityOptions(c, table)
	o.Routed = func(host string) bool {
		now := d.state.Load()
		return now.routes.Named(host) || now.logins.Names(host) || slices.Contains(now.config.signedNames(), host)
	}
	o.Logger = d.log
	o.Observe = func(leaves int) { d.metrics.AuthorityLeaves.Set(float64(leaves)) }
	if d.authority, err = authority.Open(ctx, o); err != nil {
		return err
	}
	expires := d.authority.Expires()
	if rsa, needed := RSAAuthorityOptions(c, table); needed {
		rsa.Routed, rsa.Logger = o.Routed, d.log
		if d.rsaAuthority, err = authority.Open(ctx, rsa); err != nil {
			return err
		}
		if end := d.rsaAuthority.Expires(); end.Before(expires) {
			expires = end
		}
	}
	d.metrics.SetAuthorityExpiry(expires)
	return nil
}

func (d *Daemon) openAudit(c *Config) (err error) {
	if c.Audit.To == "" {
		return nil
	}
	d.audit, err = audit.Open(audit.Options{
		To: c.Audit.To, Refuse: c.Audit.Refuse, Logger: d.log,
		Written: d.metrics.AuditWritten, Lost: d.metrics.AuditLost, Failing: d.metrics.AuditFailing,
	})
	return err
}

// NewDialer makes the way out that the configuration describes. own gives the
// addresses where bearerd listens.
func (c *Config) NewDialer(own func() []netip.AddrPort) (*dial.Dialer, error) {
	metadata, err := endpointAddresses(c.IMDS.Endpoint)
	if err != nil {
		return nil, err
	}
	o := dial.Options{ConnectTo: c.Upstream.ConnectTo, Allow: c.Upstream.AllowAddresses, Own: own, Metadata: metadata}
	if c.asksDNS() {
		o.Resolver = dial.NewDNS(c.Upstream.Resolvers)
	}
	return dial.New(o)
}

// endpointAddresses gives where the configured token endpoint is, so that no
// caller gets there through us.
func endpointAddresses(endpoint string) ([]netip.AddrPort, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("imds.endpoint: %w", err)
	}
	port := 80
	if u.Port() != "" {
		if port, err = strconv.Atoi(u.Port()); err != nil {
			return nil, fmt.Errorf("imds.endpoint: %w", err)
		}
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return nil, nil // a name: an operator's own arrangement, as is what it resolves to
	}
	return []netip.AddrPort{netip.AddrPortFrom(addr, uint16(port))}, nil
}

// serve has every listener answered and the background work done.
func (d *Daemon) serve(c *Config) {
	d.metrics.ConfigLoaded(d.state.Load().loadedAt)
	if err := d.tokens.Keep(Keys(d.state.Load().routes, true)); err != nil {
		d.log.Error("the required tokens cannot all be kept", zap.Error(err))
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	for _, l := range d.callersDoors() {
		d.serveDoor(l)
	}
	d.background.Go(func() { d.ended(d.adminDoor, serveHTTP(d.admin, d.adminDoor)) })
	if d.supervisor.Notify != nil {
		d.background.Go(func() { d.supervise(ctx) })
		if d.supervisor.Watchdog > 0 {
			d.background.Go(func() { d.watch(ctx) })
		}
	}
	if _, auto := c.Cloud(); auto {
		named := make(chan struct{})
		d.background.Go(func() { d.learnCloud(ctx, named) })
		if c.AsksIMDS() {
			timer := time.NewTimer(cloudPatience)
			defer timer.Stop()
			select {
			case <-named:
			case <-timer.C:
			}
		}
	}
	now := d.state.Load()
	d.background.Go(debug.FreeOSMemory) // of what the start alone has used
	d.log.Info("bearerd has started", zap.String("version", d.version), zap.Strings("listen", d.Addresses()),
		zap.String("admin", d.AdminAddress()), zap.String("cloud", now.cloud.Name), zap.Strings("routes", routeNames(now.routes)))
	d.warn(c)
}

// warn logs what is allowed and may still not be meant.
func (d *Daemon) warn(c *Config) {
	for _, warning := range c.Warnings() {
		d.log.Warn(warning)
	}
	own := uint32(os.Geteuid())
	for _, r := range d.state.Load().routes.Routes() {
		if slices.ContainsFunc(r.Callers.Users, func(a caller.Account) bool { return a.ID == own }) {
			d.log.Warn("a route names bearerd's own user, which is never a caller; run bearerd as a user of its own", zap.Stringer("route", r))
		}
	}
}

// serveHTTP gives no error where the server was told to end.
func serveHTTP(s *http.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// finish tells whoever runs the daemon that it is to end.
func (d *Daemon) finish(err error) {
	d.doneOnce.Do(func() {
		d.failure = err
		close(d.done)
	})
}

// Done is closed when the daemon is to be shut down: somebody asked for it, or
// a listener failed.
func (d *Daemon) Done() <-chan struct{} { return d.done }

// Root is the authority that callers are to trust, exporting the RSA one's root
// too.
func (d *Daemon) Root() *authority.Root {
	if d.rsaAuthority != nil {
		return d.authority.Root.With(d.rsaAuthority.Root)
	}
	return d.authority.Root
}

func routeNames(table *route.Table) []string {
	var names []string
	for _, r := range table.Routes() {
		names = append(names, r.Name)
	}
	return names
}
