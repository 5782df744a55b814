package daemon

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/bearerd/bearerd/cmd/internal/admin"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/entra"
	"github.com/bearerd/bearerd/proxy/route"
)

var errNoReload = errors.New("this bearerd has no configuration file to read anew; restart it")

// state is what a reload, or IMDS's word for the cloud, replaces. Immutable.
type state struct {
	config    *Config
	settings  []admin.Setting // of config; milliseconds where there are many routes, and /status is asked often
	cloud     *azure.Cloud
	named     bool // IMDS has named the cloud
	routes    *route.Table
	logins    *entra.Logins
	loadedAt  time.Time
	loadError error // of the last reload; nil after a good one
}

// Reload reads the configuration anew and takes over what it says of routes,
// listeners, entra, names, own, unmatched, drain, log.level and log.access. Requests under way keep
// what held at their start; the tokens and their throttle stay. A configuration
// with a mistake changes nothing, nor does one that needs a restart.
func (d *Daemon) Reload() error {
	d.reading.Lock()
	defer d.reading.Unlock()
	done := d.supervisor.reloading()
	defer func() { done(d.words()) }()
	// Whatever becomes of the configuration: a program that rotates logs sends
	// the same signal.
	if err := d.audit.Reopen(); err != nil {
		d.log.Error("the audit stream was not opened anew", zap.Error(err))
	}
	c, err := d.read()
	// Whoever learns the cloud meanwhile need not wait for the disk, nor need
	// the end, which waits for that.
	d.turn.Lock()
	defer d.turn.Unlock()
	var next state
	if err == nil {
		next, err = d.next(c)
	}
	if err == nil {
		err = d.takeLocked(next)
	}
	if err != nil {
		kept := *d.state.Load()
		kept.loadError = err
		d.state.Store(&kept)
		d.metrics.ConfigRejected()
		d.log.Error("the configuration was not taken over; the one before holds", zap.Error(err))
		return err
	}
	d.metrics.ConfigLoaded(next.loadedAt)
	d.log.Info("the configuration was taken over", zap.Strings("routes", routeNames(d.state.Load().routes)))
	d.warn(next.config)
	return nil
}

func (d *Daemon) read() (*Config, error) {
	if d.reload == nil {
		return nil, errNoReload
	}
	return d.reload()
}

// next gives what is to hold by c, but for its routes.
func (d *Daemon) next(c *Config) (next state, err error) {
	now := d.state.Load()
	if path := now.config.Path(); path != "" && c.Path() == "" {
		return next, fmt.Errorf("%s is gone; put it back, or restart bearerd to have the defaults", path)
	}
	if keys := needRestart(now.config, c); len(keys) > 0 {
		return next, fmt.Errorf("a change of %s needs a restart; restart bearerd, or take the change back", strings.Join(keys, ", "))
	}
	next = state{config: c, settings: c.settings(), cloud: now.cloud, named: now.named, loadedAt: time.Now()}
	if !now.named {
		next.cloud = c.LikelyCloud()
	}
	return next, nil
}

// takeLocked compiles the routes of what is to hold, and has it hold from now
// on. After an error, what held before still does.
func (d *Daemon) takeLocked(next state) (err error) {
	c := next.config
	if next.routes, err = d.compile(c, next.cloud); err != nil {
		return err
	}
	if next.logins, err = c.Logins(next.cloud, next.routes); err != nil {
		return err
	}
	if err := d.openSources(next.routes); err != nil {
		return err
	}
	suffixes, hosts := next.routes.Domains()
	names := slices.Concat(suffixes, hosts, next.logins.Hosts(), c.Authority.Permit, c.signedNames())
	if err := d.authority.Covers(names...); err != nil {
		return err
	}
	if d.rsaAuthority != nil {
		if err := d.rsaAuthority.Covers(names...); err != nil {
			return err
		}
	}
	doors, err := d.openChanged(context.Background(), c)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			closeAll(doors.opened)
		}
	}()
	if err := d.tokens.Keep(Keys(next.routes, true)); err != nil {
		return err
	}
	// Before the proxy has the routes, for then it asks for their hosts' leaves.
	before := d.state.Swap(&next)
	if err := d.proxy.Update(proxySettings(c, next.routes, next.logins)); err != nil {
		d.state.Store(before)
		return err
	}
	d.take(doors)
	d.metrics.SetRoutes(routeNames(next.routes)...)
	d.principals.keep(Keys(next.routes, false))
	d.level.SetLevel(c.Log.Level)
	return nil
}

// needRestart names the keys of the file that differ and cannot be changed in a
// running daemon.
func needRestart(a, b *Config) (keys []string) {
	_, autoA := a.Cloud()
	_, autoB := b.Cloud()
	for _, part := range []struct {
		key  string
		a, b any
	}{
		{"listen (the first in mode transparent, or none any more)", a.isTransparent(), b.isTransparent()},
		{"listen (the first with tls.rsa, or none any more)", a.takesRSA(), b.takesRSA()}, {"imds", a.IMDS, b.IMDS}, {"limits", a.Limits, b.Limits}, {"state_dir", a.StateDir, b.StateDir},
		{"admin", a.Admin, b.Admin}, {"audit", a.Audit, b.Audit}, {"log.format", a.Log.Format, b.Log.Format}, {"cloud: auto", autoA, autoB},
		{"authority.cert_file", a.Authority.CertFile, b.Authority.CertFile}, {"authority.key_file", a.Authority.KeyFile, b.Authority.KeyFile},
		{"upstream.ca_file", true, a.Upstream.CAFile == b.Upstream.CAFile && a.Upstream.RootCAs.Equal(b.Upstream.RootCAs)}, // or what is in it
		{"upstream.connect_to", a.Upstream.ConnectTo, b.Upstream.ConnectTo},
		{"upstream.resolvers", a.Upstream.Resolvers, b.Upstream.Resolvers},
		{"upstream.allow_addresses", a.Upstream.AllowAddresses, b.Upstream.AllowAddresses},
	} {
		if !reflect.DeepEqual(part.a, part.b) {
			keys = append(keys, part.key)
		}
	}
	return keys
}
