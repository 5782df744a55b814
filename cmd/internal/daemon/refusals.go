package daemon

import (
	"slices"
	"sync"
	"time"

	"github.com/bearerd/bearerd/cmd/internal/admin"
	"github.com/bearerd/bearerd/proxy"
	"github.com/bearerd/bearerd/proxy/caller"
)

// maxRefusals is how many kinds of refusals are remembered. Callers cause them at
// will.
const maxRefusals = 32

// refusals remembers which calls were answered in the service's place. Those of
// one kind are one entry, so that an app that calls in a loop does not push out
// what happened to the others. It is safe for concurrent use.
type refusals struct {
	advice map[proxy.Code]proxy.CodeInfo

	mu     sync.Mutex // guards recent
	recent []refusal  // the latest last
}

// refusalKind is what makes two refusals one entry.
type refusalKind struct {
	code        proxy.Code
	route       string
	known       bool
	uid         uint32
	certificate string
}

type refusal struct {
	kind  refusalKind
	last  proxy.Refusal
	first time.Time
	count uint64
}

func newRefusals() *refusals {
	r := &refusals{advice: make(map[proxy.Code]proxy.CodeInfo)}
	for _, c := range proxy.Codes() {
		r.advice[c.Code] = c
	}
	return r
}

// note takes over one more.
func (r *refusals) note(seen proxy.Refusal) {
	next := refusal{kind: kindOf(seen), last: seen, first: seen.At, count: 1}
	r.mu.Lock()
	defer r.mu.Unlock()
	at := slices.IndexFunc(r.recent, func(old refusal) bool { return old.kind == next.kind })
	switch {
	case at >= 0:
		next.first, next.count = r.recent[at].first, r.recent[at].count+1
	case len(r.recent) == maxRefusals:
		at = 0
	default:
		r.recent = append(r.recent, next)
		return
	}
	r.recent = append(slices.Delete(r.recent, at, at+1), next)
}

func kindOf(seen proxy.Refusal) refusalKind {
	k := refusalKind{code: seen.Code, route: seen.Route}
	if c := seen.Caller; c != nil {
		k.known, k.uid, k.certificate = c.Known, c.UID, firstName(c)
	}
	return k
}

func firstName(c *caller.Caller) string {
	if len(c.Certificates) == 0 {
		return ""
	}
	return c.Certificates[0]
}

// status tells of all, the latest first. Where the route gives no reason, the
// code's meaning and its cure are told.
func (r *refusals) status() []admin.Refusal {
	r.mu.Lock()
	recent := slices.Clone(r.recent)
	r.mu.Unlock()
	all := make([]admin.Refusal, 0, len(recent))
	for _, seen := range slices.Backward(recent) {
		shown := admin.Refusal{
			Code: string(seen.last.Code), Status: seen.last.Status, Route: seen.last.Route, Caller: seen.last.Caller.Name(),
			Reason: seen.last.Reason, Count: seen.count, First: seen.first, Last: seen.last.At,
		}
		if shown.Reason == "" {
			shown.Reason, shown.Cure = r.advice[seen.last.Code].Cause, r.advice[seen.last.Code].Cure
		}
		all = append(all, shown)
	}
	return all
}
