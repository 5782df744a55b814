package daemon

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/proxy/authority"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/route"
)

const (
	// cloudPatience is how long a start waits for IMDS to name the cloud. On
	// Azure the answer takes milliseconds; elsewhere it never comes.
	cloudPatience = 75 * time.Millisecond
	// Then IMDS is asked again in the background, with growing waits.
	firstCloudRetry = time.Second
	lastCloudRetry  = time.Minute
)

// Path is the file that the configuration came from; empty for Default's.
func (c *Config) Path() string { return c.source.file }

// Keys gives the identities and audiences of the routes, each once, in order:
// of all routes, or of those that readiness waits for.
func Keys(table *route.Table, required bool) []cache.Key {
	var keys []cache.Key
	for _, r := range table.Routes() {
		k := cache.Key{Identity: r.Identity, Audience: r.Audience}
		if (r.Required || !required) && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}

// permits reports whether any route has a token for a caller.
func permits(table *route.Table, who *caller.Caller, k cache.Key) bool {
	return slices.ContainsFunc(table.Routes(), func(r *route.Route) bool {
		return k == (cache.Key{Identity: r.Identity, Audience: r.Audience}) && (r.Callers.Empty() || r.Callers.Match(who))
	})
}

// AsksIMDS reports whether any route's tokens come from the machine's IMDS. Where
// none does, there may be no IMDS to name the cloud.
func (c *Config) AsksIMDS() bool {
	return slices.ContainsFunc(c.Rules(c.LikelyCloud()), func(r route.Rule) bool { return r.Identity.Source == "" })
}

// AuthorityOptions says what the authority must sign for, which is what the
// routes and entra name, and what one that is made now may sign for: every
// service of the cloud, or of all clouds where IMDS is to name it.
func AuthorityOptions(c *Config, table *route.Table) authority.Options {
	suffixes, hosts := table.Domains()
	o := authority.Options{
		Dir: c.StateDir, CertFile: c.Authority.CertFile, KeyFile: c.Authority.KeyFile,
		Permit: slices.Concat(hosts, c.Authority.Permit, c.signedNames()), Wildcards: suffixes,
	}
	if c.Entra.answers() {
		o.Permit = append(o.Permit, c.LikelyCloud().Logins()...)
	}
	if o.CertFile != "" {
		o.Dir = ""
	}
	clouds := []*azure.Cloud{c.LikelyCloud()}
	if _, auto := c.Cloud(); auto {
		clouds = nil
		for _, name := range azure.CloudNames() {
			cloud, _ := azure.CloudNamed(name)
			clouds = append(clouds, cloud)
		}
	}
	for _, cloud := range clouds {
		if c.Entra.answers() {
			o.Also = append(o.Also, cloud.Logins()...)
		}
		for _, s := range cloud.Services() {
			o.Also = append(o.Also, s.Hosts()...)
			for _, p := range s.Patterns() {
				o.Also = append(o.Also, p.Suffix)
			}
		}
	}
	return o
}

// RSAAuthorityOptions says the same of the RSA authority, which there is where a
// listener takes clients that know nothing else.
func RSAAuthorityOptions(c *Config, table *route.Table) (o authority.Options, needed bool) {
	o = AuthorityOptions(c, table)
	o.RSA = true
	return o, c.takesRSA()
}

// learnCloud asks IMDS which cloud this is until it answers, and takes the
// routes over for that one. Where no route needs IMDS there may be none, and it
// is not asked unless a reload changes that. named is closed when the cloud is
// known.
func (d *Daemon) learnCloud(ctx context.Context, named chan<- struct{}) {
	wait := firstCloudRetry
	for {
		if d.state.Load().config.AsksIMDS() {
			environment, err := d.imds.Environment(ctx)
			if err == nil {
				d.takeCloud(environment)
				close(named)
				return
			}
			d.log.Debug("IMDS does not name the cloud; it is guessed from the routes meanwhile", zap.Error(err), zap.Duration("retry", wait))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			wait = min(2*wait, lastCloudRetry)
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (d *Daemon) takeCloud(environment string) {
	cloud, ok := azure.CloudFromEnvironment(environment)
	if !ok {
		d.log.Warn("IMDS names a cloud that is not known; the one assumed stays, define it under cloud if that is wrong", zap.String("environment", environment))
		return
	}
	d.turn.Lock()
	defer d.turn.Unlock()
	next := *d.state.Load()
	changed := cloud.Name != next.cloud.Name
	next.cloud, next.named = cloud, true
	if err := d.takeLocked(next); err != nil {
		d.log.Error("the configuration does not fit the cloud that IMDS names; the one assumed stays, set cloud", zap.String("cloud", cloud.Name), zap.Error(err))
		return
	}
	if changed {
		d.log.Info("IMDS names the cloud", zap.String("cloud", cloud.Name))
	}
}
