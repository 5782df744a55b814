package dial

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// spellings lists addresses, each in one of its spellings, with what they are.
var spellings = []struct {
	address string
	want    verdict
}{
	{"20.50.1.1", permitted},
	{"10.0.0.5", permitted},
	{"::ffff:10.0.0.5", permitted},
	{"2603:1030::1", permitted},
	{"2001:db8::5", permitted},
	{"64:ff9b::10.0.0.5", permitted},
	{"64:ff9b:1::10.0.0.5", permitted},
	{"64:ff9b:1:e000::10.0.0.5", permitted},
	{"64:ff9b:1:a00:0:500::", permitted},
	{"2002:a00:5::1", permitted},
	{"fd00::1", permitted},

	{"169.254.169.254", instanceMetadata},
	{"::ffff:169.254.169.254", instanceMetadata},
	{"::ffff:a9fe:a9fe", instanceMetadata},
	{"::169.254.169.254", instanceMetadata},
	{"::ffff:0:169.254.169.254", instanceMetadata},
	{"64:ff9b::169.254.169.254", instanceMetadata},
	{"64:ff9b:1::169.254.169.254", instanceMetadata},
	{"64:ff9b:1:a9fe:a9:fe00::", instanceMetadata},
	{"64:ff9b:1:a9:fe:a9fe::", instanceMetadata},
	{"64:ff9b:1:0:a9:fea9:fe00::", instanceMetadata},
	{"2002:a9fe:a9fe::1", instanceMetadata},
	{"2001:0:a9fe:a9fe::1", instanceMetadata},
	{"2001:0:1414:1414:0:1234:5601:5601", instanceMetadata},
	{"2001:db8::5efe:169.254.169.254", instanceMetadata},
	{"fe80::200:5efe:169.254.169.254", linkLocal},
	{"2001:db8:64::169.254.169.254", instanceMetadata}, // a network's own NAT64, /96
	{"2001:db8:a9fe:a9fe::", instanceMetadata},         // /32
	{"2001:db8:a9:fea9:fe::", instanceMetadata},        // /40
	{"2001:db8:1:0:a9:fea9:fe00::", instanceMetadata},  // /64
	{"168.63.129.16", wireServer},
	{"::ffff:168.63.129.16", wireServer},
	{"64:ff9b::a83f:8110", wireServer},
	{"2002:a83f:8110::", wireServer},

	{"127.0.0.1", loopback},
	{"127.255.0.3", loopback},
	{"::1", loopback},
	{"::ffff:127.0.0.1", loopback},
	{"::127.0.0.1", loopback},
	{"64:ff9b::127.0.0.1", loopback},
	{"64:ff9b:1:0:7f:1::", loopback},
	{"2002:7f00:1::", loopback},
	{"2001:0:7f00:1::", loopback},
	{"::ffff:0:127.0.0.1", loopback},
	{"169.254.1.1", linkLocal},
	{"fe80::1", linkLocal},
	{"febf::1", linkLocal},
	{"64:ff9b::169.254.10.10", linkLocal},
	{"100.100.100.200", otherMetadata},
	{"192.0.0.192", otherMetadata},
	{"fd00:ec2::254", otherMetadata},
	{"fd00:ec2::23", otherMetadata},
	{"fd20:ce::254", otherMetadata},
	{"::ffff:100.100.100.200", otherMetadata},

	{"0.0.0.0", unspecified},
	{"0.1.2.3", unspecified},
	{"::", unspecified},
	{"::ffff:0.0.0.0", unspecified},
	{"64:ff9b::", unspecified},
	{"::5", unspecified},
	{"224.0.0.1", multicast},
	{"239.255.255.250", multicast},
	{"ff02::1", multicast},
	{"::ffff:224.0.0.1", multicast},
	{"255.255.255.255", broadcast},
	{"64:ff9b::255.255.255.255", broadcast},
	{"fe80::1%eth0", zoned},
	{"2001:db8::1%1", zoned},
	{"::ffff:10.0.0.5%eth0", zoned},
}

func TestEverySpellingOfAnAddressIsJudged(t *testing.T) {
	for _, tc := range spellings {
		t.Run(tc.address, func(t *testing.T) {
			// Given as it is, and as what a name resolves to.
			for _, addr := range []string{net.JoinHostPort(tc.address, "443"), "vault.example:443"} {
				d := newDialer(t, Options{Resolver: resolving("vault.example", []string{tc.address})})
				went := recording(d)
				conn, err := d.DialContext(t.Context(), "tcp", addr)
				if tc.want == permitted {
					if err != nil {
						t.Fatalf("%s: %v", addr, err)
					}
					conn.Close()
					if want := netip.AddrPortFrom(netip.MustParseAddr(tc.address).Unmap(), 443); len(*went) != 1 || (*went)[0] != want {
						t.Errorf("%s: connected to %v, want %v alone", addr, *went, want)
					}
					continue
				}
				var forbidden *ForbiddenError
				if !errors.As(err, &forbidden) {
					t.Fatalf("%s: %v, want a ForbiddenError", addr, err)
				}
				if forbidden.Target != addr || forbidden.Address != netip.MustParseAddr(tc.address) || forbidden.Reason != tc.want.reason() {
					t.Errorf("%s: %+v, want the reason %q", addr, forbidden, tc.want.reason())
				}
				if len(*went) != 0 {
					t.Errorf("%s: connected to %v", addr, *went)
				}
			}
		})
	}
}

func TestAllowReachesNoFurtherThanItSays(t *testing.T) {
	allow := []netip.Prefix{
		netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("169.254.0.0/16"),
		netip.MustParsePrefix("100.100.100.200/32"), netip.MustParsePrefix("64:ff9b::/96"),
	}
	d := newDialer(t, Options{
		Allow:    allow,
		Own:      func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8180")} },
		Metadata: []netip.AddrPort{netip.MustParseAddrPort("[::ffff:127.0.0.1]:40342")},
	})
	for addr, want := range map[string]verdict{
		"127.0.0.1:5432":                permitted,
		"[::ffff:127.0.0.1]:5432":       permitted,
		"[::1]:5432":                    permitted,
		"169.254.10.10:53":              permitted,
		"100.100.100.200:80":            permitted,
		"[64:ff9b::127.0.0.1]:80":       permitted, // the translator's loopback, named by its own range
		"127.0.0.2:5432":                loopback,
		"[::127.0.0.1]:5432":            loopback,
		"[2002:7f00:1::]:80":            loopback,
		"[fe80::1]:80":                  linkLocal,
		"169.254.169.254:80":            instanceMetadata,
		"169.254.169.254:8443":          instanceMetadata,
		"[64:ff9b::169.254.169.254]:80": instanceMetadata,
		"127.0.0.1:8180":                ownListener,
		"[::ffff:127.0.0.1]:8180":       ownListener,
		"[64:ff9b::127.0.0.1]:8180":     ownListener,
		"127.0.0.1:40342":               tokenEndpoint,
		"[64:ff9b::127.0.0.1]:40342":    tokenEndpoint,
	} {
		if got := d.judge(netip.MustParseAddrPort(addr), d.own(), false); got != want {
			t.Errorf("%s: %s, want %s", addr, got.reason(), want.reason())
		}
	}
}

func TestOurOwnListenersAreNeverATarget(t *testing.T) {
	own := []netip.AddrPort{
		netip.MustParseAddrPort("10.0.0.4:8443"),
		netip.MustParseAddrPort("0.0.0.0:8180"),
		netip.MustParseAddrPort("[::]:9180"),
		netip.MustParseAddrPort("[fe80::4%eth0]:7000"),
	}
	d := newDialer(t, Options{Own: func() []netip.AddrPort { return own }})
	d.interfaces = func() ([]net.Addr, error) {
		return []net.Addr{
			&net.IPNet{IP: net.IPv4(10, 0, 0, 4), Mask: net.CIDRMask(24, 32)},
			&net.IPNet{IP: net.ParseIP("2001:db8::4"), Mask: net.CIDRMask(64, 128)},
		}, nil
	}
	for addr, want := range map[string]verdict{
		"10.0.0.4:8443":            ownListener,
		"[::ffff:10.0.0.4]:8443":   ownListener,
		"[64:ff9b::10.0.0.4]:8443": ownListener,
		"10.0.0.5:8443":            permitted,
		"10.0.0.4:443":             permitted,
		"10.0.0.4:8180":            ownListener,
		"10.0.0.5:8180":            permitted,
		"127.0.0.1:8180":           ownListener,
		"127.3.2.1:8180":           ownListener,
		"[2001:db8::4]:8180":       ownListener,
		"[::1]:8180":               ownListener,
		"10.0.0.4:9180":            ownListener,
		"[2001:db8::4]:9180":       ownListener,
		"[2001:db8::5]:9180":       permitted,
		"[fe80::4]:7000":           ownListener,
	} {
		for _, byOperator := range []bool{false, true} {
			if got := d.judge(netip.MustParseAddrPort(addr), own, byOperator); got != want {
				t.Errorf("%s, by the operator %v: %s, want %s", addr, byOperator, got.reason(), want.reason())
			}
		}
	}
	d.interfaces = func() ([]net.Addr, error) { return nil, errors.New("no netlink") }
	if got := d.judge(netip.MustParseAddrPort("10.9.9.9:8180"), own, true); got != ownListener {
		t.Errorf("with the interfaces unknown: %s, want it refused", got.reason())
	}
}

func TestOddSpellingsNeverReachAResolver(t *testing.T) {
	for _, host := range []string{
		"2130706433", "0x7f000001", "0x7f.1", "127.1", "127.0.1", "0177.0.0.1", "127.0.0.01", "017700000001",
		"0xa9.0xfe.0xa9.0xfe", "2852039166", "169.254.43518", "0XA9FEA9FE", "1.2.3.4.5", "example.123", "vault.0x1f", "vault.0x", "127.0.0.1.",
		"169.254.169.254.", "1", ".", "..", "a..b", ".a", "vault.example..", "vault example", "vault.example\x00", "vault.example%00", "user@vault.example",
		"vault\u3002example", "１２７.0.0.1", "ⓛocalhost", "[::1", "::1]", "fe80::g", strings.Repeat("a.", 127) + "aa",
	} {
		resolver := resolving(host, []string{"10.0.0.5"})
		d := newDialer(t, Options{Resolver: resolver})
		recording(d)
		_, err := d.DialContext(t.Context(), "tcp", "["+host+"]:443")
		var forbidden *ForbiddenError
		if !errors.As(err, &forbidden) || forbidden.Reason != oddSpelling.reason() {
			if !strings.ContainsAny(host, "[]") || err == nil { // net.SplitHostPort refuses these itself
				t.Errorf("%q: %v, want it refused", host, err)
			}
		}
		if n := resolver.asked.Load(); n != 0 {
			t.Errorf("%q was resolved", host)
		}
	}
	for _, host := range []string{"vault.example", "Vault.Example.", "localhost", "_srv.a-b.example", "1.example", "0x7f.example", "x0", "0xg", "a.1b", "xn--bcher-kva.example"} {
		resolver := resolving(host, []string{"10.0.0.5"})
		d := newDialer(t, Options{Resolver: resolver})
		recording(d)
		conn, err := d.DialContext(t.Context(), "tcp", host+":443")
		if err != nil {
			t.Errorf("%q: %v", host, err)
			continue
		}
		conn.Close()
		if resolver.last.Load() != host {
			t.Errorf("%q was resolved as %q", host, resolver.last.Load())
		}
	}
}

func TestErrorsAreBoundedAndSayWhatToDo(t *testing.T) {
	for want, err := range map[string]error{
		`"localhost:8080" leads to 127.0.0.1, a loopback address, and bearerd does not connect there; ` +
			`call it directly (NO_PROXY), or allow it by upstream.allow_addresses or upstream.connect_to`: forbidden("localhost:8080", netip.MustParseAddr("127.0.0.1"), loopback),
		`"169.254.169.254:80" leads to 169.254.169.254, the instance metadata service, and bearerd does not connect there; ` +
			`call it directly (NO_PROXY)`: forbidden("169.254.169.254:80", netip.MustParseAddr("169.254.169.254"), instanceMetadata),
		`"vault.azure.net:443" leads to 127.0.0.1, a listener of bearerd itself, and bearerd does not connect there; ` +
			`where a hosts entry leads the name here, give its real address in upstream.connect_to, or name DNS servers that know it in upstream.resolvers`: forbidden("vault.azure.net:443", netip.MustParseAddr("127.0.0.1"), ownListener),
		`"0x7f.1:80" is no host name and no address in its usual spelling, and bearerd does not connect there; ` +
			`write the address as 192.0.2.1 or 2001:db8::1, or a host name of letters, digits, hyphens and dots`: forbidden("0x7f.1:80", netip.Addr{}, oddSpelling),
	} {
		if got := err.Error(); got != want {
			t.Errorf("got:  %s\nwant: %s", got, want)
		}
	}
	long := forbidden("\n\x1b\u202e"+strings.Repeat("x", 1<<20), netip.Addr{}, oddSpelling).Error()
	if len(long) > 700 || strings.ContainsAny(long, "\n\x1b\u202e") {
		t.Errorf("an error of %d bytes: %.80q", len(long), long)
	}
	// Each verdict has words of its own.
	seen := map[string]verdict{}
	for v := oddSpelling; v <= otherMetadata; v++ {
		if v.reason() == permitted.reason() || v.cure() == "" {
			t.Errorf("verdict %d has no words", v)
		}
		if twin, ok := seen[v.reason()]; ok {
			t.Errorf("verdicts %d and %d have the same reason", v, twin)
		}
		seen[v.reason()] = v
	}
}

// judgeAll is what the allocation test and the benchmark measure: an ordinary
// target, in both families, beside a few listeners of ours.
func judgeAll(d *Dialer, own []netip.AddrPort, targets []netip.AddrPort) (bad int) {
	for _, target := range targets {
		if d.judge(target, own, false) != permitted {
			bad++
		}
	}
	return bad
}

func judgeSetUp(tb testing.TB) (*Dialer, []netip.AddrPort, []netip.AddrPort) {
	d := newDialer(tb, Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}})
	own := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8180"), netip.MustParseAddrPort("127.0.0.1:9180"), netip.MustParseAddrPort("0.0.0.0:8443")}
	targets := []netip.AddrPort{netip.MustParseAddrPort("20.50.1.1:443"), netip.MustParseAddrPort("[2603:1030::1]:443"), netip.MustParseAddrPort("[64:ff9b:1::10.0.0.5]:443")}
	return d, own, targets
}

func TestJudgingDoesNotAllocate(t *testing.T) {
	d, own, targets := judgeSetUp(t)
	if bad := judgeAll(d, own, targets); bad != 0 {
		t.Fatalf("%d of the targets are not permitted", bad)
	}
	if n := testing.AllocsPerRun(100, func() { judgeAll(d, own, targets) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkJudge(b *testing.B) {
	d, own, targets := judgeSetUp(b)
	b.ReportAllocs()
	for b.Loop() {
		judgeAll(d, own, targets)
	}
}
