// Package dial is bearerd's only way out: one resolver, one dialer and one list
// of forbidden addresses.
//
// Callers choose where a tunnel goes, and we connect with our own user's rights
// from our own machine. So what a name resolved to is judged, never the name,
// and the very address that was judged is connected to: an answer that changes
// between the two (DNS rebinding) changes nothing.
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Resolver turns a host name into addresses; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options are what a Dialer is made of. The zero value connects anywhere but to
// forbidden addresses.
type Options struct {
	// ConnectTo names the address and port to connect to in place of a host
	// ("vault.example") or of one port of it ("vault.example:443", which wins
	// over the host alone). The operator answers for these: they may be
	// loopback and link-local ones.
	ConnectTo map[string]string
	// Allow holds the loopback, link-local and metadata addresses that callers
	// may reach; none by default.
	Allow []netip.Prefix
	// Own gives the addresses that we listen on, which are never a target.
	// It must be safe for concurrent use. Nil: none.
	Own func() []netip.AddrPort
	// Metadata names further token endpoints, which are never a target either:
	// imds.endpoint, where it is not 169.254.169.254.
	Metadata []netip.AddrPort
	Resolver Resolver      // nil: Go's own, with the system's hosts file and DNS servers
	Timeout  time.Duration // for a whole call of DialContext; 0: 10 s
}

const (
	defaultTimeout = 10 * time.Second
	// maxTargets bounds how many connections one call can make us try, for
	// whoever owns the name chooses the list.
	maxTargets = 16
)

// Dialer connects to what is not forbidden. New makes one; it is safe for
// concurrent use and needs no closing.
type Dialer struct {
	connectTo map[string]netip.AddrPort
	allow     []netip.Prefix
	own       func() []netip.AddrPort
	metadata  []netip.AddrPort
	resolver  Resolver
	timeout   time.Duration

	interfaces func() ([]net.Addr, error)
	connect    func(ctx context.Context, target netip.AddrPort) (net.Conn, error)
}

// New makes a Dialer. An error says which option is wrong and what to write.
func New(o Options) (*Dialer, error) {
	d := &Dialer{
		own:        o.Own,
		resolver:   o.Resolver,
		timeout:    o.Timeout,
		interfaces: net.InterfaceAddrs,
		connect:    connect,
	}
	if d.own == nil {
		d.own = func() []netip.AddrPort { return nil }
	}
	if d.resolver == nil {
		d.resolver = &net.Resolver{PreferGo: true}
	}
	if d.timeout == 0 {
		d.timeout = defaultTimeout
	}
	for _, m := range o.Metadata {
		if !m.IsValid() {
			return nil, fmt.Errorf("a metadata endpoint is no address and port: %v", m)
		}
		d.metadata = append(d.metadata, plain(m))
	}
	for _, p := range o.Allow {
		if !p.IsValid() || p.Addr().Is4In6() {
			return nil, fmt.Errorf("allow_addresses: %v is no range of addresses; write it as 127.0.0.1/32 or ::1/128", p)
		}
		d.allow = append(d.allow, p.Masked())
	}
	var err error
	d.connectTo, err = d.parseConnectTo(o.ConnectTo)
	return d, err
}

// DialContext connects to addr, a host and a port, over TCP. Network must be
// "tcp". The connection is a *net.TCPConn.
//
// The error is or wraps a *ForbiddenError where addr may not be reached, a
// *net.DNSError where its name was not resolved, or else what net.Dialer gives.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if network != "tcp" {
		return nil, fmt.Errorf("connect to %s: %w", quote(addr), net.UnknownNetworkError(network))
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	targets, byOperator, err := d.targets(ctx, addr)
	if err != nil {
		return nil, err
	}
	conn, err := d.race(ctx, targets)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", quote(addr), err)
	}
	if remote, v := d.judgeConnection(conn, byOperator); v != permitted {
		conn.Close()
		return nil, forbidden(addr, remote, v)
	}
	return conn, nil
}

// targets gives the permitted addresses of addr, best first, and at least one;
// byOperator says that ConnectTo names it.
func (d *Dialer) targets(ctx context.Context, addr string) (targets []netip.AddrPort, byOperator bool, err error) {
	host, port, err := splitTarget(addr)
	if err != nil {
		return nil, false, fmt.Errorf("connect to %s: %w", quote(addr), err)
	}
	if target, ok := d.lookupConnectTo(host, port); ok {
		if v := d.judge(target, d.own(), true); v != permitted {
			return nil, true, forbidden(addr, target.Addr(), v)
		}
		return []netip.AddrPort{target}, true, nil
	}
	found, err := d.addresses(ctx, addr, host)
	if err != nil {
		return nil, false, err
	}
	own := d.own()
	targets = make([]netip.AddrPort, 0, len(found))
	var refused error
	for _, a := range found {
		target := netip.AddrPortFrom(a, port)
		if v := d.judge(target, own, false); v != permitted {
			if refused == nil {
				refused = forbidden(addr, a, v)
			}
			continue
		}
		targets = append(targets, plain(target))
	}
	if len(targets) == 0 {
		return nil, false, refused
	}
	targets = interleave(targets)
	return targets[:min(len(targets), maxTargets)], false, nil
}

// addresses gives what host is or resolves to, at least one address.
func (d *Dialer) addresses(ctx context.Context, addr, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if v := judgeName(host); v != permitted {
		return nil, forbidden(addr, netip.Addr{}, v)
	}
	found, err := d.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", quote(addr), err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("connect to %s: %w", quote(addr),
			&net.DNSError{Err: "no address", Name: host, IsNotFound: true})
	}
	return found, nil
}

// splitTarget takes "host:port" apart.
func splitTarget(addr string) (host string, port uint16, err error) {
	host, digits, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, errors.New("the target is no host and port")
	}
	if host == "" {
		return "", 0, errors.New("the target has no host")
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return "", 0, errors.New("the port is not between 1 and 65535")
	}
	return host, uint16(n), nil
}

// plain gives the one spelling of an address and port by which they are
// compared.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// foldHost gives the one spelling of a host by which ConnectTo is looked up.
func foldHost(host string) string {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
