package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The plain ReverseProxy is this test binary again, as are what passes
// connections on.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == reverseProxyCommand {
		fmt.Fprintln(os.Stderr, serveReverseProxy(os.Args[2:]))
		os.Exit(1)
	}
	if len(os.Args) > 1 && (os.Args[1] == spliceCommand || os.Args[1] == relayCommand) {
		fmt.Fprintln(os.Stderr, servePassing(os.Args[1:]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// With everything on, bearerd costs at most 1.15 times what the standard
// library's plain ReverseProxy costs.
func TestBearerdCostsLittleMoreThanReverseProxy(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := plan{rounds: 5, duration: 2 * time.Second, warmUp: time.Second, connections: 32}
	r, err := compare(t.Context(), p, self, filepath.Join("..", ".."))
	if err != nil {
		t.Fatalf("%v\n(the peers come with: make peers)", err)
	}
	var text strings.Builder
	if err := r.write(&text); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + text.String())
	if ratio := r.ratio(bearerdName, reverseProxyName); ratio > 1.15 {
		t.Errorf("bearerd costs %.2f times a plain ReverseProxy, want at most 1.15", ratio)
	}
}

func TestParseWrk(t *testing.T) {
	const good = `Running 3s test @ http://127.0.0.1:1/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   780.12us  190.00us   4.10ms   80.00%
    Req/Sec    40.31k     2.01k   44.00k    70.00%
  Latency Distribution
     50%  710.00us
     75%    0.90ms
     90%    1.10ms
     99%    1.80ms
  120318 requests in 3.00s, 142.00MB read
Requests/sec:  40071.20
Transfer/sec:     47.30MB
`
	m, err := parseWrk(good)
	if err != nil {
		t.Fatal(err)
	}
	if m.requests != 120318 || m.median != 710*time.Microsecond || m.rate != 40071.20 {
		t.Errorf("got %+v", m)
	}
	for name, text := range map[string]string{
		"refused requests":   good + "  Non-2xx or 3xx responses: 12\n",
		"broken connections": good + "  Socket errors: connect 0, read 3, write 0, timeout 0\n",
		"no request":         strings.Replace(good, "120318 requests", "0 requests", 1),
		"no figures":         "unable to connect",
	} {
		if _, err := parseWrk(text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRatioIsTakenRoundByRound(t *testing.T) {
	turns := func(cost ...time.Duration) (m []measurement) {
		for _, c := range cost {
			m = append(m, measurement{perCall: c})
		}
		return m
	}
	r := &report{names: []string{"a", "b"}, turns: map[string][]measurement{"a": turns(20, 40, 80), "b": turns(10, 20, 10)}}
	if got := r.ratio("a", "b"); got != 2 {
		t.Errorf("got %v, want 2: one odd round does not count", got)
	}
}
