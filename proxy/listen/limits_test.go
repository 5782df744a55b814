package listen

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bearerd/bearerd/proxy/caller"
)

// counts keeps what Limits report.
type counts struct {
	mu  sync.Mutex // guards met
	met map[Limit]int
}

func (c *counts) reached(l Limit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.met == nil {
		c.met = make(map[Limit]int)
	}
	c.met[l]++
}

func (c *counts) of(l Limit) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.met[l]
}

func TestACallerWithTooManyConnectionsIsClosed(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "unix:" + socketPath(t)} {
		var met counts
		limits := NewLimits(LimitOptions{PerCaller: 2, Reached: met.reached})
		l := open(t, Options{Address: address, Limits: limits})
		greet(t, l)
		first, second, third := dialTo(t, l), dialTo(t, l), dialTo(t, l)
		if !isGreeted(first) || !isGreeted(second) {
			t.Errorf("%s: a caller within its limit was refused", address)
		}
		if isGreeted(third) {
			t.Errorf("%s: a caller beyond its limit was served", address)
		}
		if met.of(LimitPerCaller) != 1 || met.of(LimitTotal) != 0 {
			t.Errorf("%s: reported %v", address, met.met)
		}
		first.Close()
		// The place is free once the server has seen the end, which nothing
		// tells the caller.
		for !isGreeted(dialTo(t, l)) {
		}
	}
}

func TestOneCallersConnectionsLeaveOthersTheirs(t *testing.T) {
	limits := NewLimits(LimitOptions{PerCaller: 1})
	l := open(t, Options{Address: "0.0.0.0:0", InsecureAllowNetwork: true, Limits: limits})
	greet(t, l)
	port := l.Addr().(*net.TCPAddr).Port
	for _, from := range []string{"127.0.0.1", "127.0.0.2"} {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := dialer.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port)).String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if !isGreeted(conn) {
			t.Errorf("the first connection from %s was refused", from)
		}
	}
}

func TestTheTotalMakesConnectionsWait(t *testing.T) {
	reached := make(chan Limit, 1)
	limits := NewLimits(LimitOptions{Total: 1, Reached: func(l Limit) { reached <- l }})
	l := open(t, Options{Address: "127.0.0.1:0", Limits: limits})
	other := open(t, Options{Address: "127.0.0.1:0", Limits: limits})
	greet(t, l)
	greet(t, other)
	first := dialTo(t, l)
	if !isGreeted(first) {
		t.Fatal("the first connection was refused")
	}
	waiting := dialTo(t, other)
	if got := <-reached; got != LimitTotal {
		t.Errorf("reported %q", got)
	}
	first.Close()
	if !isGreeted(waiting) {
		t.Error("the connection that waited was refused")
	}
}

func TestCloseEndsTheWaitForAPlace(t *testing.T) {
	reached := make(chan Limit, 1)
	limits := NewLimits(LimitOptions{Total: 1, Reached: func(l Limit) { reached <- l }})
	l := open(t, Options{Address: "127.0.0.1:0", Limits: limits})
	pair(t, l)
	waiting := dialTo(t, l)
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	if got := <-reached; got != LimitTotal {
		t.Errorf("reported %q", got)
	}
	l.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept gave %v", err)
	}
	if isGreeted(waiting) {
		t.Error("the connection was served")
	}
	if n := limits.open[callerAt(netip.MustParseAddr("127.0.0.1"))]; n != 1 {
		t.Errorf("%d connections are counted, want the first alone", n)
	}
}

func TestAPlaceIsGivenBackOnce(t *testing.T) {
	limits := NewLimits(LimitOptions{})
	l := open(t, Options{Address: "127.0.0.1:0", Limits: limits})
	_, one := pair(t, l)
	pair(t, l)
	one.Close()
	one.Close()
	if len(limits.slots) != 1 || limits.open[callerAt(netip.MustParseAddr("127.0.0.1"))] != 1 {
		t.Errorf("%d places are taken, and %v", len(limits.slots), limits.open)
	}
}

func TestNothingIsKeptOfCallersThatLeft(t *testing.T) {
	limits := NewLimits(LimitOptions{})
	for i := range 1000 {
		release, ok := limits.admit(callerAt(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})), nil)
		if !ok {
			t.Fatal("refused")
		}
		release()
	}
	if len(limits.open) != 0 || len(limits.slots) != 0 {
		t.Errorf("%d callers and %d places are kept", len(limits.open), len(limits.slots))
	}
}

func TestCallersByAddress(t *testing.T) {
	same := func(a, b string) bool {
		return callerAt(netip.MustParseAddr(a)) == callerAt(netip.MustParseAddr(b))
	}
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"10.0.0.1", "10.0.0.1", true},
		{"10.0.0.1", "::ffff:10.0.0.1", true},
		{"10.0.0.1", "10.0.0.2", false},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%eth0", "fe80::1%eth1", true},
		{"::1", "127.0.0.1", false},
		{"::1", "::2", false},
	} {
		if got := same(tc.a, tc.b); got != tc.same {
			t.Errorf("%s and %s are one caller: %v, want %v", tc.a, tc.b, got, tc.same)
		}
	}
}

// All programs of this machine have the same address.
func TestCallersOfThisMachineAreItsUsers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	keys := make(map[callerKey]bool)
	for _, who := range []*caller.Caller{{Known: true, UID: 1}, {Known: true, UID: 2}, {Unknown: "gone"}, nil} {
		keys[callerOf(conn, who)] = true
	}
	if len(keys) != 3 || !keys[callerAt(netip.MustParseAddr("127.0.0.1"))] {
		t.Errorf("got %v", keys)
	}
}

// counting is an Observer.
type counting struct{ accepted, closed atomic.Int64 }

func (c *counting) Accepted() { c.accepted.Add(1) }
func (c *counting) Closed()   { c.closed.Add(1) }

func TestTheObserverCountsEachConnectionOnce(t *testing.T) {
	seen := &counting{}
	limits := NewLimits(LimitOptions{PerCaller: 1})
	l := open(t, Options{Address: "127.0.0.1:0", Limits: limits, Observer: seen})
	_, one := pair(t, l)
	one.Close()
	one.Close()
	if a, c := seen.accepted.Load(), seen.closed.Load(); a != 1 || c != 1 {
		t.Errorf("%d connections accepted and %d closed, want one each", a, c)
	}
}
