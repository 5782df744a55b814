package dial

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
)

// forbiddenRanges says the rules in another way than the code: as a list of
// ranges, in the old types of package net.
func forbiddenRanges(tb testing.TB) (v4, v6 []*net.IPNet) {
	for _, s := range []string{
		"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32",
		"168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32",
	} {
		v4 = append(v4, cidr(tb, s))
	}
	for _, s := range []string{"::/127", "fe80::/10", "ff00::/8", "fd00:ec2::254/128", "fd00:ec2::23/128", "fd20:ce::254/128"} {
		v6 = append(v6, cidr(tb, s))
	}
	return v4, v6
}

func cidr(tb testing.TB, s string) *net.IPNet {
	_, n, err := net.ParseCIDR(s)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func in(ranges []*net.IPNet, ip net.IP) bool {
	for _, r := range ranges {
		if r.Contains(ip) {
			return true
		}
	}
	return false
}

// spell writes an IPv4 address in one of the ways that IPv6 has for it. The
// free bits of the way, if any, are taken from more.
func spell(way uint8, a, b, c, d byte, more [4]byte) string {
	switch way % 12 {
	case 0:
		return fmt.Sprintf("%d.%d.%d.%d", a, b, c, d)
	case 1:
		return fmt.Sprintf("::ffff:%d.%d.%d.%d", a, b, c, d)
	case 2:
		return fmt.Sprintf("0:0:0:0:0:ffff:%02x%02x:%02x%02x", a, b, c, d)
	case 3:
		return fmt.Sprintf("::%d.%d.%d.%d", a, b, c, d)
	case 4:
		return fmt.Sprintf("::ffff:0:%d.%d.%d.%d", a, b, c, d)
	case 5:
		return fmt.Sprintf("64:ff9b::%d.%d.%d.%d", a, b, c, d)
	case 6:
		return fmt.Sprintf("2002:%02x%02x:%02x%02x:%02x%02x::%02x%02x", a, b, c, d, more[0], more[1], more[2], more[3])
	case 7:
		return fmt.Sprintf("2001:0:%02x%02x:%02x%02x:0:%02x%02x:%02x%02x:%02x%02x", more[0], more[1], more[2], more[3], more[0], more[1], a^0xff, b^0xff, c^0xff, d^0xff)
	case 8:
		return fmt.Sprintf("2001:db8:%02x%02x:%02x%02x:0200:5efe:%d.%d.%d.%d", more[0], more[1], more[2], more[3], a, b, c, d)
	case 9:
		return fmt.Sprintf("64:ff9b:1:%02x%02x:%02x%02x:0:%d.%d.%d.%d", more[0], more[1], 0, more[2], a, b, c, d)
	case 10:
		return fmt.Sprintf("64:ff9b:1:%02x%02x:%02x:%02x%02x::", a, b, c, d, 0)
	default:
		return fmt.Sprintf("64:ff9b:1:%02x%02x:%02x:%02x%02x:%02x00:0", more[0], more[1], a, b, c, d)
	}
}

// FuzzNoSpellingIsPermitted holds that an address which is forbidden as such is
// so in every spelling, and that being allowed in one spelling never allows
// what is forbidden for good.
func FuzzNoSpellingIsPermitted(f *testing.F) {
	for way := range uint8(12) {
		f.Add(way, byte(169), byte(254), byte(169), byte(254), uint32(0))
		f.Add(way, byte(168), byte(63), byte(129), byte(16), uint32(1))
		f.Add(way, byte(127), byte(0), byte(0), byte(1), uint32(1<<31))
		f.Add(way, byte(0), byte(0), byte(0), byte(0), uint32(0))
		f.Add(way, byte(20), byte(50), byte(1), byte(1), uint32(7))
	}
	v4, v6 := forbiddenRanges(f)
	never := []*net.IPNet{cidr(f, "169.254.169.254/32"), cidr(f, "168.63.129.16/32")}
	d := newDialer(f, Options{})
	lenient := newDialer(f, Options{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}})
	f.Fuzz(func(t *testing.T, way uint8, a, b, c, e byte, more uint32) {
		text := spell(way, a, b, c, e, [4]byte{byte(more >> 24), byte(more >> 16), byte(more >> 8), byte(more)})
		target := netip.AddrPortFrom(netip.MustParseAddr(text), 443)
		got := d.judge(target, nil, false)
		ip := net.IPv4(a, b, c, e)
		leadsNowhere := a == 0 || a >= 224 // where several layouts are read, zeros are no address
		if in(v4, ip) && got == permitted && !(way%12 >= 9 && leadsNowhere) {
			t.Errorf("%s is permitted, and is %v", text, ip)
		}
		if in(v6, net.ParseIP(text).To16()) && net.ParseIP(text).To4() == nil && got == permitted {
			t.Errorf("%s is permitted", text)
		}
		if way%12 <= 5 && !in(v4, ip) && got != permitted {
			t.Errorf("%s is refused as %s", text, got.reason())
		}
		for _, by := range []verdict{lenient.judge(target, nil, false), d.judge(target, nil, true)} {
			if in(never, ip) && by == permitted {
				t.Errorf("%s is permitted by the operator, and is %v", text, ip)
			}
		}
	})
}
