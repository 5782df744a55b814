package dial

import "net/netip"

// The addresses that never are a target on any port: they hand out the
// machine's identity, configuration and secrets.
// https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service
// https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
func isInstanceMetadata(a netip.Addr) bool {
	return a == netip.AddrFrom4([4]byte{169, 254, 169, 254})
}

func isWireServer(a netip.Addr) bool {
	return a == netip.AddrFrom4([4]byte{168, 63, 129, 16})
}

// isOtherMetadata reports the metadata services of other clouds that are
// neither link-local nor loopback, for machines that get an Azure identity by
// federation: AWS (Nitro instances and EKS pods), Google, Alibaba and Oracle.
func isOtherMetadata(a netip.Addr) bool {
	switch a {
	case netip.AddrFrom16([16]byte{0xfd, 0x00, 0x0e, 0xc2, 14: 0x02, 15: 0x54}), // fd00:ec2::254
		netip.AddrFrom16([16]byte{0xfd, 0x00, 0x0e, 0xc2, 15: 0x23}),           // fd00:ec2::23
		netip.AddrFrom16([16]byte{0xfd, 0x20, 0x00, 0xce, 14: 0x02, 15: 0x54}), // fd20:ce::254
		netip.AddrFrom4([4]byte{100, 100, 100, 200}),
		netip.AddrFrom4([4]byte{192, 0, 0, 192}):
		return true
	}
	return false
}

// classify says what an unmapped address is by itself.
func classify(a netip.Addr) verdict {
	switch {
	case !a.IsValid(), a.IsUnspecified():
		return unspecified
	case a.Is4() && a.As4()[0] == 0: // "this network" (RFC 1122, section 3.2.1.3)
		return unspecified
	case a.IsMulticast():
		return multicast
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return broadcast
	case isInstanceMetadata(a):
		return instanceMetadata
	case isWireServer(a):
		return wireServer
	case a.IsLoopback():
		return loopback
	case a.IsLinkLocalUnicast():
		return linkLocal
	case isOtherMetadata(a):
		return otherMetadata
	default:
		return permitted
	}
}

// judgeTranslated refuses an IPv6 address that some NAT64 would translate to
// IMDS or the WireServer. A network may choose any prefix for its translator,
// so each place where one can put the IPv4 address is read (RFC 6052, section
// 2.2); an innocent address reads so with a chance below one in 10^8.
func judgeTranslated(a *[16]byte) verdict {
	for _, prefix := range [...]int{32, 40, 48, 56, 64, 96} {
		v4 := readRFC6052(a, prefix)
		switch {
		case isInstanceMetadata(v4):
			return instanceMetadata
		case isWireServer(v4):
			return wireServer
		}
	}
	return permitted
}

// readRFC6052 reads the IPv4 address behind a prefix of so many bits. It flows
// around bits 64 to 71, which are kept zero.
func readRFC6052(a *[16]byte, prefix int) netip.Addr {
	var v4 [4]byte
	at := prefix / 8
	for i := range v4 {
		if at == 8 {
			at++
		}
		v4[i] = a[at]
		at++
	}
	return netip.AddrFrom4(v4)
}

// embedded gives the IPv4 addresses that are part of an IPv6 address by its
// prefix. It is not sure where the prefix leaves open which of them is meant.
func embedded(a *[16]byte) (readings [4]netip.Addr, n int, sure bool) {
	last := netip.AddrFrom4([4]byte(a[12:16]))
	switch {
	case [12]byte(a[:12]) == [12]byte{}, // IPv4-compatible (RFC 4291, section 2.5.5.1)
		[12]byte(a[:12]) == [12]byte{8: 0xff, 9: 0xff},       // IPv4-translated (RFC 2765, section 2.1)
		[12]byte(a[:12]) == [12]byte{0x00, 0x64, 0xff, 0x9b}, // NAT64 (RFC 6052, section 2.1)
		[4]byte(a[8:12]) == [4]byte{0, 0, 0x5e, 0xfe},        // ISATAP (RFC 5214, section 6.1)
		[4]byte(a[8:12]) == [4]byte{2, 0, 0x5e, 0xfe}:        // ISATAP, globally unique
		return [4]netip.Addr{last}, 1, true
	case [6]byte(a[:6]) == [6]byte{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}: // local NAT64 (RFC 8215)
		return [4]netip.Addr{readRFC6052(a, 48), readRFC6052(a, 56), readRFC6052(a, 64), last}, 4, false
	case a[0] == 0x20 && a[1] == 0x02: // 6to4 (RFC 3056, section 2)
		return [4]netip.Addr{netip.AddrFrom4([4]byte(a[2:6]))}, 1, true
	case [4]byte(a[:4]) == [4]byte{0x20, 0x01}: // Teredo: server, and client inverted (RFC 4380, section 4)
		client := netip.AddrFrom4([4]byte{^a[12], ^a[13], ^a[14], ^a[15]})
		return [4]netip.Addr{netip.AddrFrom4([4]byte(a[4:8])), client}, 2, true
	}
	return readings, 0, true
}
