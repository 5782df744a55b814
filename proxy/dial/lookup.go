package dial

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// Lookup gives where a connection to addr, a host and a port, would be tried,
// best first, and whether ConnectTo says so. Its errors are DialContext's.
func (d *Dialer) Lookup(ctx context.Context, addr string) (targets []netip.AddrPort, byOperator bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	return d.targets(ctx, addr)
}

// Aliases gives the names that a name is an alias of, in the order in which they
// follow one another, as the servers tell them; none where it is no alias.
func (d *DNS) Aliases(ctx context.Context, host string) (aliases []string, err error) {
	servers, err := d.servers()
	if err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: host}
	}
	servers = servers[:min(len(servers), maxServers)]
	name := strings.ToLower(dns.Fqdn(host))
	var known []dns.RR
	for len(aliases) < maxAliases {
		next := aliasOf(known, name)
		if next == "" {
			r, err := exchange(ctx, servers, name, dns.TypeA)
			if err != nil {
				return aliases, err
			}
			if known = r.Answer; aliasOf(known, name) == "" {
				return aliases, nil
			}
			continue
		}
		name = strings.ToLower(next)
		aliases = append(aliases, strings.TrimSuffix(name, "."))
	}
	return aliases, nil
}

// aliasOf gives what the records say that a name is an alias of; "" for none.
func aliasOf(records []dns.RR, name string) string {
	for _, rr := range records {
		if c, ok := rr.(*dns.CNAME); ok && strings.EqualFold(c.Hdr.Name, name) {
			return c.Target
		}
	}
	return ""
}
