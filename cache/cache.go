// Package cache answers when a token is fresh, due, or to be waited for. It is
// the only place that decides to ask for one.
//
// It hides the keeper behind each key, the limits and pauses that all keys
// share, and every rule of when to ask again: those are the functions of
// policy.go. What it asks is a Source; how that is spoken to is package imds's.
package cache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/bearerd/bearerd/imds"
)

// Key is what a token is for: whose it is and who takes it.
type Key struct {
	Identity imds.Identity
	Audience string
}

// String names the key for logs and people.
func (k Key) String() string { return fmt.Sprintf("%s (%s)", k.Audience, k.Identity) }

// Source makes one attempt to get a token; *imds.Client is one. A failure that
// is no *imds.Error counts as imds.Unavailable.
type Source interface {
	Token(ctx context.Context, id imds.Identity, audience string) (*imds.Token, error)
}

// Options are what a Cache is made of. Source is required; every other field's
// zero value takes what its comment names.
type Options struct {
	Source Source
	// Rate, Burst and Concurrency bound the calls over all keys: 5 a second, 5
	// at once after a pause, 2 under way. IMDS takes 20 a second and 5 at once
	// from the whole machine, which has other programs too
	// (https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service#rate-limiting).
	Rate        float64
	Burst       int
	Concurrency int
	// TokenWait is how long a caller waits for a token at most; 10 s.
	TokenWait time.Duration
	// IdleAfter is how long a key may be unused before its token is no longer
	// refreshed; 24 h, which is how long IMDS's own tokens live.
	IdleAfter time.Duration
	// MaxKeys bounds the keys; 1024.
	MaxKeys int
	Now     func() time.Time // nil: time.Now
	// Elapsed is the time since any fixed moment, the machine's sleep included.
	// Of what it and Now say has passed, the larger counts. nil: CLOCK_BOOTTIME
	// on Linux, elsewhere the time awake.
	Elapsed func() time.Duration
	Random  func() float64 // in [0,1), for jitter; safe for concurrent use; nil: math/rand/v2
	Logger  *zap.Logger    // nil: no log
	Hooks   Hooks
}

// Hooks tell metrics what happens; a nil one is not called. They must return
// quickly and not call the Cache.
type Hooks struct {
	Served  func(Outcome)
	Fetched func(k Key, result string)
	Paused  func(time.Duration)
}

// Outcome is how a caller was served.
type Outcome uint8

// The outcomes.
const (
	Hit    Outcome = iota // a valid token was there
	Stale                 // the same, though its refresh is late
	Waited                // it had to be fetched first
	Failed                // there was none in time
)

// String names the outcome for metrics.
func (o Outcome) String() string {
	return [...]string{Hit: "hit", Stale: "stale", Waited: "wait", Failed: "failed"}[o]
}

func (o *Options) setDefaults() {
	setDefault(&o.Rate, 5)
	setDefault(&o.Burst, 5)
	setDefault(&o.Concurrency, 2)
	setDefault(&o.TokenWait, 10*time.Second)
	setDefault(&o.IdleAfter, 24*time.Hour)
	setDefault(&o.MaxKeys, 1024)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Elapsed == nil {
		o.Elapsed = bootClock()
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Hooks.Served == nil {
		o.Hooks.Served = func(Outcome) {}
	}
	if o.Hooks.Fetched == nil {
		o.Hooks.Fetched = func(Key, string) {}
	}
	if o.Hooks.Paused == nil {
		o.Hooks.Paused = func(time.Duration) {}
	}
}

func setDefault[T int | float64 | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}

// UnavailableError is the answer where there is no valid token in time.
type UnavailableError struct {
	Key Key
	// RetryAfter is when asking again may help; 0: not known.
	RetryAfter time.Duration
	Err        error // mostly an *imds.Error
}

// Error implements error.
func (e *UnavailableError) Error() string {
	var failed *imds.Error
	if errors.As(e.Err, &failed) { // names the key itself
		return e.Err.Error()
	}
	return fmt.Sprintf("token for %s: %v", e.Key, e.Err)
}

// Unwrap gives what went wrong.
func (e *UnavailableError) Unwrap() error { return e.Err }

var (
	errClosed  = errors.New("the cache is closed")
	errPending = errors.New("it has not come in time; the identity endpoint is slow or paused, see /status")
)

// Cache holds the tokens of many keys. New makes one; it is safe for concurrent
// use, and Close ends it.
type Cache struct {
	o       Options
	clock   clock
	started time.Time
	gate    *gate

	ctx     context.Context // of every fetch: no caller's end may end a shared one
	cancel  context.CancelFunc
	keepers sync.WaitGroup // and the watch

	entries atomic.Pointer[map[Key]*entry] // replaced, never changed, so that a hit takes no lock
	mu      sync.Mutex                     // guards closed, and replacing entries
	closed  bool
}

// New makes an empty Cache.
func New(o Options) *Cache {
	o.setDefaults()
	k := clock{o.Now, o.Elapsed}
	started := k.read()
	c := &Cache{o: o, clock: k, started: started.wall, gate: newGate(o, k)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.entries.Store(new(map[Key]*entry))
	c.keepers.Go(func() { c.watch(started) })
	return c
}

// awake is the time since the start, the machine's sleep left out: what a use is
// dated by, for while the machine sleeps nobody can use anything.
func (c *Cache) awake(now time.Time) time.Duration { return now.Sub(c.started) }

// Close forgets all tokens and returns when no fetch is under way any more.
// Callers that wait get an error.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.keepers.Wait()
	c.entries.Store(new(map[Key]*entry))
}

// Token gives a valid token. Where there is none it waits for one, at most for
// TokenWait or until ctx ends; it does not wait where the next attempt is known
// to be later than that, or where asking again does not help. The error is an
// *UnavailableError, or ctx's.
//
// An unexpired token is given whatever happens to its refresh. A hit takes no
// lock and allocates nothing.
func (c *Cache) Token(ctx context.Context, k Key) (*imds.Token, error) {
	now := c.o.Now()
	if e := (*c.entries.Load())[k]; e != nil {
		if h := e.held.Load(); h != nil {
			if passed := c.clock.since(now, h.obtained); passed < h.life {
				e.use(c.awake(now))
				outcome := Hit
				if passed >= h.refresh {
					outcome = Stale
					e.rouse()
				}
				c.o.Hooks.Served(outcome)
				return h.token, nil
			}
		}
	}
	token, err := c.await(ctx, k)
	if err != nil {
		c.o.Hooks.Served(Failed)
		return nil, err
	}
	c.o.Hooks.Served(Waited)
	return token, nil
}

// await waits for attempts of the key's keeper until one has brought a token.
func (c *Cache) await(ctx context.Context, k Key) (*imds.Token, error) {
	started, patience := c.clock.read(), c.o.TokenWait
	if end, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(end))
	}
	deadline := time.NewTimer(c.o.TokenWait)
	defer deadline.Stop()
	for {
		e, err := c.entry(k)
		if err != nil {
			return nil, &UnavailableError{Key: k, Err: err}
		}
		paused := c.gate.pauses() // before the pause is looked at, so that none is missed
		now := c.clock.read()
		w := e.want(now, c.awake(now.wall))
		switch {
		case w.gone:
			continue
		case w.held.valid(now):
			return w.held.token, nil
		}
		wait := max(w.wait, c.gate.opens(awaited).until(now), 0)
		failed := &UnavailableError{Key: k, RetryAfter: wait, Err: w.failure}
		if w.failure == nil {
			failed.Err = errPending
		}
		late := wait > patience-now.since(started)
		if !w.calling && (late || isFinal(w.failure)) {
			return nil, failed
		}
		e.waiting.Add(1)
		c.gate.dispatch() // somebody waits for it now
		select {
		case <-w.changed:
		case <-paused:
		case <-deadline.C:
			err = failed
		case <-ctx.Done():
			err = ctx.Err()
		case <-c.ctx.Done():
			err = &UnavailableError{Key: k, Err: errClosed}
		}
		if e.waiting.Add(-1); err != nil {
			return nil, err
		}
		// Thousands may have waited for the same: they take no lock.
		if h := e.held.Load(); h != nil && c.clock.since(c.o.Now(), h.obtained) < h.life {
			return h.token, nil
		}
	}
}

// Renew gives a token other than the one that a service rejected, or the same
// where there is no other. However many callers ask, the source is asked once
// in 30 s for a key. It waits as Token does, but never for a pause to end: the
// rejection concerns the caller's call, which has its answer already.
func (c *Cache) Renew(ctx context.Context, k Key, rejected *imds.Token) (*imds.Token, error) {
	deadline := time.NewTimer(c.o.TokenWait)
	defer deadline.Stop()
	for {
		e, err := c.entry(k)
		if err != nil {
			return nil, &UnavailableError{Key: k, Err: err}
		}
		paused := c.gate.pauses()
		now := c.clock.read()
		r := e.reject(rejected, now, c.awake(now.wall), c.gate.opens(awaited).until(now) > 0)
		switch {
		case r.gone:
			continue
		case r.other != nil:
			return r.other, nil
		case r.attempt == nil:
			return rejected, nil
		}
		c.gate.dispatch() // somebody waits for it now
		select {
		case <-r.attempt:
			// Another, or the attempt that answers for 30 s has brought none.
		case <-paused:
			// The attempt may be under way nevertheless.
		case <-deadline.C:
			return rejected, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.ctx.Done():
			return nil, &UnavailableError{Key: k, Err: errClosed}
		}
	}
}

// Keep names the keys that are fetched before anybody asks and never dropped,
// in place of those named before. Where there are too many, it gives an error
// and changes nothing.
func (c *Cache) Keep(keys []Key) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted := make(map[Key]bool, len(keys))
	total := len(*c.entries.Load())
	for _, k := range keys {
		if !wanted[k] && (*c.entries.Load())[k] == nil {
			total++
		}
		wanted[k] = true
	}
	if total > c.o.MaxKeys {
		return errTooMany(c.o.MaxKeys)
	}
	for k := range wanted {
		if _, err := c.entryLocked(k); err != nil {
			return fmt.Errorf("token for %s: %w", k, err)
		}
	}
	for k, e := range *c.entries.Load() {
		e.pin(wanted[k])
	}
	return nil
}

// entry gives the key's entry, made with its keeper if there is none.
func (c *Cache) entry(k Key) (*entry, error) {
	if e := (*c.entries.Load())[k]; e != nil {
		return e, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entryLocked(k)
}

// entryLocked is entry with the lock held.
func (c *Cache) entryLocked(k Key) (*entry, error) {
	if c.closed {
		return nil, errClosed
	}
	entries := *c.entries.Load()
	if e := entries[k]; e != nil {
		return e, nil
	}
	if len(entries) >= c.o.MaxKeys {
		return nil, errTooMany(c.o.MaxKeys)
	}
	now := c.clock.read()
	e := newEntry(k, c.clock, c.awake(now.wall), now)
	entries = maps.Clone(entries)
	if entries == nil {
		entries = make(map[Key]*entry)
	}
	entries[k] = e
	c.entries.Store(&entries)
	c.keepers.Go(func() { c.keep(e) })
	return e, nil
}

func errTooMany(most int) error {
	return fmt.Errorf("there are %d pairs of identity and audience already; use fewer", most)
}

// drop forgets an entry that nobody has used for long, unless somebody just
// does. It reports whether it did.
func (c *Cache) drop(e *entry) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.read()
	if !e.retire(now, c.awake(now.wall), c.o.IdleAfter) {
		return false
	}
	entries := maps.Clone(*c.entries.Load())
	delete(entries, e.key)
	c.entries.Store(&entries)
	return true
}
