package dial

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// verdict says what an address or a name is.
type verdict uint8

const (
	permitted verdict = iota

	// Never a target, whatever the configuration says.
	oddSpelling
	zoned
	unspecified
	multicast
	broadcast
	instanceMetadata
	wireServer
	tokenEndpoint
	ownListener

	// A target by ConnectTo or Allow only. Here and below.
	loopback
	linkLocal
	otherMetadata
)

func (v verdict) onlyIfAllowed() bool { return v >= loopback }

// reason finishes the sentence "this address is ...".
func (v verdict) reason() string {
	switch v {
	case oddSpelling:
		return "no host name and no address in its usual spelling"
	case zoned:
		return "an address with a zone"
	case unspecified:
		return "the unspecified address"
	case multicast:
		return "a multicast address"
	case broadcast:
		return "the broadcast address"
	case instanceMetadata:
		return "the instance metadata service"
	case wireServer:
		return "Azure's WireServer"
	case tokenEndpoint:
		return "the endpoint that bearerd gets its tokens from"
	case ownListener:
		return "a listener of bearerd itself"
	case loopback:
		return "a loopback address"
	case linkLocal:
		return "a link-local address"
	case otherMetadata:
		return "a cloud's metadata service"
	default:
		return "permitted"
	}
}

// cure says what to do about a refusal.
func (v verdict) cure() string {
	switch {
	case v == oddSpelling:
		return "write the address as 192.0.2.1 or 2001:db8::1, or a host name of letters, digits, hyphens and dots"
	case v == zoned:
		return "call it directly (NO_PROXY)"
	case v == ownListener:
		return "where a hosts entry leads the name here, give its real address in upstream.connect_to, or name DNS servers that know it in upstream.resolvers"
	case v.onlyIfAllowed():
		return "call it directly (NO_PROXY), or allow it by upstream.allow_addresses or upstream.connect_to"
	case v == instanceMetadata || v == wireServer || v == tokenEndpoint:
		return "call it directly (NO_PROXY)"
	default:
		return "correct the name or its DNS record"
	}
}

// judge says whether target may be connected to, however its address is
// spelled; byOperator marks one that ConnectTo names. It does not allocate.
func (d *Dialer) judge(target netip.AddrPort, own []netip.AddrPort, byOperator bool) verdict {
	if target.Addr().Zone() != "" {
		return zoned
	}
	addr, port := target.Addr().Unmap(), target.Port()
	allowed := byOperator || d.allows(addr)
	v := d.judgeReading(addr, port, own)
	if v != permitted && !(allowed && v.onlyIfAllowed()) {
		return v
	}
	if addr.Is4() || addr == netip.IPv6Loopback() {
		return permitted
	}
	// A translator or a tunnel on the way may make an IPv4 connection of it.
	bytes := addr.As16()
	if v := judgeTranslated(&bytes); v != permitted {
		return v
	}
	readings, n, sure := embedded(&bytes)
	for _, reading := range readings[:n] {
		v := d.judgeReading(reading, port, own)
		if v == permitted || (allowed && v.onlyIfAllowed()) {
			continue
		}
		if !sure && (v == unspecified || v == multicast || v == broadcast) {
			continue // the zeros and prefix of another layout; it leads nowhere besides
		}
		return v
	}
	return permitted
}

// judgeReading judges one address, which is unmapped and has no zone.
func (d *Dialer) judgeReading(addr netip.Addr, port uint16, own []netip.AddrPort) verdict {
	v := classify(addr)
	if v != permitted && !v.onlyIfAllowed() {
		return v
	}
	for _, m := range d.metadata {
		if m.Addr() == addr && m.Port() == port {
			return tokenEndpoint
		}
	}
	if d.isOwn(addr, port, own) {
		return ownListener
	}
	return v
}

func (d *Dialer) allows(addr netip.Addr) bool {
	for _, p := range d.allow {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// isOwn reports whether we listen on addr and port, also by a listener on all
// addresses.
func (d *Dialer) isOwn(addr netip.Addr, port uint16, own []netip.AddrPort) bool {
	everywhere := false
	for _, o := range own {
		if o.Port() != port {
			continue
		}
		o = plain(o)
		if o.Addr() == addr {
			return true
		}
		everywhere = everywhere || o.Addr().IsUnspecified()
	}
	return everywhere && d.isLocal(addr)
}

// isLocal reports whether addr is one of this machine's. Where that cannot be
// found out, it says yes.
func (d *Dialer) isLocal(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	addrs, err := d.interfaces()
	if err != nil {
		return true
	}
	for _, a := range addrs {
		ipnet, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if local, ok := netip.AddrFromSlice(ipnet.IP); ok && local.Unmap() == addr {
			return true
		}
	}
	return false
}

// judgeConnection judges where a connection really leads, before a byte is sent
// over it. The kernel may have changed the address: it takes 0.0.0.0 for
// loopback, and programs that a cluster hooks into connect choose a backend.
func (d *Dialer) judgeConnection(conn net.Conn, byOperator bool) (netip.Addr, verdict) {
	local, ok := conn.LocalAddr().(*net.TCPAddr)
	remote, ok2 := conn.RemoteAddr().(*net.TCPAddr)
	if !ok || !ok2 {
		return netip.Addr{}, permitted // no TCP, which connect alone gives
	}
	own, target := d.own(), plain(remote.AddrPort())
	if v := d.judge(target, own, byOperator); v != permitted {
		return target.Addr(), v
	}
	// A "local" route makes a whole prefix ours, which no interface lists. The
	// kernel gives both ends of such a connection the same address.
	if local.IP.Equal(remote.IP) && slices.ContainsFunc(own, func(o netip.AddrPort) bool {
		return o.Port() == target.Port() && plain(o).Addr().IsUnspecified()
	}) {
		return target.Addr(), ownListener
	}
	return target.Addr(), permitted
}

// judgeName refuses what is no plain host name before a resolver sees it. Some
// resolvers read "0x7f.1", "2130706433" and "0177.0.0.1" as addresses; no
// top-level domain looks like a number (RFC 3696, section 2), so nothing is lost.
func judgeName(name string) verdict {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return oddSpelling
	}
	label := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if label == 0 {
				return oddSpelling
			}
			label = 0
			continue
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			label++
		default:
			return oddSpelling
		}
	}
	if label == 0 || isNumber(name[len(name)-label:]) {
		return oddSpelling
	}
	return permitted
}

// isNumber reports whether inet_aton could take a label for a number: decimal,
// octal or hexadecimal.
func isNumber(label string) bool {
	digits := "0123456789"
	if len(label) >= 2 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X') {
		label, digits = label[2:], "0123456789abcdefABCDEF"
	}
	return strings.Trim(label, digits) == ""
}
