//go:build e2e

package e2e

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// Twenty processes that start at once on one machine share its IMDS's limits
// without knowing each other. Each needs two tokens, and IMDS takes 5 calls at
// once and 20 a second: every process becomes ready in time, and few calls are
// spent on refusals.
func TestTwentyProcessesStartAtOnceOnOneMachine(t *testing.T) {
	const (
		processes = 20
		tokens    = 2 * processes
		// 51 to 55 are made, and 61 to 68 where nobody heeds a 429.
		mostCalls = tokens * 3 / 2
	)
	imds := rig.StartIMDS(t, imdstest.Options{Limits: imdstest.Limits{PerSecond: 20, AtOnce: 5}})
	imds.Script(imdstest.Slow(30 * time.Millisecond).Always())
	var fleet []*rig.Daemon
	for range processes {
		fleet = append(fleet, env.Prepare(t, rig.Settings{IMDS: imds, Routes: `
  - {service: keyvault, required: true}
  - {service: storage, required: true}
`}))
	}
	began := time.Now()
	for _, d := range fleet {
		d.Begin(t)
	}
	started := time.Since(began)
	ready := make([]time.Duration, processes)
	rig.Eventually(t, "all are ready within 20 s", func() error {
		var waiting error
		for i, d := range fleet {
			if ready[i] != 0 {
				continue
			}
			d.Alive(t)
			if err := rig.Answers(d.Admin+"/readyz", http.StatusOK); err != nil {
				waiting = err
				continue
			}
			ready[i] = time.Since(began)
		}
		return waiting
	})
	s := imds.Stats()
	slices.Sort(ready)
	t.Logf("%d processes, started within %v: %d calls for %d tokens, %.2f for each, %d refused, %d at once at the most; the first was ready after %v, half of them after %v, the last after %v",
		processes, started.Round(time.Millisecond), s.Calls, tokens, float64(s.Calls)/tokens, s.ByStatus[http.StatusTooManyRequests], s.AtOnce,
		ready[0].Round(time.Millisecond), ready[processes/2].Round(time.Millisecond), ready[processes-1].Round(time.Millisecond))
	if s.ByStatus[http.StatusOK] != tokens {
		t.Errorf("%d tokens were given, want one for each process and audience", s.ByStatus[http.StatusOK])
	}
	if s.Calls > mostCalls {
		t.Errorf("%d calls, want %d at the most", s.Calls, mostCalls)
	}
	if s.ByStatus[http.StatusTooManyRequests] == 0 {
		t.Error("nobody was refused, so that the limits were never met")
	}
}
