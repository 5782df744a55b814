package cache

import (
	"cmp"
	"slices"
	"time"

	"github.com/bearerd/bearerd/imds"
)

// State is how a key stands.
type State uint8

// The states.
const (
	Absent  State = iota // there is no token yet
	Fresh                // there is one, and it is not due
	Due                  // there is one, and its refresh is late
	Expired              // the last one has ended
)

// String names the state for people and /status.
func (s State) String() string {
	return [...]string{Absent: "absent", Fresh: "fresh", Due: "due", Expired: "expired"}[s]
}

// Usable reports whether callers are served.
func (s State) Usable() bool { return s == Fresh || s == Due }

// Status tells how one key stands. It holds no token.
type Status struct {
	Key         Key
	State       State
	Kept        bool      // by Keep
	Obtained    time.Time // zero without a token
	Expires     time.Time // zero without a token
	NextAttempt time.Time
	Failures    int        // in a row
	Err         error      // of the last attempt; nil after a success
	Class       imds.Class // of Err
}

// Status tells how every key stands, sorted by audience and identity.
func (c *Cache) Status() []Status {
	now := c.clock.read()
	var all []Status
	for _, e := range *c.entries.Load() {
		all = append(all, e.status(now, c.gate.opens(e.urgency())))
	}
	slices.SortFunc(all, Status.Compare)
	return all
}

// Compare orders by audience and identity.
func (s Status) Compare(other Status) int {
	return cmp.Or(cmp.Compare(s.Key.Audience, other.Key.Audience), cmp.Compare(s.Key.Identity.String(), other.Key.Identity.String()))
}

func (e *entry) status(now, opens instant) Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	next := e.next
	if opens.until(now) > next.until(now) {
		next = opens
	}
	s := Status{Key: e.key, Kept: e.pinned, NextAttempt: next.wall, Failures: e.failures, Err: e.failure}
	if e.failure != nil {
		s.Class = classOf(e.failure)
	}
	h := e.held.Load()
	if h == nil {
		return s
	}
	s.Obtained, s.Expires = h.obtained.wall, h.token.Expires()
	switch {
	case !h.valid(now):
		s.State = Expired
	case now.since(h.obtained) < h.refresh:
		s.State = Fresh
	default:
		s.State = Due
	}
	return s
}

// Throttle tells until when no call is made, zero or in the past where calls
// are, and how many a second are allowed.
func (c *Cache) Throttle() (pausedUntil time.Time, rate float64) {
	return c.gate.opens(awaited).wall, c.gate.currentRate()
}
