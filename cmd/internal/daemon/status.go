package daemon

import (
	"net/http"
	"runtime"

	"go.uber.org/zap"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/cmd/internal/admin"
	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/metrics"
	"github.com/bearerd/bearerd/proxy"
	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/metadata"
)

// newAdmin makes the admin listener's server.
func (d *Daemon) newAdmin(c *Config) (*http.Server, error) {
	o := admin.Options{
		Metrics: d.metrics.Handler(func(err error) { d.log.Error("a scrape of the metrics failed", zap.Error(err)) }),
		Status:  d.status,
		Quit:    func() { d.finish(nil) },
		Names:   c.Names,
		Logger:  d.log,
	}
	if d.reload != nil {
		o.Reload = d.Reload
	}
	return admin.NewServer(o)
}

// newMetadata makes the server that answers in IMDS's place.
func (d *Daemon) newMetadata(c *Config) *proxy.Graceful {
	return proxy.NewGraceful(&http.Server{
		Handler: metadata.New(metadata.Options{
			Tokens:  d.tokens,
			Allowed: func() []cache.Key { return Keys(d.state.Load().routes, false) },
			Permits: func(who *caller.Caller, k cache.Key) bool { return permits(d.state.Load().routes, who, k) },
			Names:   func() []string { return d.state.Load().config.Names },
			Served:  d.metrics.MetadataRequest,
			Audit:   d.audit,
			Logger:  d.log,
		}),
		ConnContext:       caller.ConnContext,
		MaxHeaderBytes:    16 << 10,
		ReadHeaderTimeout: c.Limits.HeaderTimeout,
		IdleTimeout:       c.Limits.IdleTimeout,
		ErrorLog:          zap.NewStdLog(zap.NewNop()), // callers cause these lines at will
	})
}

// status is how everything stands now.
func (d *Daemon) status() admin.Status {
	now := d.state.Load()
	s := admin.Status{
		Version: d.version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		StartedAt: d.started, Stopping: d.draining.Load(), Tokens: d.tokenStatus(), Identities: d.principals.status(),
		InFlight: d.metrics.UnderWay(), Unrouted: d.traffic(metrics.Unrouted), Refusals: d.refusals.status(), Learning: d.learningStatus(),
	}
	for _, l := range d.callersDoors() {
		s.Listeners = append(s.Listeners, d.listenerStatus(l))
	}
	for _, r := range now.routes.Routes() {
		s.Routes = append(s.Routes, admin.Route{
			Name: r.Name, Service: r.Service.Name, Hosts: r.Hosts, Gateway: r.Gateway,
			Identity: r.Identity.String(), Audience: r.Audience, Required: r.Required,
			Traffic: d.traffic(r.Name),
		})
	}
	s.IMDS.PausedUntil, s.IMDS.Rate = d.tokens.Throttle()
	s.Authority = &admin.Authority{Fingerprint: d.authority.Fingerprint(), Expires: d.authority.Expires(), Permitted: d.authority.Permitted()}
	s.Cloud, s.IMDS.Endpoint = now.cloud.Name, now.config.IMDS.Endpoint
	if sample := d.redirectSample(); sample.Wanted {
		s.Redirect = &admin.Redirect{InPlace: sample.InPlace, Checked: sample.Checked}
	}
	s.Config = admin.Config{Path: now.config.Path(), LoadedAt: now.loadedAt, Settings: now.settings}
	if now.loadError != nil {
		s.Config.LastReloadError = now.loadError.Error()
	}
	return s
}

func (d *Daemon) listenerStatus(l *door) admin.Listener {
	s := admin.Listener{Address: l.shown(), Mode: l.config.Mode.String(), Up: !l.failed.Load()}
	s.Open, s.Accepted = d.metrics.Listener(l.config.Address.String()).Counts()
	if l.cert != nil {
		s.Certificate = &admin.Certificate{Expires: l.cert.Expires()}
		if err := l.cert.Err(); err != nil {
			s.Certificate.Error = err.Error()
		}
	}
	return s
}

// traffic tells of the calls that the metrics count under a name.
func (d *Daemon) traffic(name string) admin.Traffic {
	return admin.Traffic(d.metrics.Route(name).Traffic())
}

func (d *Daemon) tokenStatus() (all []admin.Token) {
	for _, t := range d.tokens.Status() {
		shown := admin.Token{
			Identity: t.Key.Identity.String(), Audience: t.Key.Audience, State: t.State.String(), Usable: t.State.Usable(),
			Obtained: t.Obtained, Expires: t.Expires, NextAttempt: t.NextAttempt, Failures: t.Failures,
		}
		if t.Err != nil {
			shown.Error, shown.Class = t.Err.Error(), t.Class.String()
			if e, ok := t.Err.(*imds.Error); ok {
				shown.Hint = e.Hint()
			}
		}
		all = append(all, shown)
	}
	return all
}

// tokenSamples are the same for the metrics.
func (d *Daemon) tokenSamples() (all []metrics.TokenSample) {
	for _, t := range d.tokens.Status() {
		sample := metrics.TokenSample{
			Audience: t.Key.Audience, Identity: t.Key.Identity.String(), Obtained: t.Obtained, Expires: t.Expires,
			Next: t.NextAttempt, State: t.State.String(),
		}
		if t.Err != nil {
			sample.Class = t.Class.String()
		}
		all = append(all, sample)
	}
	return all
}
