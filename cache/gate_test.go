package cache

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bearerd/bearerd/imds"
)

func TestThrottlingPausesEveryKey(t *testing.T) {
	for _, tt := range []struct {
		retryAfter, least, most time.Duration
	}{
		{retryAfter: 20 * time.Second, least: 20 * time.Second, most: 25 * time.Second},
		{retryAfter: 0, least: time.Second, most: 8 * time.Second}, // not said: a pause of our own
	} {
		t.Run(fmt.Sprint(tt.retryAfter), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeSource{}
				f.script(func(n int, _ string) (*imds.Token, error) {
					if n == 1 {
						return nil, failure(imds.Throttled, tt.retryAfter)
					}
					return f.token(n), nil
				})
				var paused time.Duration
				c := newCache(t, f, func(o *Options) {
					o.TokenWait = time.Minute
					o.Hooks.Paused = func(d time.Duration) { paused += d }
				})
				start := time.Now()
				done := make(chan struct{})
				go func() { defer close(done); c.Token(t.Context(), key(vault)) }()
				synctest.Wait()
				if _, err := c.Token(t.Context(), key(storage)); err != nil {
					t.Fatal(err)
				}
				<-done
				second := f.times()[1].Sub(start)
				if second < tt.least || second > tt.most {
					t.Errorf("the next call of any key came after %v, want between %v and %v", second, tt.least, tt.most)
				}
				if paused != second {
					t.Errorf("%v were reported as paused, want %v", paused, second)
				}
			})
		})
	}
}

func TestThrottlingLowersTheRateAndItRecoversSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t)
		g.leaveAfter(t, failure(imds.Throttled, time.Second))
		if g.currentRate() != 2.5 {
			t.Fatalf("the rate is %v after one 429, want half of 5", g.currentRate())
		}
		for range 20 {
			time.Sleep(time.Minute)
			g.leaveAfter(t, failure(imds.Throttled, time.Second))
		}
		if low := g.currentRate(); low <= 0 || low > 0.1 {
			t.Fatalf("the rate is %v after many, want low but not 0", low)
		}
		g.leaveAfter(t, nil)
		if g.currentRate() > 0.5 {
			t.Errorf("one success brought the rate to %v", g.currentRate())
		}
		for range 20 {
			time.Sleep(recoveryPause)
			g.leaveAfter(t, nil)
		}
		if g.currentRate() != 5 || g.limiter.Burst() != 5 {
			t.Errorf("after 200 s of success the rate is %v with a burst of %d, want 5 and 5", g.currentRate(), g.limiter.Burst())
		}
	})
}

func TestOneProbeGoesAheadAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{takes: 100 * time.Millisecond}
		f.fails(imds.Unavailable)
		c := newCache(t, f, func(o *Options) { o.Concurrency, o.TokenWait = 5, time.Hour })
		for i := range 20 {
			go c.Token(t.Context(), key(fmt.Sprint("https://audience/", i)))
		}
		time.Sleep(10 * time.Minute)
		calls := f.count()
		if calls > 40 {
			t.Errorf("%d calls of 20 keys in 10 min of outage, want one probe for all", calls)
		}
		f.mostAtOnce()
		time.Sleep(5 * time.Minute)
		if most := f.mostAtOnce(); most != 1 {
			t.Errorf("%d calls at once in an outage, want 1", most)
		}
		f.script(nil)
		time.Sleep(2 * time.Minute)
		for _, s := range c.Status() {
			if !s.State.Usable() {
				t.Errorf("2 min after the outage %s is %s (%v)", s.Key, s.State, s.Err)
			}
		}
	})
}

// One audience that always fails must not hold up the others.
func TestOneBadKeyDoesNotPauseTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.script(func(n int, audience string) (*imds.Token, error) {
			if audience == storage {
				return nil, failure(imds.Misconfigured, 0)
			}
			return f.token(n), nil
		})
		c := newCache(t, f, nil)
		for i := range 10 {
			wantNone(t, c, key(storage), imds.Misconfigured)
			start := time.Now()
			if _, err := c.Token(t.Context(), key(fmt.Sprint("https://audience/", i))); err != nil || time.Since(start) > time.Second {
				t.Fatalf("a good key got %v after %v", err, time.Since(start))
			}
			time.Sleep(time.Minute)
		}
	})
}

// openGate makes a gate with the default limits, whose timer is served.
func openGate(t *testing.T) *gate {
	o := Options{Random: func() float64 { return 0.5 }}
	o.setDefaults()
	g := newGate(o, clock{o.Now, o.Elapsed})
	go func() {
		for {
			select {
			case <-g.timer.C:
				g.dispatch()
			case <-t.Context().Done():
				return
			}
		}
	}()
	return g
}

// leaveAfter makes one call through the gate that ends with err.
func (g *gate) leaveAfter(t *testing.T, err error) {
	t.Helper()
	p, e := g.enter(t.Context(), key(vault), func() urgency { return awaited })
	if e != nil {
		t.Fatal(e)
	}
	g.leave(p, err)
}

// Two calls under way meet the same throttling.
func TestCallsThatWereThrottledTogetherCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t)
		g.leaveAfter(t, nil)
		var passes []*pass
		for range 2 {
			p, err := g.enter(t.Context(), key(vault), func() urgency { return awaited })
			if err != nil {
				t.Fatal(err)
			}
			passes = append(passes, p)
		}
		for _, p := range passes {
			g.leave(p, failure(imds.Throttled, 0))
		}
		if g.currentRate() != 2.5 || g.throttle != 1 {
			t.Errorf("the rate is %v after %d 429s, want it halved once", g.currentRate(), g.throttle)
		}
	})
}

// A success that was asked for before a pause is no news of how it ended.
func TestSuccessFromBeforeAPauseDoesNotEndIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t)
		g.leaveAfter(t, nil)
		var passes []*pass
		for range 2 {
			p, err := g.enter(t.Context(), key(vault), func() urgency { return awaited })
			if err != nil {
				t.Fatal(err)
			}
			passes = append(passes, p)
		}
		g.leave(passes[0], failure(imds.Throttled, time.Minute))
		g.leave(passes[1], nil)
		if !g.alone || g.opens(awaited).until(g.clock.read()) < time.Minute {
			t.Error("the pause is over, want it to last")
		}
	})
}

func TestOneKeyWithoutAnAnswerDoesNotPauseTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.script(func(n int, audience string) (*imds.Token, error) {
			if audience == storage {
				return nil, failure(imds.Updating, 0)
			}
			return f.token(n), nil
		})
		c := newCache(t, f, nil)
		want(t, c, key(vault), "token-1")
		for range 10 {
			wantNone(t, c, key(storage), imds.Updating)
		}
		if until, _ := c.Throttle(); time.Until(until) > 0 {
			t.Errorf("all keys are paused for %v, want none", time.Until(until))
		}
	})
}

// In an outage that all tokens outlast IMDS is asked seldom, and when it is
// back every refresh that was missed follows the first that succeeds.
func TestRefreshesFollowTheProbeAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		c := newCache(t, f, func(o *Options) { o.Random = random(1) })
		for i := range 20 {
			if _, err := c.Token(t.Context(), key(fmt.Sprint("https://audience/", i))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Hour)
		f.fails(imds.Unavailable)
		before := f.count()
		time.Sleep(11 * time.Hour)
		if probes := f.count() - before; probes < 30 || probes > 100 {
			t.Errorf("%d calls in 11 h of outage, want a few an hour", probes)
		}
		f.script(nil)
		before = f.count()
		for f.count() == before {
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Second)
		for _, s := range c.Status() {
			if s.State != Fresh {
				t.Errorf("10 s after the first success %s is %s (%v)", s.Key, s.State, s.Err)
			}
		}
	})
}

// outage has three keys whose refreshes wait at a gate that would let a caller
// through, and gives their tokens and the key that waits longest.
func outage(t *testing.T, c *Cache, f *fakeSource) (tokens map[Key]*imds.Token, first Key) {
	t.Helper()
	tokens = make(map[Key]*imds.Token)
	for _, k := range []Key{key(vault), key(storage), key("https://third")} {
		token, err := c.Token(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		tokens[k] = token
	}
	time.Sleep(10 * time.Hour)
	f.fails(imds.Unavailable)
	for c.gate.opens(calm).until(c.clock.read()) < 10*time.Minute {
		time.Sleep(time.Minute)
	}
	time.Sleep(9 * time.Minute)
	opens := c.gate.opens(awaited).until(c.clock.read())
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	if len(c.gate.queue) == 0 || opens > 0 {
		t.Fatal("no refresh waits at a gate that would let a caller through")
	}
	return tokens, c.gate.queue[0].key
}

func TestRejectionHurriesARefreshThatHasTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		c := newCache(t, f, func(o *Options) { o.Random = random(1) })
		tokens, k := outage(t, c, f)
		before := f.count()
		if _, err := c.Renew(t.Context(), k, tokens[k]); err != nil || f.count() != before+1 {
			t.Errorf("%d calls (%v), want one at once", f.count()-before, err)
		}
	})
}

func TestCallersSuccessLetsTheRefreshesGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		c := newCache(t, f, func(o *Options) { o.Random = random(1) })
		_, k := outage(t, c, f)
		f.script(nil)
		if _, err := c.Token(t.Context(), key("https://another")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for _, s := range c.Status() {
			if s.Key == k && s.State != Fresh {
				t.Errorf("%s is %s, want it refreshed", s.Key, s.State)
			}
		}
	})
}
