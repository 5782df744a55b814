package dial

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/miekg/dns"
)

const (
	resolvConf = "/etc/resolv.conf"
	// upstreamConf has the servers that systemd-resolved asks itself
	// (systemd-resolved.service(8)).
	upstreamConf = "/run/systemd/resolve/resolv.conf"
)

// systemServers gives the DNS servers of the system.
func systemServers() ([]netip.AddrPort, error) { return serversOf(resolvConf, upstreamConf) }

// serversOf reads a resolv.conf, or another one where that names the stub of
// systemd-resolved, which answers from the hosts file.
func serversOf(path, behindStub string) ([]netip.AddrPort, error) {
	servers, err := readServers(path)
	if err != nil || !isStub(servers[0]) {
		return servers, err
	}
	return readServers(behindStub)
}

func isStub(a netip.AddrPort) bool {
	return a.Addr() == netip.AddrFrom4([4]byte{127, 0, 0, 53}) || a.Addr() == netip.AddrFrom4([4]byte{127, 0, 0, 54})
}

// readServers gives at least one server.
func readServers(path string) ([]netip.AddrPort, error) {
	const cure = "name DNS servers in upstream.resolvers"
	c, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading which DNS servers to ask: %w; %s", err, cure)
	}
	port, err := strconv.ParseUint(c.Port, 10, 16)
	if err != nil {
		return nil, errors.New(path + " has a port that is none; " + cure)
	}
	var servers []netip.AddrPort
	for _, s := range c.Servers {
		if a, err := netip.ParseAddr(s); err == nil {
			servers = append(servers, netip.AddrPortFrom(a, uint16(port)))
		}
	}
	if len(servers) == 0 {
		return nil, errors.New(path + " names no DNS server; " + cure)
	}
	return servers, nil
}
