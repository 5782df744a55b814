package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
)

// hostsFile looks where the machine's hosts file leads the routed hosts. An entry
// is what steers an app to a transparent listener, or what keeps it from the
// service.
func (e *examination) hostsFile(context.Context) (found []finding) {
	text, err := os.ReadFile(e.hostsPath)
	if err != nil {
		return nil // no file, no entries
	}
	for line := range strings.Lines(string(text)) {
		entry, _, _ := strings.Cut(line, "#")
		fields := strings.Fields(entry)
		if len(fields) < 2 {
			continue
		}
		ip, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		for _, name := range fields[1:] {
			host := strings.TrimSuffix(strings.ToLower(name), ".")
			if e.table.Named(host) {
				found = append(found, e.entry(host, ip.Unmap()))
			}
		}
	}
	return found
}

// entry judges the hosts file's address of a routed host.
func (e *examination) entry(host string, ip netip.Addr) finding {
	const check = "hosts file"
	port, transparent := e.transparentAt(ip)
	switch {
	case transparent && port == 443:
		return finding{Check: check, Subject: host, Seen: fmt.Sprintf("%s leads it to the transparent listener on %s", e.hostsPath, ip)}
	case transparent:
		return finding{
			Check: check, Level: levelFail, Subject: host,
			Seen: fmt.Sprintf("%s leads it to %s, where the transparent listener has port %d and apps call 443", e.hostsPath, ip, port),
			Do:   "have the listener on " + net.JoinHostPort(ip.String(), "443") + ", or take the entry out if nftables is to lead there",
		}
	case ip.IsLoopback():
		return finding{
			Check: check, Level: levelFail, Subject: host,
			Seen: fmt.Sprintf("%s leads it to %s, where no transparent listener is", e.hostsPath, ip),
			Do:   "add a listener (mode: transparent) on " + net.JoinHostPort(ip.String(), "443") + ", or take the entry out",
		}
	}
	return finding{
		Check: check, Level: levelNote, Subject: host,
		Seen: fmt.Sprintf("%s gives it the address %s; with a transparent listener, or upstream.resolvers, bearerd passes that by", e.hostsPath, ip),
	}
}

// transparentAt gives the port of the transparent listener that takes connections
// to an address; 443 where there are several.
func (e *examination) transparentAt(ip netip.Addr) (port uint16, ok bool) {
	for _, l := range e.config.Listen {
		at := l.Address.TCP
		if l.Mode != daemon.ModeTransparent || !at.IsValid() {
			continue
		}
		if a := at.Addr().Unmap(); a != ip && !a.IsUnspecified() {
			continue
		}
		if !ok || at.Port() == 443 {
			port, ok = at.Port(), true
		}
	}
	return port, ok
}
