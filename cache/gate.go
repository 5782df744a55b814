package cache

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/bearerd/bearerd/imds"
)

const (
	// outageAfter is how many attempts in a row, each of another key than the one
	// before, must stay without an answer for the source to count as down. What
	// one key alone meets is for its own back-off.
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

// urgency is how much a call is needed.
type urgency uint8

const (
	calm     urgency = iota // an early refresh, or a key that nobody asks for
	pressing                // there is no token, or not for long
	awaited                 // somebody waits for it
)

// gate holds the calls of all keys to what the source takes: so many a second,
// so many under way, none in a pause. The most urgent goes first, and among
// equals the one that has waited longest. At the start, after a pause, and while
// the source is down, one call goes ahead alone, and the others wait for how it
// ends.
type gate struct {
	rate        float64
	burst       int
	concurrency int
	clock       clock
	random      func() float64

	limiter *rate.Limiter
	timer   *time.Timer // of the next dispatch; served by watch

	mu       sync.Mutex // guards what follows
	queue    []*pass    // that are not admitted yet, in order of arrival
	inFlight int
	until    instant       // the end of the pause
	calm     instant       // the same for calm calls, not before until
	alone    bool          // one call at a time
	trouble  int           // how many pauses there were
	outages  int           // attempts in a row without an answer
	down     Key           // whose attempt was the last of them
	throttle int           // 429s in a row
	adjusted instant       // when the rate was changed last
	paused   chan struct{} // closed, and replaced, when a pause begins
}

// pass is one call's way through the gate.
type pass struct {
	key      Key
	urgency  func() urgency
	admitted chan struct{} // closed when the call may be made
	trouble  int           // the gate's at that time
}

func newGate(o Options, c clock) *gate {
	g := &gate{
		rate: o.Rate, burst: o.Burst, concurrency: o.Concurrency, clock: c, random: o.Random,
		limiter: rate.NewLimiter(rate.Limit(o.Rate), o.Burst),
		timer:   time.NewTimer(time.Hour),
		// Who else is starting on this machine is not known yet.
		alone:  true,
		paused: make(chan struct{}),
	}
	return g
}

// enter waits until a call may be made. Unless it gives an error, leave must
// follow.
func (g *gate) enter(ctx context.Context, k Key, u func() urgency) (*pass, error) {
	p := &pass{key: k, urgency: u, admitted: make(chan struct{})}
	g.mu.Lock()
	g.queue = append(g.queue, p)
	g.dispatchLocked()
	g.mu.Unlock()
	select {
	case <-p.admitted:
		return p, nil
	case <-ctx.Done(): // the gate ends with its cache
		return nil, ctx.Err()
	}
}

// dispatch admits what may go now. It is called where a clock or an urgency has
// changed, and when the timer has run down.
func (g *gate) dispatch() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dispatchLocked()
}

func (g *gate) dispatchLocked() {
	for len(g.queue) > 0 && g.inFlight < g.limitLocked() {
		i, u := g.firstLocked()
		if wait := g.opensLocked(u).until(g.clock.read()); wait > 0 {
			g.timer.Reset(wait)
			return
		}
		r := g.limiter.Reserve()
		if wait := r.Delay(); wait > 0 {
			r.Cancel()
			g.timer.Reset(wait)
			return
		}
		p := g.queue[i]
		g.queue = slices.Delete(g.queue, i, i+1)
		g.inFlight++
		p.trouble = g.trouble
		close(p.admitted)
	}
}

func (g *gate) limitLocked() int {
	if g.alone {
		return 1
	}
	return g.concurrency
}

// firstLocked finds whose turn it is.
func (g *gate) firstLocked() (first int, most urgency) {
	for i, p := range g.queue {
		if u := p.urgency(); i == 0 || u > most {
			first, most = i, u
		}
	}
	return first, most
}

// opens is when the pause ends for calls of an urgency; in the past where there
// is none.
func (g *gate) opens(u urgency) instant {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opensLocked(u)
}

func (g *gate) opensLocked(u urgency) instant {
	if u == calm {
		return g.calm
	}
	return g.until
}

// pauses gives what is closed when the next pause begins.
func (g *gate) pauses() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.paused
}

// leave takes over how a call ended, and gives by how much that has lengthened
// the pause of all.
func (g *gate) leave(p *pass, err error) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight--
	defer g.dispatchLocked()
	if errors.Is(err, context.Canceled) {
		return 0
	}
	now := g.clock.read()
	// What was asked before a pause began is no news of how it ended.
	news := p.trouble == g.trouble
	switch class := classOf(err); {
	case err != nil && class == imds.Throttled:
		if news {
			g.throttle++
			g.lowerLocked(now)
		}
		return g.throttledLocked(now, err)
	case err != nil && isOutage(class):
		if news {
			return g.missedLocked(now, p.key, class)
		}
	case news: // the source has answered
		g.outages, g.throttle, g.alone, g.calm = 0, 0, false, g.until
		if err == nil {
			g.recoverLocked(now)
		}
	}
	return 0
}

// missedLocked counts an attempt that stayed without an answer.
func (g *gate) missedLocked(now instant, k Key, class imds.Class) time.Duration {
	if g.outages == 0 || g.down != k || g.outages >= outageAfter {
		g.outages++
	}
	g.down = k
	if g.outages < outageAfter {
		return 0
	}
	failures := g.outages - outageAfter + 1
	return g.pauseLocked(now, failures, backoffOf(class).wait(failures, g.random()))
}

// throttledLocked pauses for as long as a 429 asks for, or else a wait of our
// own.
func (g *gate) throttledLocked(now instant, err error) time.Duration {
	var e *imds.Error
	wait := throttleWait(g.throttle, g.random())
	if errors.As(err, &e) && e.RetryAfter > 0 {
		wait = askedWait(e.RetryAfter, g.random())
	}
	return g.pauseLocked(now, g.throttle, wait)
}

// pauseLocked pauses all, after so many failures in a row, for d, and calm calls
// for longer.
func (g *gate) pauseLocked(now instant, failures int, d time.Duration) (added time.Duration) {
	g.alone = true
	g.trouble++
	if wait := max(d, calmWait(failures, g.random())); wait > g.calm.until(now) {
		g.calm = now.add(wait)
	}
	if added = d - max(g.until.until(now), 0); added <= 0 {
		return 0
	}
	g.until = now.add(d)
	close(g.paused)
	g.paused = make(chan struct{})
	return added
}

// lowerLocked halves the rate, since somebody asks too much, and it may be us.
func (g *gate) lowerLocked(now instant) {
	g.adjusted = now
	g.limiter.SetBurst(1)
	g.limiter.SetLimit(max(g.limiter.Limit()*lowered, rate.Limit(g.rate*floor)))
}

// recoverLocked gives a part of the rate back.
func (g *gate) recoverLocked(now instant) {
	steps := now.since(g.adjusted) / recoveryPause
	if g.limiter.Limit() >= rate.Limit(g.rate) || steps < 1 {
		return
	}
	g.adjusted = now
	g.limiter.SetLimit(min(g.limiter.Limit()+rate.Limit(g.rate*recovery*float64(steps)), rate.Limit(g.rate)))
	if g.limiter.Limit() >= rate.Limit(g.rate) {
		g.limiter.SetBurst(g.burst)
	}
}

// currentRate is how many calls a second may be made now.
func (g *gate) currentRate() float64 { return float64(g.limiter.Limit()) }
