package cache

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bearerd/bearerd/imds"
)

func TestWaiterLearnsAtOnceOfAPauseThatIsTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{takes: time.Second}
		f.script(func(int, string) (*imds.Token, error) { return nil, failure(imds.Throttled, 5*time.Minute) })
		c := newCache(t, f, nil)
		go c.Token(t.Context(), key(storage)) // alone at the start; vault's keeper waits behind it
		synctest.Wait()
		start := time.Now()
		_, err := c.Token(t.Context(), key(vault))
		if err == nil || time.Since(start) != time.Second || f.count() != 1 {
			t.Errorf("got %v after %v and %d calls, want a failure when the pause begins, after 1 s", err, time.Since(start), f.count())
		}
	})
}

func TestCallUnderWayIsWaitedForInAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		c := newCache(t, f, nil)
		want(t, c, key("https://first"), "token-1") // from now on two calls at once
		f.slow(time.Second)
		f.script(func(n int, audience string) (*imds.Token, error) {
			if audience == storage {
				return nil, failure(imds.Throttled, 5*time.Minute)
			}
			time.Sleep(time.Second)
			return f.token(n), nil
		})
		go c.Token(t.Context(), key(storage))
		go c.Token(t.Context(), key(vault))
		time.Sleep(1500 * time.Millisecond) // the pause has begun, vault's call is under way
		if _, err := c.Token(t.Context(), key(vault)); err != nil {
			t.Errorf("got %v, want the token of the call under way", err)
		}
	})
}

// A refresh that failed is not tried again for long while its token is good. A
// caller whose token the clock has ended is not to wait for that.
func TestCallerInNeedDoesNotWaitForTheNextRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, f := newMachineClock(), &fakeSource{}
		f.script(m.mint)
		c := newCache(t, f, m.use)
		want(t, c, key(vault), "token-1")
		f.fails(imds.Denied)
		time.Sleep(13 * time.Hour)
		for c.Status()[0].NextAttempt.Sub(m.now()) < 5*time.Minute {
			time.Sleep(time.Minute)
		}
		n := f.count()
		f.script(m.mint)
		m.setBy(24 * time.Hour)
		c.Token(t.Context(), key(vault)) // tells of the last failure
		time.Sleep(time.Minute)
		want(t, c, key(vault), fmt.Sprint("token-", n+1))
	})
}

func TestCallerGoesBeforeRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		c := newCache(t, f, func(o *Options) { o.Rate, o.Burst, o.Concurrency, o.TokenWait = 0.1, 1, 1, time.Hour })
		for i := range 20 {
			if _, err := c.Token(t.Context(), key(fmt.Sprint("https://refreshed/", i))); err != nil {
				t.Fatal(err)
			}
		}
		n := f.count()
		for f.count() == n { // until the first of the refreshes
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Second)
		start := time.Now()
		if _, err := c.Token(t.Context(), key(vault)); err != nil || time.Since(start) > 11*time.Second {
			t.Errorf("%v after %v, want a token from the next call", err, time.Since(start))
		}
	})
}

func TestKeysOfEqualUrgencyTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{takes: 100 * time.Millisecond}
		c := newCache(t, f, func(o *Options) { o.Concurrency, o.TokenWait = 1, time.Hour })
		for i := range 50 {
			go c.Token(t.Context(), key(fmt.Sprint("https://audience/", i)))
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		for i, audience := range f.audiences() {
			if want := fmt.Sprint("https://audience/", i); audience != want {
				t.Fatalf("call %d is for %s, want %s: first come, first served", i, audience, want)
			}
		}
		if f.count() != 50 {
			t.Errorf("%d calls, want one for each", f.count())
		}
	})
}

func TestFirstCallGoesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{takes: time.Second}
		c := newCache(t, f, nil)
		if err := c.Keep([]Key{key(vault), key(storage), key("https://third")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		first := f.mostAtOnce()
		time.Sleep(time.Second)
		if second := f.mostAtOnce(); first != 1 || second != 2 {
			t.Errorf("%d at once and then %d, want one alone and then two", first, second)
		}
	})
}

func TestSourceThatHangsDoesNotHoldAKeyForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{takes: 1000 * time.Hour}
		c := newCache(t, f, nil)
		wantNone(t, c, key(vault), imds.Unavailable)
		time.Sleep(attemptLimit)
		f.slow(0)
		time.Sleep(attemptLimit)
		want(t, c, key(vault), fmt.Sprint("token-", f.count()))
	})
}

func TestTenThousandWaitersOnOneColdKey(t *testing.T) {
	const waiters = 10_000
	heap := func() uint64 {
		var m runtime.MemStats
		for range 3 { // pools give up what they hold at the second
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	answer := make(chan struct{})
	f := &fakeSource{}
	f.script(func(n int, _ string) (*imds.Token, error) { <-answer; return f.token(n), nil })
	c := New(Options{Source: f, TokenWait: time.Minute})
	defer c.Close()
	serve := func(k Key) time.Duration {
		var all sync.WaitGroup
		for range waiters {
			all.Go(func() {
				if _, err := c.Token(t.Context(), k); err != nil {
					t.Error(err)
				}
			})
		}
		for e := (*entry)(nil); e == nil || e.waiting.Load() < waiters; runtime.Gosched() {
			e = (*c.entries.Load())[k]
		}
		start := time.Now()
		answer <- struct{}{}
		all.Wait()
		return time.Since(start)
	}
	serve(key(storage)) // what the runtime keeps of goroutines, it keeps
	before := heap()
	took := time.Hour
	const rounds = 3 // of which the machine may disturb some
	for i := range rounds {
		took = min(took, serve(key(fmt.Sprint("https://audience/", i))))
	}
	t.Logf("served within %v", took)
	if f.count() != 1+rounds {
		t.Errorf("%d calls, want one for each of %d keys", f.count(), 1+rounds)
	}
	if took > raceFactor*50*time.Millisecond {
		t.Errorf("the last was served %v after the answer, want 50 ms at most", took)
	}
	// The runtime itself keeps some of what so many goroutines needed; a waiter
	// that was kept would be 200 bytes at the least, for its timer alone.
	if after := heap(); after > before+rounds*waiters*32 {
		t.Errorf("%d KiB are held afterwards, want next to nothing", (after-before)>>10)
	}
}
