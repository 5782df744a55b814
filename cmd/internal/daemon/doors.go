package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/bearerd/bearerd/proxy"
	"github.com/bearerd/bearerd/proxy/authority"
	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/listen"
)

// door is one open listener.
type door struct {
	net.Listener
	config  Listener
	cert    certificate     // nil: it speaks no TLS itself
	acme    *authority.ACME // nil: cert is another's
	failed  atomic.Bool
	retired atomic.Bool // a reload has closed it
}

// open opens every listener, so that a start fails where one cannot be had.
func (d *Daemon) open(ctx context.Context, c *Config) error {
	d.limits = listen.NewLimits(listen.LimitOptions{
		Total: c.Limits.Connections, PerCaller: c.Limits.ConnectionsPerCaller,
		Reached: func(l listen.Limit) { d.metrics.ConnectionLimited(string(l)) },
	})
	d.callers = caller.New()
	if err := d.checkSockets(c); err != nil {
		return err
	}
	for _, l := range c.Listen {
		opened, err := d.openDoor(ctx, l, d.limits, d.callers)
		if err != nil {
			return err
		}
		d.doors = append(d.doors, opened)
	}
	var err error
	// Probes and metrics must get through when callers hold all that they may.
	d.adminDoor, err = d.openDoor(ctx, Listener{Address: c.Admin.Address, InsecureAllowNetwork: true}, nil, nil)
	return err
}

// checkSockets refuses a configuration without a listener for each socket that
// systemd has opened: who connects there would wait for ever.
func (d *Daemon) checkSockets(c *Config) error {
	addresses := []string{c.Admin.Address.String()}
	for _, l := range c.Listen {
		addresses = append(addresses, l.Address.String())
	}
	if unnamed := d.supervisor.Sockets.Unnamed(addresses); len(unnamed) > 0 {
		return fmt.Errorf("systemd has opened %s, and no listener of the configuration has that address; give it one, or take it out of the socket unit (`systemctl edit bearerd.socket`)", strings.Join(unnamed, " and "))
	}
	return nil
}

func (d *Daemon) openDoor(ctx context.Context, c Listener, limits *listen.Limits, callers *caller.Finder) (*door, error) {
	a := c.Address
	l, err := listen.Open(ctx, listen.Options{
		Address: a.String(), Sockets: d.supervisor.Sockets, InsecureAllowNetwork: c.InsecureAllowNetwork || c.asksCallers(), Limits: limits, Observer: d.metrics.Listener(a.String()),
		Callers:    callers,
		HeaderFrom: c.ProxyProtocolFrom,
		HeaderRefused: func(balancer netip.Addr, err error) {
			d.log.Warn("a load balancer's connection was closed; have it send the PROXY protocol, version 2, or take it out of proxy_protocol_from", zap.Stringer("listener", a), zap.Stringer("balancer", balancer), zap.Error(err))
		},
		AcceptFailed: func(err error) {
			d.log.Warn("a connection could not be accepted; raise the limit on open files if there are too many", zap.Stringer("listener", a), zap.Error(err))
		},
	})
	if err != nil {
		return nil, err
	}
	return &door{Listener: l, config: c}, nil
}

// serveDoor has a caller's door answered until it is closed.
func (d *Daemon) serveDoor(l *door) {
	i := proxy.Interception{MinVersion: l.config.TLS.MinVersion, CipherSuites: listen.CipherSuites(l.config.TLS.RSA)}
	if l.config.TLS.RSA {
		i.RSALeaf = func(ctx context.Context, host string) (*tls.Certificate, error) {
			return d.rsaAuthority.Leaf(ctx, host)
		}
	}
	d.background.Go(func() {
		switch l.config.Mode {
		case ModeIMDS:
			d.ended(l, d.metadata.Serve(l))
		case ModeTransparent:
			d.ended(l, d.proxy.ServeTransparent(l.Listener, proxy.TransparentOptions{Host: l.config.Host, Interception: i}))
		default:
			d.ended(l, d.proxy.Serve(l.Listener, i))
		}
	})
}

// ended has the daemon end where a listener did so by itself.
func (d *Daemon) ended(l *door, err error) {
	if err == nil || l.retired.Load() {
		return
	}
	l.failed.Store(true)
	d.finish(fmt.Errorf("listening on %s: %w", l.config.Address, err))
}

// turnover is what a reload does to the callers' doors.
type turnover struct {
	doors  []*door // that there are to be, in the configuration's order
	opened []*door // those of them that are not served yet
	old    []*door // that are to be closed
}

// openChanged opens the listeners that c has and the daemon has not. Those that
// both have stay open, with their connections. After an error nothing is open
// that was not before.
func (d *Daemon) openChanged(ctx context.Context, c *Config) (t turnover, err error) {
	defer func() {
		if err != nil {
			closeAll(t.opened)
		}
	}()
	if err := d.checkSockets(c); err != nil {
		return t, err
	}
	t.old = slices.Clone(d.callersDoors())
	t.doors = make([]*door, len(c.Listen))
	for i, l := range c.Listen {
		if at := slices.IndexFunc(t.old, func(o *door) bool { return reflect.DeepEqual(o.config, l) }); at >= 0 {
			t.doors[i] = t.old[at]
			t.old = slices.Delete(t.old, at, at+1)
		}
	}
	for i, l := range c.Listen {
		if t.doors[i] != nil {
			continue
		}
		for _, o := range t.old {
			if o.config.Address.collides(l.Address) {
				return t, fmt.Errorf("a change of listen[%d] needs a restart, for %s is open and is to be another listener's; restart bearerd, or take the change back", i, o.config.Address)
			}
		}
		opened, err := d.openDoor(ctx, l, d.limits, d.callers)
		if err != nil {
			return t, err
		}
		t.doors[i], t.opened = opened, append(t.opened, opened)
		if err := d.secureDoor(c, opened); err != nil {
			return t, err
		}
	}
	return t, nil
}

// take has the doors that were opened served, and closes the old ones. Their
// connections live on until their callers, or the idle timeout, end them.
func (d *Daemon) take(t turnover) {
	if !d.serveOpened(t) {
		closeAll(t.opened)
		return
	}
	for _, l := range t.old {
		l.retired.Store(true)
	}
	if err := closeAll(t.old); err != nil {
		d.log.Warn("a listener that the configuration has no more was not closed well", zap.Error(err))
	}
}

// serveOpened is false where the daemon is at its end.
func (d *Daemon) serveOpened(t turnover) bool {
	d.doorsMu.Lock()
	defer d.doorsMu.Unlock()
	if d.released {
		return false
	}
	d.doors = t.doors
	for _, l := range t.opened {
		d.serveDoor(l)
	}
	return true
}

func closeAll(doors []*door) error {
	var all []error
	for _, l := range doors {
		all = append(all, l.Close())
		if l.acme != nil {
			l.acme.Close()
		}
	}
	return errors.Join(all...)
}

// callersDoors are where callers connect.
func (d *Daemon) callersDoors() []*door {
	d.doorsMu.Lock()
	defer d.doorsMu.Unlock()
	return d.doors
}

// openDoors are the callers' and, once it is open, the administrator's.
func (d *Daemon) openDoors() []*door {
	if d.adminDoor == nil {
		return d.callersDoors()
	}
	return append(slices.Clip(d.callersDoors()), d.adminDoor)
}

// lastDoors are openDoors, after which no other is opened.
func (d *Daemon) lastDoors() []*door {
	d.doorsMu.Lock()
	d.released = true
	d.doorsMu.Unlock()
	return d.openDoors()
}

// ownAddresses are where we listen ourselves.
func (d *Daemon) ownAddresses() []netip.AddrPort {
	var all []netip.AddrPort
	for _, l := range d.openDoors() {
		if tcp, ok := l.Addr().(*net.TCPAddr); ok {
			all = append(all, tcp.AddrPort())
		}
	}
	return all
}

// Addresses are where callers connect, in the form of the configuration.
func (d *Daemon) Addresses() []string {
	var all []string
	for _, l := range d.callersDoors() {
		all = append(all, l.shown())
	}
	return all
}

// AdminAddress is where the admin listener is.
func (d *Daemon) AdminAddress() string { return d.adminDoor.shown() }

// shown is the address with the port that the kernel chose.
func (l *door) shown() string {
	if l.config.Address.Unix != "" {
		return l.config.Address.String()
	}
	return l.Addr().String()
}
