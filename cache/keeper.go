package cache

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/bearerd/bearerd/imds"
)

// longestSleep bounds one wait of a keeper. Timers run on the monotonic clock,
// which stands still while the machine sleeps: nobody is told that it woke up.
const longestSleep = time.Minute

// keep looks after one key: it fetches a token, refreshes it before it ends, and
// never gives up, until nobody uses the key any more or the cache is closed.
func (c *Cache) keep(e *entry) {
	for {
		if !c.sleep(e) {
			return
		}
		now := c.o.Now()
		h := e.held.Load()
		switch {
		case h == nil && e.idle(now, abandonAfter), h != nil && !h.valid(now) && e.idle(now, c.o.IdleAfter):
			if c.drop(e) {
				return
			}
		case h.valid(now) && e.idle(now, c.o.IdleAfter):
			// The token stays as long as it is good, for an outage may come.
			e.asleep.Store(true)
			e.postpone(h.until)
		default:
			c.fetch(e)
		}
	}
}

// sleep waits for the next attempt's time; false once the cache is closed.
func (c *Cache) sleep(e *entry) bool {
	for {
		wait := e.due().Sub(c.o.Now())
		if wait <= 0 {
			return c.ctx.Err() == nil
		}
		timer := time.NewTimer(min(wait, longestSleep))
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

// fetch makes one attempt, when the gate lets it, and says how it ended.
func (c *Cache) fetch(e *entry) {
	if c.gate.enter(c.ctx) != nil {
		return // the cache is closed
	}
	token, err := c.o.Source.Token(c.ctx, e.key.Identity, e.key.Audience)
	if c.ctx.Err() != nil {
		c.gate.leave(context.Canceled)
		return
	}
	now := c.o.Now()
	random := c.o.Random()
	current := e.held.Load()
	var fresh *held
	if err == nil {
		if fresh = newHeld(token, now, random); !fresh.valid(now) {
			err = &imds.Error{Class: imds.Malformed, Audience: e.key.Audience, Identity: e.key.Identity, Err: errTooShort}
		}
	}
	if paused := c.gate.leave(err); paused > 0 {
		c.o.Hooks.Paused(paused)
	}
	if err != nil {
		c.failed(e, err, current, now, random)
		return
	}
	result := resultSuccess
	if current != nil && current.token.Equal(token) {
		result = resultSame
	} else if current.valid(now) && current.left(now) > fresh.left(now) && !e.wasRejected(current.token) {
		// An endpoint behind a balancer may answer with an older token.
		fresh = &held{token: current.token, obtained: current.obtained, refresh: fresh.refresh, until: current.until}
	}
	before := e.settle(fresh, nil, fresh.refresh)
	c.o.Hooks.Fetched(e.key, result)
	if ahead := token.ClockAhead(); ahead > 0 && (current == nil || current.token.ClockAhead() == 0) {
		c.o.Logger.Warn("this machine's clock is ahead of the token's issuer, so that the token looks expired; its lifetime is used instead, correct the clock",
			zap.String("audience", e.key.Audience), zap.Duration("ahead_at_least", ahead))
	}
	if before != nil || current == nil {
		c.o.Logger.Info("token obtained", zap.String("audience", e.key.Audience), zap.Stringer("identity", e.key.Identity),
			zap.Time("expires", fresh.token.Expires()), zap.Time("refresh", fresh.refresh))
	}
}

// The results of fetches beside the classes of failures.
const (
	resultSuccess = "success"
	resultSame    = "same_token"
)

var errTooShort = errors.New("the token ends within 30 s")

func (c *Cache) failed(e *entry, err error, current *held, now time.Time, random float64) {
	next := retryAt(err, e.failuresSoFar()+1, current.left(now), now, random)
	if classOf(err) == imds.Throttled {
		// The gate holds everybody back; a key need not wait longer.
		next = now.Add(jitter(time.Second, random))
	}
	before := e.settle(nil, err, next)
	c.o.Hooks.Fetched(e.key, classOf(err).String())
	if before != nil && classOf(before) == classOf(err) {
		return // one more try is no news
	}
	fields := []zap.Field{zap.String("audience", e.key.Audience), zap.Stringer("identity", e.key.Identity),
		zap.Stringer("class", classOf(err)), zap.Error(err), zap.Time("retry", later(next, c.gate.opens()))}
	if current.valid(now) {
		c.o.Logger.Warn("a token could not be refreshed; the one at hand is used until it expires", append(fields, zap.Time("expires", current.token.Expires()))...)
		return
	}
	c.o.Logger.Warn("no token", fields...)
}
