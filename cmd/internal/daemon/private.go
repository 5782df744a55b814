package daemon

import (
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/bearerd/bearerd/proxy/audit"
)

// Private gives the configuration of a proxy that serves one command alone: it
// listens on a free loopback port, has an authority of its own, keeps what it
// keeps in dir, and takes no time to end. Routes, identities and the way out stay
// as they are.
func (c *Config) Private(dir string) (*Config, error) {
	if c.Audit.To == audit.Stdout {
		return nil, errors.New("audit.to: stdout is the command's own here; write the audit stream to journald or a file")
	}
	own := *c
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	own.Listen = []Listener{{Address: Address{TCP: netip.AddrPortFrom(loopback, 0)}}}
	own.Admin = Admin{Address: Address{Unix: filepath.Join(dir, "admin")}}
	own.StateDir = dir
	own.Authority = Authority{Permit: c.Authority.Permit}
	own.Drain = Drain{Max: time.Nanosecond}
	return &own, nil
}

// ProxyAddress is where programs of this machine find the explicit listener, as
// the configuration has it; the zero value: there is none for them.
func (c *Config) ProxyAddress() netip.AddrPort {
	i := slices.IndexFunc(c.Listen, func(l Listener) bool {
		return l.Mode == ModeExplicit && l.Address.Unix == "" && !l.TLS.IsServed() && len(l.ProxyProtocolFrom) == 0 && l.Address.TCP.Port() != 0
	})
	if i < 0 {
		return netip.AddrPort{}
	}
	at := c.Listen[i].Address.TCP
	if at.Addr().IsUnspecified() {
		local := netip.IPv6Loopback()
		if at.Addr().Is4() {
			local = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		return netip.AddrPortFrom(local, at.Port())
	}
	return at
}
