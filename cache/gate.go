package cache

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/bearerd/bearerd/imds"
)

const (
	// outageAfter is how many attempts in a row, over all keys, must stay without
	// an answer for the source to count as down.
	outageAfter = 3
	// lowered is what a 429 leaves of the rate, and floor how low it gets, as
	// parts of the configured rate.
	lowered = 0.5
	floor   = 1.0 / 64
	// recovery is the part of the configured rate that comes back each
	// recoveryPause without a 429.
	recovery      = 1.0 / 16
	recoveryPause = 10 * time.Second
)

// gate holds the calls of all keys to what the source takes: so many a second,
// so many under way, none in a pause. After a pause, and while the source is
// down, one call goes ahead alone, and the others wait for how it ends.
type gate struct {
	rate        float64
	burst       int
	concurrency int
	now         func() time.Time
	random      func() float64

	limiter *rate.Limiter

	mu       sync.Mutex // guards what follows
	inFlight int
	until    time.Time     // the end of the pause
	troubled bool          // one call at a time
	outages  int           // attempts in a row without an answer
	throttle int           // 429s in a row
	adjusted time.Time     // when the rate was changed last
	changed  chan struct{} // closed, and replaced, when any of it has changed
}

func newGate(o Options) *gate {
	return &gate{
		rate: o.Rate, burst: o.Burst, concurrency: o.Concurrency, now: o.Now, random: o.Random,
		limiter: rate.NewLimiter(rate.Limit(o.Rate), o.Burst),
		changed: make(chan struct{}),
	}
}

// enter waits until a call may be made. Unless it gives an error, leave must
// follow.
func (g *gate) enter(ctx context.Context) error {
	for {
		if err := g.slot(ctx); err != nil {
			return err
		}
		if err := g.limiter.Wait(ctx); err != nil {
			g.release()
			return err
		}
		if !g.opens().After(g.now()) {
			return nil
		}
		g.release() // a pause has begun meanwhile
	}
}

// slot waits for the pause to end and takes a place among the calls under way.
func (g *gate) slot(ctx context.Context) error {
	for {
		wait, changed, ok := g.trySlot()
		if ok {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

func (g *gate) trySlot() (wait time.Duration, changed <-chan struct{}, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	limit := g.concurrency
	if g.troubled {
		limit = 1
	}
	wait = g.until.Sub(g.now())
	if wait <= 0 && g.inFlight < limit {
		g.inFlight++
		return 0, nil, true
	}
	if wait <= 0 {
		wait = time.Hour // until something changes
	}
	return wait, g.changed, false
}

// opens is when the pause ends; in the past where there is none.
func (g *gate) opens() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.until
}

func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight--
	g.changedLocked()
}

func (g *gate) changedLocked() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// leave takes over how a call ended, and gives how long all are paused for it.
func (g *gate) leave(err error) (paused time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight--
	defer g.changedLocked()
	now := g.now()
	if err == nil {
		g.outages, g.throttle, g.troubled = 0, 0, false
		g.recoverLocked(now)
		return 0
	}
	if errors.Is(err, context.Canceled) {
		return 0
	}
	switch classOf(err) {
	case imds.Throttled:
		g.throttle++
		g.lowerLocked(now)
		return g.pauseLocked(now, g.throttlePauseLocked(err))
	case imds.Unavailable, imds.Updating:
		if g.outages++; g.outages >= outageAfter {
			wait := backoffOf(classOf(err)).wait(g.outages-outageAfter+1, g.random())
			return g.pauseLocked(now, wait)
		}
	default: // the source has answered
		g.outages, g.throttle, g.troubled = 0, 0, false
	}
	return 0
}

// throttlePauseLocked is what a 429 asks for, or a growing wait where it does
// not. Jitter comes on top: whoever asked for the wait is not to be met by
// everybody at its end.
func (g *gate) throttlePauseLocked(err error) time.Duration {
	var e *imds.Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		return e.RetryAfter + time.Duration(g.random()*float64(min(e.RetryAfter/10, 5*time.Second)))
	}
	return backoffOf(imds.Throttled).wait(g.throttle, g.random())
}

func (g *gate) pauseLocked(now time.Time, d time.Duration) time.Duration {
	g.troubled = true
	until := now.Add(d)
	added := until.Sub(later(g.until, now))
	if added <= 0 {
		return 0
	}
	g.until = until
	return added
}

// lowerLocked halves the rate, since somebody asks too much, and it may be us.
func (g *gate) lowerLocked(now time.Time) {
	g.adjusted = now
	g.limiter.SetBurst(1)
	g.limiter.SetLimit(max(g.limiter.Limit()*lowered, rate.Limit(g.rate*floor)))
}

// recoverLocked gives a part of the rate back.
func (g *gate) recoverLocked(now time.Time) {
	if g.limiter.Limit() >= rate.Limit(g.rate) || now.Sub(g.adjusted) < recoveryPause {
		return
	}
	steps := now.Sub(g.adjusted) / recoveryPause
	g.adjusted = now
	g.limiter.SetLimit(min(g.limiter.Limit()+rate.Limit(g.rate*recovery*float64(steps)), rate.Limit(g.rate)))
	if g.limiter.Limit() >= rate.Limit(g.rate) {
		g.limiter.SetBurst(g.burst)
	}
}

// currentRate is how many calls a second may be made now.
func (g *gate) currentRate() float64 { return float64(g.limiter.Limit()) }
