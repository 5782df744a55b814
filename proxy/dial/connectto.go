package dial

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// parseConnectTo checks Options.ConnectTo and folds its keys.
func (d *Dialer) parseConnectTo(entries map[string]string) (map[string]netip.AddrPort, error) {
	parsed := make(map[string]netip.AddrPort, len(entries))
	for _, key := range slices.Sorted(maps.Keys(entries)) { // so that the first error is always the same one
		folded, err := parseConnectToKey(key)
		if err != nil {
			return nil, fmt.Errorf("connect_to: %s: %w", quote(key), err)
		}
		if _, twice := parsed[folded]; twice {
			return nil, fmt.Errorf("connect_to: %s is named twice; keep one", quote(folded))
		}
		target, err := netip.ParseAddrPort(entries[key])
		if err != nil || target.Port() == 0 || target.Addr().Zone() != "" {
			return nil, fmt.Errorf("connect_to: %s: %s is no address and port; write it as 10.0.0.5:443 or [2001:db8::5]:443", quote(key), quote(entries[key]))
		}
		target = plain(target)
		if v := d.judge(target, nil, true); v != permitted {
			return nil, fmt.Errorf("connect_to: %s: %v is %s, which is never connected to; remove the entry", quote(key), target, v.reason())
		}
		parsed[folded] = target
	}
	return parsed, nil
}

// parseConnectToKey folds "host", "host:port" and the same with an address.
func parseConnectToKey(key string) (string, error) {
	host, port, err := splitTarget(key)
	if err != nil {
		host, port = key, 0
		if inner, ok := strings.CutPrefix(key, "["); ok {
			host = strings.TrimSuffix(inner, "]")
		}
	}
	addr, notAddress := netip.ParseAddr(host)
	if addr.Zone() != "" || (notAddress != nil && judgeName(host) != permitted) {
		return "", errors.New("it is no host, nor a host and a port; write it as vault.example or vault.example:443")
	}
	if port == 0 {
		return foldHost(host), nil
	}
	return connectToKey(host, port), nil
}

// connectToKey is how one port of a host is looked up.
func connectToKey(host string, port uint16) string {
	return net.JoinHostPort(foldHost(host), strconv.Itoa(int(port)))
}

func (d *Dialer) lookupConnectTo(host string, port uint16) (netip.AddrPort, bool) {
	if len(d.connectTo) == 0 {
		return netip.AddrPort{}, false
	}
	if target, ok := d.connectTo[connectToKey(host, port)]; ok {
		return target, true
	}
	target, ok := d.connectTo[foldHost(host)]
	return target, ok
}
