package dial

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeResolver answers each name with the next list of its answers, and with
// the last one for good.
type fakeResolver struct {
	answers map[string][][]string
	asked   atomic.Int64
	last    atomic.Value // string
}

func (f *fakeResolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	n := int(f.asked.Add(1)) - 1
	f.last.Store(host)
	lists, ok := f.answers[host]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var found []netip.Addr
	for _, s := range lists[min(n, len(lists)-1)] {
		found = append(found, netip.MustParseAddr(s))
	}
	return found, nil
}

func resolving(name string, answers ...[]string) *fakeResolver {
	return &fakeResolver{answers: map[string][][]string{name: answers}}
}

func newDialer(tb testing.TB, o Options) *Dialer {
	tb.Helper()
	if o.Resolver == nil {
		o.Resolver = &fakeResolver{}
	}
	d, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// recording replaces the dialer's connections by a list of where they would
// have gone. Real addresses are judged in these tests, never reached.
func recording(d *Dialer) *[]netip.AddrPort {
	var went []netip.AddrPort
	d.connect = func(_ context.Context, target netip.AddrPort) (net.Conn, error) {
		went = append(went, target)
		a, b := net.Pipe()
		b.Close()
		return a, nil
	}
	return &went
}

// server is a listener that sends its own address to whoever connects.
func server(tb testing.TB, addr string) netip.AddrPort {
	tb.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, l.Addr().String())
			conn.Close()
		}
	}()
	tb.Cleanup(func() { l.Close(); <-done })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// reach connects and gives what the server there says.
func reach(tb testing.TB, d *Dialer, addr string) string {
	tb.Helper()
	conn, err := d.DialContext(tb.Context(), "tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	said, err := io.ReadAll(conn)
	if err != nil {
		tb.Fatal(err)
	}
	return string(said)
}
