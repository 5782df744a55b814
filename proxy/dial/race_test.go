package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeNetwork connects to each address after a while of its own, or fails.
type fakeNetwork struct {
	start time.Time
	delay map[string]time.Duration // 0: at once
	fail  map[string]error

	mu     sync.Mutex // guards what follows
	tried  []string   // "<address> after <time>"
	opened int
	closed int
}

func (n *fakeNetwork) connect(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
	addr := target.Addr().String()
	n.mu.Lock()
	n.tried = append(n.tried, fmt.Sprintf("%s after %v", addr, time.Since(n.start)))
	n.mu.Unlock()
	select {
	case <-time.After(n.delay[addr]):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := n.fail[addr]; err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opened++
	near, far := net.Pipe()
	far.Close()
	return &fakeConn{Conn: near, addr: addr, closing: func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.closed++
	}}, nil
}

type fakeConn struct {
	net.Conn
	addr    string
	closing func()
}

func (c *fakeConn) Close() error { c.closing(); return c.Conn.Close() }

func TestADeadAddressCostsAMoment(t *testing.T) {
	refused := errors.New("connection refused")
	const dead = time.Hour
	for _, tc := range []struct {
		name   string
		answer []string
		delay  map[string]time.Duration
		fail   map[string]error
		tried  []string
		winner string // empty: the error is refused
	}{
		{"the first answers in time", []string{"2001:db8::1", "10.0.0.1"}, map[string]time.Duration{"2001:db8::1": 200 * time.Millisecond}, nil,
			[]string{"2001:db8::1 after 0s"}, "2001:db8::1"},
		{"a dead first one", []string{"10.0.0.1", "10.0.0.2"}, map[string]time.Duration{"10.0.0.1": dead}, nil,
			[]string{"10.0.0.1 after 0s", "10.0.0.2 after 250ms"}, "10.0.0.2"},
		{"a refusing first one", []string{"10.0.0.1", "10.0.0.2"}, nil, map[string]error{"10.0.0.1": refused},
			[]string{"10.0.0.1 after 0s", "10.0.0.2 after 0s"}, "10.0.0.2"},
		{"a dead family is left after one", []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "10.0.0.1"},
			map[string]time.Duration{"2001:db8::1": dead, "2001:db8::2": dead, "2001:db8::3": dead}, nil,
			[]string{"2001:db8::1 after 0s", "10.0.0.1 after 250ms"}, "10.0.0.1"},
		{"two dead ones", []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"}, map[string]time.Duration{"10.0.0.1": dead, "10.0.0.2": dead}, nil,
			[]string{"10.0.0.1 after 0s", "10.0.0.2 after 250ms", "10.0.0.3 after 500ms"}, "10.0.0.3"},
		{"a slow one still wins", []string{"10.0.0.1", "10.0.0.2"}, map[string]time.Duration{"10.0.0.1": 300 * time.Millisecond, "10.0.0.2": time.Second}, nil,
			[]string{"10.0.0.1 after 0s", "10.0.0.2 after 250ms"}, "10.0.0.1"},
		{"all refuse", []string{"10.0.0.1", "10.0.0.2", "2001:db8::1"}, nil,
			map[string]error{"10.0.0.1": refused, "10.0.0.2": errors.New("later"), "2001:db8::1": errors.New("later")},
			[]string{"10.0.0.1 after 0s", "2001:db8::1 after 0s", "10.0.0.2 after 0s"}, ""},
		{"both stand at once", []string{"10.0.0.1", "10.0.0.2"}, map[string]time.Duration{"10.0.0.1": 300 * time.Millisecond, "10.0.0.2": 50 * time.Millisecond}, nil,
			[]string{"10.0.0.1 after 0s", "10.0.0.2 after 250ms"}, "either"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := &fakeNetwork{start: time.Now(), delay: tc.delay, fail: tc.fail}
				d := newDialer(t, Options{Resolver: resolving("vault.example", tc.answer)})
				d.connect = network.connect
				conn, err := d.DialContext(t.Context(), "tcp", "vault.example:443")
				if !slices.Equal(network.tried, tc.tried) {
					t.Errorf("tried %q, want %q", network.tried, tc.tried)
				}
				switch tc.winner {
				case "":
					if !errors.Is(err, refused) {
						t.Errorf("%v, want the first address's error", err)
					}
				default:
					if err != nil {
						t.Fatal(err)
					}
					if got := conn.(*fakeConn).addr; got != tc.winner && tc.winner != "either" {
						t.Errorf("connected to %s, want %s", got, tc.winner)
					}
					conn.Close()
				}
				if network.opened != network.closed {
					t.Errorf("%d connections were opened and %d closed", network.opened, network.closed)
				}
			})
		})
	}
}

func TestALongAnswerDoesNotMakeUsScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answer []string
		for i := range 200 {
			answer = append(answer, "10.0.0."+strconv.Itoa(i))
		}
		network := &fakeNetwork{start: time.Now(), fail: map[string]error{}}
		for _, addr := range answer {
			network.fail[addr] = errors.New("connection refused")
		}
		d := newDialer(t, Options{Resolver: resolving("scan.example", answer)})
		d.connect = network.connect
		if _, err := d.DialContext(t.Context(), "tcp", "scan.example:443"); err == nil {
			t.Fatal("it was dialled")
		}
		if len(network.tried) != maxTargets {
			t.Errorf("%d addresses were tried, want %d", len(network.tried), maxTargets)
		}
	})
}

func TestRealConnectionsFallBack(t *testing.T) {
	addr := server(t, "127.0.0.1:0")
	d := newDialer(t, Options{
		Allow:    []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Resolver: resolving("vault.example", []string{"::1", "127.0.0.1"}), // nobody listens on [::1]
	})
	if got := reach(t, d, "vault.example:"+strconv.Itoa(int(addr.Port()))); got != addr.String() {
		t.Errorf("reached %s", got)
	}
}

func TestAConnectionThatLedElsewhereIsNotUsed(t *testing.T) {
	addr := server(t, "127.0.0.1:0")
	d := newDialer(t, Options{Resolver: resolving("vault.example", []string{"10.0.0.5"})})
	d.connect = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) { return connect(ctx, addr) }
	var forbidden *ForbiddenError
	if _, err := d.DialContext(t.Context(), "tcp", "vault.example:443"); !errors.As(err, &forbidden) {
		t.Fatalf("%v, want a ForbiddenError", err)
	}
	if forbidden.Address != addr.Addr() || forbidden.Reason != loopback.reason() {
		t.Errorf("%+v", forbidden)
	}
}

func TestConnectionsCanSplice(t *testing.T) {
	addr := server(t, "127.0.0.1:0")
	d := newDialer(t, Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	conn, err := d.DialContext(t.Context(), "tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, ok := conn.(*net.TCPConn); !ok {
		t.Errorf("a %T", conn)
	}
}
