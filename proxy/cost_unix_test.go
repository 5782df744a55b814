//go:build unix && !race

package proxy

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/bearerd/bearerd/imds"
)

// costs is what one request takes of the processor.
type costs struct{ direct, proxied, counting time.Duration }

// share is what counting takes of what bearerd does for a request. The callers
// and the upstream, which are in this process too, are left out; so is bearerd's
// own half of the connection to the upstream, which makes the share look larger.
func (c costs) share() float64 { return float64(c.counting) / float64(c.proxied-c.direct) }

// Metrics take less than 1 % of the processor time of a request. All that is
// compared is of one run, and the best of some is judged, since neighbours on
// the machine disturb each part for itself.
func TestMetricsTakeLessThan1PercentOfARequest(t *testing.T) {
	const bound = 0.01
	measure := costsOf(t)
	best, at := 1.0, costs{}
	for run := 0; run < 20 && (run < 3 || best >= bound); run++ {
		if c := measure(); c.proxied > c.direct && c.share() < best {
			best, at = c.share(), c
		}
	}
	t.Logf("%v of %v: %.2f %%", at.counting, at.proxied-at.direct, 100*best)
	if best >= bound {
		t.Errorf("metrics take %.2f %% of a request (%+v), want less than 1 %%", 100*best, at)
	}
}

// costsOf gives what measures a read of a blob, as it does most often: with a
// token at hand, and in a trace.
func costsOf(t *testing.T) (measure func() costs) {
	w := newWorld(t, benchmarkUpstream, upstreamHTTP1, func(o *Options, _ *httptest.Server) {
		o.Logger = zap.NewNop()
		o.Tokens = oneToken{imds.NewToken("token-1", time.Now().Add(time.Hour), time.Time{})}
		o.AccessLog = AccessErrors
	})
	proxied := w.reads(t, "/blob/c/b", func() (net.Conn, error) { return net.Dial("tcp", w.addr) })
	direct := w.reads(t, "/c/b", func() (net.Conn, error) {
		return tls.Dial("tcp", w.upstream.Listener.Addr().String(), &tls.Config{RootCAs: w.ca.pool, ServerName: blobHost})
	})
	x := w.counted(t)
	const requests, counts = 1000, 50000
	return func() costs {
		return costs{
			direct:  processorTime(t, requests, direct),
			proxied: processorTime(t, requests, proxied),
			counting: processorTime(t, counts, func() {
				w.metrics.InFlight.Inc()
				w.metrics.TokenRequest("hit") // the cache's hook, where there is a daemon
				x.count(x.routeName(), 3*time.Millisecond)
			}),
		}
	}
}

// counted gives a request that has ended well.
func (w *world) counted(t *testing.T) *exchange {
	r := httptest.NewRequest("GET", "/blob/c/b", nil)
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	x := w.server.newExchange(httptest.NewRecorder(), r, "", nil)
	x.setTarget("https", blobHost, 443, "/c/b", "")
	if p := x.decide(); p != nil || x.decision.Route == nil || x.decision.Operation.Name == "" {
		t.Fatalf("the request is not routed: %v, %+v", p, x.decision)
	}
	x.status, x.sent = http.StatusOK, benchmarkBody
	return x
}

// reads gives what asks for a blob over one of two connections that stay, from
// two goroutines at once.
func (w *world) reads(t *testing.T, path string, dial func() (net.Conn, error)) (ask func()) {
	conns := make(chan *bufio.ReadWriter, 2)
	for range cap(conns) {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conns <- bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c))
	}
	request := "GET " + path + " HTTP/1.1\r\nHost: " + w.addr + "\r\nX-Ms-Version: 2024-11-04\r\n" +
		"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n"
	return func() {
		c := <-conns
		defer func() { conns <- c }()
		_, _ = c.WriteString(request)
		_ = c.Flush()
		resp, err := http.ReadResponse(c.Reader, nil)
		if err != nil {
			t.Error(err)
			return
		}
		if n, err := io.Copy(io.Discard, resp.Body); n != benchmarkBody || err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("got %s with %d bytes (%v)", resp.Status, n, err)
		}
	}
}

// processorTime is what each of n calls takes, by two goroutines at once.
func processorTime(t *testing.T, n int, call func()) time.Duration {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			for range n / 2 {
				call()
			}
		})
	}
	both.Wait()
	return (used() - before) / time.Duration(n)
}
