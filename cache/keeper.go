package cache

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/bearerd/bearerd/imds"
)

const (
	// watchEvery is how often it is looked whether the clock was set or the
	// machine has slept: nobody is told, and timers do not count sleep.
	watchEvery = time.Minute
	// attemptLimit bounds one attempt, for a source that hangs would hold its
	// key's place for ever. Sources have shorter limits of their own.
	attemptLimit = time.Minute
)

// watch serves the gate's timer, and has everybody look again after a jump of
// the clocks since last, or since the tick before.
func (c *Cache) watch(last instant) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	before := time.Now()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.gate.timer.C:
		case <-tick.C:
			now, awake := c.clock.read(), time.Now()
			if !agree(now.since(last), awake.Sub(before)) {
				for _, e := range *c.entries.Load() {
					e.wake()
				}
			}
			last, before = now, awake
		}
		c.gate.dispatch()
	}
}

// keep looks after one key: it fetches a token, refreshes it before it ends, and
// never gives up, until nobody uses the key any more or the cache is closed.
func (c *Cache) keep(e *entry) {
	for c.sleep(e) {
		switch c.plan(e) {
		case fetching:
			c.fetch(e)
		case dropping:
			if c.drop(e) {
				return
			}
		}
	}
}

// sleep waits for the next attempt's time; false once the cache is closed.
func (c *Cache) sleep(e *entry) bool {
	for {
		wait := e.due()
		if wait <= 0 {
			return c.ctx.Err() == nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-e.woken:
			timer.Stop()
		case <-c.ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// step is what a keeper does next.
type step uint8

const (
	fetching step = iota
	dozing        // until the token's end
	dropping
)

// plan decides what to do with a key whose time has come. Where nobody uses it
// any more it is not refreshed, but its token stays as long as it is good, for
// an outage may come.
func (c *Cache) plan(e *entry) step {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := c.clock.read()
	h := e.held.Load()
	switch {
	case !e.idleLocked(c.awake(now.wall), c.o.IdleAfter):
		return fetching
	case !h.valid(now):
		return dropping
	}
	e.asleep.Store(true)
	e.next = h.end()
	return dozing
}

// fetch makes one attempt, when the gate lets it, and says how it ended.
func (c *Cache) fetch(e *entry) {
	p, err := c.gate.enter(c.ctx, e.key, e.urgency)
	if err != nil {
		return // the cache is closed
	}
	asked := e.begin()
	ctx, cancel := context.WithTimeout(c.ctx, attemptLimit)
	token, err := c.o.Source.Token(ctx, e.key.Identity, e.key.Audience)
	cancel()
	if c.ctx.Err() != nil {
		c.gate.leave(p, context.Canceled)
		return
	}
	now, random := c.clock.read(), c.o.Random()
	var fresh *held
	if err == nil {
		if fresh = newHeld(token, asked, random); !fresh.valid(now) {
			err = &imds.Error{Class: imds.Malformed, Audience: e.key.Audience, Identity: e.key.Identity, Err: errTooShort}
		}
	}
	if err != nil {
		c.failed(e, p, err, now, random)
		return
	}
	current := e.held.Load()
	result := resultSuccess
	if current != nil && current.token.Equal(token) {
		result = resultSame
	}
	kept := fresh
	if current.valid(now) && e.better(current, fresh, now) == current {
		kept = current.refreshed(fresh)
	}
	before := e.settle(kept, nil, kept.due())
	c.gate.leave(p, nil)
	c.o.Hooks.Fetched(e.key, result)
	c.logObtained(e.key, current, kept, token, before)
}

// The results of fetches beside the classes of failures.
const (
	resultSuccess = "success"
	resultSame    = "same_token"
)

var errTooShort = errors.New("the token ends within 30 s")

func (c *Cache) logObtained(k Key, current, kept *held, token *imds.Token, before error) {
	if ahead := token.ClockAhead(); ahead > 0 && (current == nil || current.token.ClockAhead() == 0) {
		c.o.Logger.Warn("this machine's clock is ahead of the token's issuer, so that the token looks expired; its lifetime is used instead, correct the clock",
			zap.String("audience", k.Audience), zap.Duration("ahead_at_least", ahead))
	}
	if before != nil || current == nil {
		c.o.Logger.Info("token obtained", zap.String("audience", k.Audience), zap.Stringer("identity", k.Identity),
			zap.Time("expires", kept.token.Expires()), zap.Time("refresh", kept.due().wall))
	}
}

// failed takes over an attempt that brought no token.
func (c *Cache) failed(e *entry, p *pass, err error, now instant, random float64) {
	current, class := e.held.Load(), classOf(err)
	// The pause comes first: callers whom settle wakes must find it.
	if paused := c.gate.leave(p, err); paused > 0 {
		c.o.Hooks.Paused(paused)
	}
	wait := retryAfter(class, e.failuresSoFar()+1, current.left(now), random)
	next := now.add(wait)
	before := e.settle(nil, err, next)
	c.o.Hooks.Fetched(e.key, class.String())
	usable := current.valid(now)
	if before != nil && classOf(before) == class && usable == e.usable {
		return // one more try is no news
	}
	e.usable = usable
	if opens := c.gate.opens(e.urgency()); opens.until(now) > wait {
		next = opens
	}
	fields := []zap.Field{zap.String("audience", e.key.Audience), zap.Stringer("identity", e.key.Identity),
		zap.Stringer("class", class), zap.Error(err), zap.Time("retry", next.wall)}
	if usable {
		c.o.Logger.Warn("a token could not be refreshed; the one at hand is used until it expires", append(fields, zap.Time("expires", current.token.Expires()))...)
		return
	}
	c.o.Logger.Warn("no token", fields...)
}
