package daemon

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.uber.org/zap"
)

var errNoReload = errors.New("this bearerd has no configuration file to read anew; restart it")

// Reload reads the configuration anew and takes over what it says of routes,
// names, own, unmatched, log.level and log.access. Requests under way keep what
// held at their start; the tokens and their throttle stay. A configuration with
// a mistake changes nothing, nor does one that needs a restart.
func (d *Daemon) Reload() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.reloadLocked()
	d.loadError = err
	if err != nil {
		d.metrics.ConfigRejected()
		d.log.Error("the configuration was not taken over; the one before holds", zap.Error(err))
		return err
	}
	d.loadedAt = time.Now()
	d.metrics.ConfigLoaded(d.loadedAt)
	d.log.Info("the configuration was taken over", zap.Strings("routes", routeNames(d.routes.Load())))
	return nil
}

func (d *Daemon) reloadLocked() error {
	if d.reload == nil {
		return errNoReload
	}
	next, err := d.reload()
	if err != nil {
		return err
	}
	if keys := needRestart(d.config, next); len(keys) > 0 {
		return fmt.Errorf("a change of %s needs a restart; restart bearerd, or take the change back", strings.Join(keys, ", "))
	}
	cloud := d.cloud
	if fixed, auto := next.Cloud(); !auto {
		cloud = fixed
	}
	return d.takeLocked(next, cloud)
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
		{"listen", a.Listen, b.Listen}, {"imds", a.IMDS, b.IMDS}, {"limits", a.Limits, b.Limits}, {"state_dir", a.StateDir, b.StateDir},
		{"admin", a.Admin, b.Admin}, {"log.format", a.Log.Format, b.Log.Format}, {"cloud: auto", autoA, autoB},
		{"authority.cert_file", a.Authority.CertFile, b.Authority.CertFile}, {"authority.key_file", a.Authority.KeyFile, b.Authority.KeyFile},
		{"upstream.ca_file", a.Upstream.CAFile, b.Upstream.CAFile}, {"upstream.connect_to", a.Upstream.ConnectTo, b.Upstream.ConnectTo},
		{"upstream.allow_addresses", a.Upstream.AllowAddresses, b.Upstream.AllowAddresses},
	} {
		if !reflect.DeepEqual(part.a, part.b) {
			keys = append(keys, part.key)
		}
	}
	return keys
}
