package dial

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestForbiddenAddressesAreDroppedFromAnAnswer(t *testing.T) {
	d := newDialer(t, Options{Resolver: resolving("mixed.example", []string{"127.0.0.1", "fe80::1", "10.0.0.5", "169.254.169.254"})})
	went := recording(d)
	conn, err := d.DialContext(t.Context(), "tcp", "mixed.example:443")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if len(*went) != 1 || (*went)[0] != netip.MustParseAddrPort("10.0.0.5:443") {
		t.Errorf("connected to %v", *went)
	}
}

func TestAnAnswerThatChangesAfterTheCheckChangesNothing(t *testing.T) {
	// The attacker's DNS gives a harmless address to the check, and IMDS's to
	// whoever asks again.
	resolver := resolving("rebind.example", []string{"20.50.1.1"}, []string{"169.254.169.254"})
	d := newDialer(t, Options{Resolver: resolver})
	went := recording(d)
	conn, err := d.DialContext(t.Context(), "tcp", "rebind.example:80")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if n := resolver.asked.Load(); n != 1 {
		t.Errorf("the name was resolved %d times for one connection", n)
	}
	if len(*went) != 1 || (*went)[0] != netip.MustParseAddrPort("20.50.1.1:80") {
		t.Errorf("connected to %v", *went)
	}
	// The next connection is checked anew.
	var forbidden *ForbiddenError
	if _, err := d.DialContext(t.Context(), "tcp", "rebind.example:80"); !errors.As(err, &forbidden) {
		t.Errorf("the second answer: %v, want a ForbiddenError", err)
	}
	if len(*went) != 1 {
		t.Errorf("connected to %v", *went)
	}
}

func TestConnectTo(t *testing.T) {
	vault, other, six := server(t, "127.0.0.1:0"), server(t, "127.0.0.1:0"), server(t, "[::1]:0")
	resolver := &fakeResolver{}
	d := newDialer(t, Options{Resolver: resolver, ConnectTo: map[string]string{
		"Payroll.vault.azure.net.":     vault.String(),
		"payroll.vault.azure.net:8443": other.String(),
		"six.example:443":              six.String(),
		"10.0.0.7":                     vault.String(),
		"[2001:db8::7]:443":            other.String(),
		"2001:db8::8":                  six.String(),
	}})
	for addr, want := range map[string]netip.AddrPort{
		"payroll.vault.azure.net:443":  vault,
		"PAYROLL.vault.azure.net.:80":  vault,
		"payroll.vault.azure.net:8443": other,
		"six.example:443":              six,
		"10.0.0.7:443":                 vault,
		"[::ffff:10.0.0.7]:443":        vault,
		"[2001:db8:0::7]:443":          other,
		"[2001:db8::8]:1":              six,
	} {
		if got := reach(t, d, addr); got != want.String() {
			t.Errorf("%s reached %s, want %s", addr, got, want)
		}
	}
	if n := resolver.asked.Load(); n != 0 {
		t.Errorf("%d names were resolved", n)
	}
	var unknown *net.DNSError
	for _, addr := range []string{"six.example:80", "sub.payroll.vault.azure.net:443", "vault.azure.net:443"} {
		if _, err := d.DialContext(t.Context(), "tcp", addr); !errors.As(err, &unknown) {
			t.Errorf("%s: %v, want it resolved", addr, err)
		}
	}
}

func TestConnectToNeverReachesOurselves(t *testing.T) {
	addr := server(t, "127.0.0.1:0")
	d := newDialer(t, Options{
		ConnectTo: map[string]string{"vault.example": addr.String()},
		Own:       func() []netip.AddrPort { return []netip.AddrPort{addr} },
	})
	var forbidden *ForbiddenError
	if _, err := d.DialContext(t.Context(), "tcp", "vault.example:443"); !errors.As(err, &forbidden) {
		t.Errorf("%v, want a ForbiddenError", err)
	}
}

// addressedConn pretends to lead from one address to another.
type addressedConn struct {
	net.Conn
	local, remote string
}

func (c *addressedConn) LocalAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.local))
}

func (c *addressedConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.remote))
}

func TestAConnectionBetweenOneAddressLeadsToOurListenerOnAll(t *testing.T) {
	for _, tc := range []struct {
		local, own string
		forbidden  bool
	}{
		{"203.0.113.9:50000", "0.0.0.0:8180", true},
		{"203.0.113.9:50000", "[::]:8180", true},
		{"203.0.113.9:50000", "0.0.0.0:8181", false},
		{"203.0.113.9:50000", "10.0.0.4:8180", false},
		{"10.0.0.4:50000", "0.0.0.0:8180", false},
	} {
		d := newDialer(t, Options{Own: func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort(tc.own)} }})
		near, far := net.Pipe()
		d.connect = func(context.Context, netip.AddrPort) (net.Conn, error) {
			return &addressedConn{near, tc.local, "203.0.113.9:8180"}, nil
		}
		_, err := d.DialContext(t.Context(), "tcp", "203.0.113.9:8180")
		var forbidden *ForbiddenError
		if errors.As(err, &forbidden) != tc.forbidden || (err != nil) != tc.forbidden {
			t.Fatalf("%+v: %v", tc, err)
		}
		if tc.forbidden {
			if forbidden.Reason != ownListener.reason() {
				t.Errorf("%+v: %+v", tc, forbidden)
			}
			if _, err := far.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%+v: the connection was left open: %v", tc, err)
			}
		}
		near.Close()
		far.Close()
	}
}

func TestAllowedLoopbackIsReached(t *testing.T) {
	addr := server(t, "127.0.0.1:0")
	d := newDialer(t, Options{
		Allow:    []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Resolver: resolving("localhost", []string{"::1", "127.0.0.1"}),
	})
	port := addr.String()[strings.LastIndexByte(addr.String(), ':'):]
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
		if got := reach(t, d, host+port); got != addr.String() {
			t.Errorf("%s reached %s", host, got)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for want, o := range map[string]Options{
		`connect_to: "vault.example": "10.0.0.5" is no address and port; write it as 10.0.0.5:443 or [2001:db8::5]:443`:           {ConnectTo: map[string]string{"vault.example": "10.0.0.5"}},
		`connect_to: "vault.example": "backend:443" is no address and port; write it as 10.0.0.5:443 or [2001:db8::5]:443`:        {ConnectTo: map[string]string{"vault.example": "backend:443"}},
		`connect_to: "vault.example": "10.0.0.5:0" is no address and port; write it as 10.0.0.5:443 or [2001:db8::5]:443`:         {ConnectTo: map[string]string{"vault.example": "10.0.0.5:0"}},
		`connect_to: "vault.example": "[fe80::1%eth0]:443" is no address and port; write it as 10.0.0.5:443 or [2001:db8::5]:443`: {ConnectTo: map[string]string{"vault.example": "[fe80::1%eth0]:443"}},
		`connect_to: "vault.example": 169.254.169.254:80 is the instance metadata service, which is never connected to; remove the entry`: {
			ConnectTo: map[string]string{"vault.example": "[::ffff:169.254.169.254]:80"}},
		`connect_to: "vault.example": 127.0.0.1:40342 is the endpoint that bearerd gets its tokens from, which is never connected to; remove the entry`: {
			ConnectTo: map[string]string{"vault.example": "127.0.0.1:40342"}, Metadata: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:40342")}},
		`connect_to: "vault.example" is named twice; keep one`:                                                                      {ConnectTo: map[string]string{"vault.example": "10.0.0.5:443", "Vault.example.": "10.0.0.5:443"}},
		`connect_to: "https://vault.example": it is no host, nor a host and a port; write it as vault.example or vault.example:443`: {ConnectTo: map[string]string{"https://vault.example": "10.0.0.5:443"}},
		`connect_to: "vault.example:0": it is no host, nor a host and a port; write it as vault.example or vault.example:443`:       {ConnectTo: map[string]string{"vault.example:0": "10.0.0.5:443"}},
		`connect_to: "": it is no host, nor a host and a port; write it as vault.example or vault.example:443`:                      {ConnectTo: map[string]string{"": "10.0.0.5:443"}},
		`connect_to: "fe80::1%eth0": it is no host, nor a host and a port; write it as vault.example or vault.example:443`:          {ConnectTo: map[string]string{"fe80::1%eth0": "10.0.0.5:443"}},
		`allow_addresses: ::ffff:127.0.0.0/104 is no range of addresses; write it as 127.0.0.1/32 or ::1/128`:                       {Allow: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:127.0.0.0"), 104)}},
		`allow_addresses: invalid Prefix is no range of addresses; write it as 127.0.0.1/32 or ::1/128`:                             {Allow: []netip.Prefix{{}}},
		`a metadata endpoint is no address and port: invalid AddrPort`:                                                              {Metadata: []netip.AddrPort{{}}},
	} {
		if _, err := New(o); err == nil || err.Error() != want {
			t.Errorf("got:  %v\nwant: %s", err, want)
		}
	}
}

func TestTargetsThatAreNoHostAndPort(t *testing.T) {
	d := newDialer(t, Options{Resolver: resolving("vault.example", []string{"10.0.0.5"})})
	recording(d)
	for _, addr := range []string{"", "vault.example", "vault.example:", "vault.example:https", "vault.example:0", "vault.example:65536", "vault.example:-1", "vault.example:+443", ":443", "::1:443x"} {
		if _, err := d.DialContext(t.Context(), "tcp", addr); err == nil {
			t.Errorf("%q was dialled", addr)
		}
	}
	for _, network := range []string{"", "udp", "tcp4", "unix"} {
		var unknown net.UnknownNetworkError
		if _, err := d.DialContext(t.Context(), network, "vault.example:443"); !errors.As(err, &unknown) {
			t.Errorf("network %q: %v", network, err)
		}
	}
}

func TestResolverErrorsStayReachable(t *testing.T) {
	d := newDialer(t, Options{Resolver: resolving("empty.example", nil)})
	for _, host := range []string{"missing.example", "empty.example"} {
		var unresolved *net.DNSError
		_, err := d.DialContext(t.Context(), "tcp", host+":443")
		if !errors.As(err, &unresolved) || !unresolved.IsNotFound || unresolved.Name != host {
			t.Errorf("%s: %v, want a DNSError", host, err)
		}
	}
}

// blockedResolver answers nobody until their context ends.
type blockedResolver struct{}

func (blockedResolver) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, &net.DNSError{Err: ctx.Err().Error(), Name: host, IsTimeout: errors.Is(ctx.Err(), context.DeadlineExceeded)}
}

func TestTimeoutCoversResolvingAndConnecting(t *testing.T) {
	hang := func(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(target), Err: ctx.Err()}
	}
	for name, o := range map[string]Options{
		"resolving":                {Resolver: blockedResolver{}},
		"connecting":               {Resolver: resolving("dead.example", []string{"10.0.0.5"})},
		"connecting to many":       {Resolver: resolving("dead.example", []string{"10.0.0.5", "10.0.0.6", "2001:db8::5"})},
		"with a time of one's own": {Resolver: blockedResolver{}, Timeout: 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				want := 10 * time.Second
				if o.Timeout != 0 {
					want = o.Timeout
				}
				d := newDialer(t, o)
				d.connect = hang
				start := time.Now()
				_, err := d.DialContext(t.Context(), "tcp", "dead.example:443")
				var timeout interface{ Timeout() bool }
				if !errors.As(err, &timeout) || !timeout.Timeout() {
					t.Errorf("%v, want a timeout", err)
				}
				if took := time.Since(start); took != want {
					t.Errorf("took %v, want %v", took, want)
				}
			})
		})
	}
}

func TestCancellingEndsADialAtOnce(t *testing.T) {
	for name, resolver := range map[string]Resolver{
		"resolving":  blockedResolver{},
		"connecting": resolving("dead.example", []string{"10.0.0.5", "10.0.0.6"}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDialer(t, Options{Resolver: resolver})
				d.connect = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer time.AfterFunc(time.Second, cancel).Stop()
				start := time.Now()
				if _, err := d.DialContext(ctx, "tcp", "dead.example:443"); err == nil {
					t.Fatal("it was dialled")
				}
				if took := time.Since(start); took != time.Second {
					t.Errorf("it ended after %v, want the moment of cancelling", took)
				}
			})
		})
	}
}
