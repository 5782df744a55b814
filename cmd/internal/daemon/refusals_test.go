package daemon

import (
	"fmt"
	"testing"
	"time"

	"github.com/bearerd/bearerd/proxy"
	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/route"
)

func TestRefusalsOfOneKindAreOneEntry(t *testing.T) {
	r := newRefusals()
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	payroll := &caller.Caller{Known: true, UID: 64001}
	r.note(proxy.Refusal{At: at, Code: proxy.CodeUnmatched, Status: 403, Route: "unrouted", Caller: payroll})
	for i := range 1000 {
		r.note(proxy.Refusal{At: at.Add(time.Duration(i) * time.Second), Code: route.CodeNotPermitted, Status: 403, Route: "vault", Caller: &caller.Caller{Known: true, UID: 64001, PID: i}, Reason: fmt.Sprint("reason ", i)})
	}
	r.note(proxy.Refusal{At: at, Code: route.CodeNotPermitted, Status: 403, Route: "vault"})
	all := r.status()
	if len(all) != 3 {
		t.Fatalf("got %d entries: %+v", len(all), all)
	}
	if got := all[0]; got.Caller != "unknown" {
		t.Errorf("the latest is %+v", got)
	}
	if got := all[1]; got.Count != 1000 || !got.First.Equal(at) || !got.Last.Equal(at.Add(999*time.Second)) || got.Reason != "reason 999" || got.Cure != "" || got.Caller != "64001" {
		t.Errorf("got %+v", got)
	}
	if got := all[2]; got.Count != 1 || got.Reason == "" || got.Cure == "" {
		t.Errorf("where the route gives no reason, the code's is told: %+v", got)
	}
}

// Whoever is refused in ever other ways fills no memory, and pushes out the
// oldest.
func TestRefusalsAreBounded(t *testing.T) {
	r := newRefusals()
	for i := range 10 * maxRefusals {
		r.note(proxy.Refusal{Code: proxy.CodeUnmatched, Caller: &caller.Caller{Known: true, UID: uint32(i)}})
	}
	all := r.status()
	if len(all) != maxRefusals {
		t.Fatalf("%d entries", len(all))
	}
	if first, last := all[0].Caller, all[maxRefusals-1].Caller; first != fmt.Sprint(10*maxRefusals-1) || last != fmt.Sprint(9*maxRefusals) {
		t.Errorf("from %s to %s", first, last)
	}
}
