package cache

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/bearerd/bearerd/imds"
)

// usedGrain is how exactly the last use is known: a hit writes at most this
// often, so that processors do not fight over the field.
const usedGrain = time.Minute

// held is a token at hand.
type held struct {
	token    *imds.Token
	obtained time.Time
	refresh  time.Time // when it is due
	// until is the end of its use on the monotonic clock, which nobody can set
	// back; the wall clock is asked besides, for the monotonic one stands still
	// while the machine sleeps.
	until time.Time
}

func newHeld(t *imds.Token, now time.Time, random float64) *held {
	left := t.Expires().Sub(now.Round(0)) - margin
	return &held{token: t, obtained: now, refresh: refreshAt(t, now, random), until: now.Add(left)}
}

// valid reports whether the token may be used. A nil h is not.
func (h *held) valid(now time.Time) bool {
	return h != nil && now.Before(h.until) && h.left(now) > margin
}

// left is how long the token lives, by the wall clock.
func (h *held) left(now time.Time) time.Duration {
	if h == nil {
		return 0
	}
	return h.token.Expires().Sub(now.Round(0))
}

// entry is what is known of one key. Its keeper alone asks for tokens; callers
// read the token at hand, or wait for the keeper's next attempt to end.
type entry struct {
	key    Key
	held   atomic.Pointer[held]
	pinned atomic.Bool
	used   atomic.Int64 // Unix seconds of the last use, by usedGrain
	asleep atomic.Bool  // the keeper does not refresh, for nobody uses the token
	woken  chan struct{}

	mu       sync.Mutex // guards what follows
	next     time.Time  // of the next attempt
	failure  error      // of the last attempt; nil after a success
	failures int        // in a row
	attempts int
	changed  chan struct{} // closed, and replaced, when an attempt has ended
	rejected *imds.Token   // what a service refused last
	renewed  time.Time     // when that was answered with an attempt
	renewal  chan struct{} // the changed of that attempt, while it is awaited
}

func newEntry(k Key, now time.Time) *entry {
	e := &entry{key: k, woken: make(chan struct{}, 1), changed: make(chan struct{}), next: now}
	e.used.Store(now.Unix())
	return e
}

// use notes that the token was given out.
func (e *entry) use(now time.Time, h *held) {
	if seconds := now.Unix(); seconds-e.used.Load() >= int64(usedGrain/time.Second) {
		e.used.Store(seconds)
	}
	if e.asleep.Load() && !now.Before(h.refresh) {
		e.rouse(now)
	}
}

// rouse has a keeper that was idle refresh at once.
func (e *entry) rouse(now time.Time) {
	if e.asleep.CompareAndSwap(true, false) {
		e.postpone(now)
		e.wake()
	}
}

// wake has the keeper look at the entry again.
func (e *entry) wake() {
	select {
	case e.woken <- struct{}{}:
	default: // it is about to
	}
}

// wanting is what a caller who waits has to know.
type wanting struct {
	held    *held
	failure error
	next    time.Time
	changed <-chan struct{}
}

// want notes that a caller waits for a token.
func (e *entry) want(now time.Time) wanting {
	e.used.Store(now.Unix())
	e.rouse(now)
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.held.Load()
	if h != nil && !h.valid(now) && e.failure == nil {
		// The clock went ahead of the timers: the machine slept, or was set.
		e.next = now
		e.wake()
	}
	return wanting{held: h, failure: e.failure, next: e.next, changed: e.changed}
}

// reject notes that a service refused a token. It gives the end of the attempt
// to wait for, or nil where the token at hand is all that there is.
func (e *entry) reject(rejected *imds.Token, now, opens time.Time) (current *held, attempt <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	current = e.held.Load()
	if current.valid(now) && !current.token.Equal(rejected) {
		return current, nil // somebody else was faster
	}
	if e.renewal != nil {
		return current, e.renewal
	}
	recent := !e.renewed.IsZero() && now.Sub(e.renewed) < renewPause
	if current == nil || recent || opens.After(now) {
		return &held{token: rejected}, nil
	}
	e.rejected, e.renewed, e.renewal, e.next = rejected, now, e.changed, now
	e.wake()
	return current, e.renewal
}

// due gives when the next attempt is.
func (e *entry) due() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.next
}

// postpone moves the next attempt.
func (e *entry) postpone(next time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.next = next
}

// idle reports whether nobody has used the key for the time.
func (e *entry) idle(now time.Time, after time.Duration) bool {
	return !e.pinned.Load() && now.Sub(time.Unix(e.used.Load(), 0)) >= after
}

// retire marks an entry as gone, where it is idle still and has nothing to
// give. It runs with the cache's lock, so that no caller finds it afterwards.
func (e *entry) retire(now time.Time, idleAfter time.Duration) bool {
	h := e.held.Load()
	if h == nil {
		idleAfter = abandonAfter
	}
	if !e.idle(now, idleAfter) || h.valid(now) {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.changed) // whoever still finds it looks again
	return true
}

// settle takes over how an attempt ended and wakes those who wait for it. A
// nil token is a failure. It gives the failure before, to tell a change of
// state from one more try.
func (e *entry) settle(h *held, err error, next time.Time) (before error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before = e.failure
	e.attempts++
	e.next, e.failure = next, err
	if err != nil {
		e.failures++
	} else {
		e.failures = 0
		e.held.Store(h)
	}
	e.renewal = nil
	close(e.changed)
	e.changed = make(chan struct{})
	return before
}

func (e *entry) failuresSoFar() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failures
}

// wasRejected reports whether a service refused the token.
func (e *entry) wasRejected(t *imds.Token) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rejected != nil && e.rejected.Equal(t)
}
