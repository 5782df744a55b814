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

// held is a token at hand. It is not changed once made.
type held struct {
	token    *imds.Token
	obtained instant       // just before it was asked for
	life     time.Duration // for which it may be used from then
	refresh  time.Duration // after which it is due
}

func newHeld(t *imds.Token, asked instant, random float64) *held {
	left := wallSince(t.Expires(), asked.wall)
	var source time.Duration
	if r := t.Refresh(); !r.IsZero() {
		source = max(wallSince(r, asked.wall), 1)
	}
	return &held{token: t, obtained: asked, life: left - margin, refresh: refreshAfter(left, source, random)}
}

// valid reports whether the token may be used. A nil h is not.
func (h *held) valid(now instant) bool { return h != nil && now.since(h.obtained) < h.life }

// left is how long the token lives. A nil h does not.
func (h *held) left(now instant) time.Duration {
	if h == nil {
		return 0
	}
	return h.life + margin - now.since(h.obtained)
}

// end is when the token may no longer be used, and due when it is to be
// refreshed.
func (h *held) end() instant { return h.obtained.add(h.life) }
func (h *held) due() instant { return h.obtained.add(h.refresh) }

// refreshed is h with the schedule that a later answer asks for.
func (h *held) refreshed(fresh *held) *held {
	r := *h
	r.refresh = min(fresh.obtained.since(h.obtained)+fresh.refresh, h.life)
	return &r
}

// entry is what is known of one key. Its keeper alone asks for tokens; callers
// read the token at hand, or wait for the keeper's next attempt to end.
type entry struct {
	key     Key
	clock   clock
	held    atomic.Pointer[held]
	used    atomic.Int64 // time awake from the cache's start to the last use, by usedGrain
	asleep  atomic.Bool  // the keeper does not refresh, for nobody uses the token; written under mu
	waiting atomic.Int64 // callers that wait
	woken   chan struct{}
	usable  bool // whether there was a token when a failure was logged last; the keeper's own

	mu       sync.Mutex    // guards what follows
	pinned   bool          // by Keep
	gone     bool          // a caller that still finds it must look again
	calling  bool          // an attempt is under way
	next     instant       // of the next attempt
	failure  error         // of the last attempt; nil after a success
	failures int           // in a row
	changed  chan struct{} // closed, and replaced, when an attempt has ended
	rejected *imds.Token   // what a service refused last
	renewed  instant       // when that was answered with an attempt
	renewal  chan struct{} // the changed of that attempt, while it is awaited
}

func newEntry(k Key, c clock, used time.Duration, next instant) *entry {
	e := &entry{key: k, clock: c, woken: make(chan struct{}, 1), changed: make(chan struct{}), next: next}
	e.used.Store(int64(used))
	return e
}

// use notes that the token was given out.
func (e *entry) use(awake time.Duration) {
	if awake-time.Duration(e.used.Load()) >= usedGrain {
		e.used.Store(int64(awake))
	}
}

// rouse has a keeper that was idle refresh at once.
func (e *entry) rouse() {
	if !e.asleep.Load() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rouseLocked(e.clock.read())
}

func (e *entry) rouseLocked(now instant) {
	if e.asleep.Load() {
		e.asleep.Store(false)
		e.next = now
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

// pin notes whether the key is kept.
func (e *entry) pin(kept bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pinned = kept
	if kept {
		e.rouseLocked(e.clock.read())
	}
}

// retire marks an entry as gone, where nobody has used it for long and it has
// nothing to give. The cache's lock is held, so that no caller finds it
// afterwards.
func (e *entry) retire(now instant, awake, idleAfter time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.idleLocked(awake, idleAfter) || e.held.Load().valid(now) {
		return false
	}
	e.gone = true
	close(e.changed)
	return true
}

// idleLocked reports whether nobody has used the key for long. One that never
// got a token is not worth as much patience.
func (e *entry) idleLocked(awake, idleAfter time.Duration) bool {
	if e.held.Load() == nil {
		idleAfter = min(idleAfter, abandonAfter)
	}
	return !e.pinned && awake-time.Duration(e.used.Load()) >= idleAfter
}

// wanting is what a caller who waits has to know.
type wanting struct {
	gone    bool // of the entry, and with it all the rest
	held    *held
	calling bool
	failure error
	wait    time.Duration // until the next attempt may begin
	changed <-chan struct{}
}

// want notes that a caller asks for a token.
func (e *entry) want(now instant, awake time.Duration) wanting {
	e.used.Store(int64(awake))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rouseLocked(now)
	h := e.held.Load()
	if !h.valid(now) {
		e.wake() // its timer may have slept with the machine
	}
	return wanting{gone: e.gone, held: h, calling: e.calling, failure: e.failure, wait: e.next.until(now), changed: e.changed}
}

// rejection is what a caller whose token was refused has to know.
type rejection struct {
	gone    bool            // of the entry, and with it all the rest
	other   *imds.Token     // that is there already
	attempt <-chan struct{} // the end of the one to wait for; nil: none
}

// reject notes that a service refused a token, and has another fetched unless
// that was done a moment ago or the source is paused.
func (e *entry) reject(refused *imds.Token, now instant, awake time.Duration, paused bool) rejection {
	e.used.Store(int64(awake))
	e.mu.Lock()
	defer e.mu.Unlock()
	if h := e.held.Load(); h.valid(now) && !h.token.Equal(refused) {
		return rejection{gone: e.gone, other: h.token} // somebody else was faster
	}
	e.rejected = refused
	recent := !e.renewed.isZero() && now.since(e.renewed) < renewPause
	switch {
	case paused && !e.calling:
		return rejection{gone: e.gone}
	case e.renewal == nil && recent:
		return rejection{gone: e.gone}
	case e.renewal == nil:
		e.renewed, e.renewal, e.next = now, e.changed, now
		e.asleep.Store(false)
		e.wake()
	}
	return rejection{gone: e.gone, attempt: e.renewal}
}

// urgency is how much the next attempt is needed.
func (e *entry) urgency() urgency {
	if e.waiting.Load() > 0 {
		return awaited
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.held.Load()
	switch {
	case e.renewal != nil:
		return awaited
	case h == nil && isFinal(e.failure) && !e.pinned:
		return calm
	case h.left(e.clock.read()) <= urgent:
		return pressing
	}
	return calm
}

// due gives how long it is until the next attempt.
func (e *entry) due() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.next.until(e.clock.read())
}

// begin notes that an attempt is under way, and gives the time before it.
func (e *entry) begin() instant {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calling = true
	return e.clock.read()
}

// settle takes over how an attempt ended and wakes those who wait for it. A
// nil token is a failure. It gives the failure before, to tell a change of
// state from one more try.
func (e *entry) settle(h *held, err error, next instant) (before error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before = e.failure
	e.calling, e.next, e.failure = false, next, err
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

// better gives which of two good tokens to use: one that no service refused,
// else the one that lives longer. An endpoint behind a balancer may answer with
// an older one.
func (e *entry) better(current, fresh *held, now instant) *held {
	e.mu.Lock()
	defer e.mu.Unlock()
	if refused := e.rejected; refused != nil {
		if a, b := current.token.Equal(refused), fresh.token.Equal(refused); a != b {
			if a {
				return fresh
			}
			return current
		}
	}
	if current.left(now) > fresh.left(now) {
		return current
	}
	return fresh
}
