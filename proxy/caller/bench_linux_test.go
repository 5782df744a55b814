package caller

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crowd opens count more sockets of connections within the machine.
func crowd(tb testing.TB, count int) {
	tb.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < uint64(count)+200 {
		tb.Fatalf("%d files may be open, %v; raise the limit (ulimit -n)", limit.Cur, err)
	}
	l := listenOn(tb, "tcp4", "127.0.0.1:0")
	for range count / 2 {
		conn, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { conn.Close() })
		accept(tb, l)
	}
}

func pair(tb testing.TB, network, address string) net.Conn {
	tb.Helper()
	return pairOn(tb, listenOn(tb, network, address))
}

// The published figure: 100 µs at the median with 10,000 sockets open.
func TestLookupIsQuickAmongManySockets(t *testing.T) {
	crowd(t, 10_000)
	conn := pair(t, "tcp4", "127.0.0.1:0")
	f := stranger()
	took := make([]time.Duration, 1001)
	for i := range took {
		start := time.Now()
		c := f.Find(conn, netip.AddrPort{})
		took[i] = time.Since(start)
		if !c.Known {
			t.Fatal(c)
		}
	}
	slices.Sort(took)
	if median := took[len(took)/2]; median > 100*time.Microsecond {
		t.Errorf("%v at the median", median)
	}
}

func BenchmarkFind(b *testing.B) {
	crowd(b, 10_000)
	for _, way := range []struct{ name, network, address string }{
		{"tcp4", "tcp4", "127.0.0.1:0"}, {"tcp6", "tcp6", "[::1]:0"}, {"unix", "unix", b.TempDir() + "/s"},
	} {
		b.Run(way.name, func(b *testing.B) {
			conn := pair(b, way.network, way.address)
			f := stranger()
			b.ReportAllocs()
			for b.Loop() {
				if c := f.Find(conn, netip.AddrPort{}); !c.Known {
					b.Fatal(c)
				}
			}
		})
	}
}
