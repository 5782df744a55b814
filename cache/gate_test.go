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
		{retryAfter: 0, least: time.Second, most: 2 * time.Second}, // not said: a back-off of our own
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
		g := newGate(options())
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

func options() Options {
	o := Options{Random: func() float64 { return 0.5 }}
	o.setDefaults()
	return o
}

// leaveAfter makes one call through the gate that ends with err.
func (g *gate) leaveAfter(t *testing.T, err error) {
	t.Helper()
	if e := g.enter(t.Context()); e != nil {
		t.Fatal(e)
	}
	g.leave(err)
}
