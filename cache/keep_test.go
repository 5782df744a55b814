package cache

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bearerd/bearerd/imds"
)

func TestKeptKeysAreFetchedBeforeAnybodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		c := newCache(t, f, nil)
		if err := c.Keep([]Key{key(vault)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := c.Status(); len(s) != 1 || s[0].State != Fresh || !s[0].Kept {
			t.Errorf("got %+v, want one fresh, kept key", s)
		}
		time.Sleep(10 * 24 * time.Hour)
		if s := c.Status(); len(s) != 1 || !s[0].State.Usable() {
			t.Errorf("after ten days without use: %+v, want it kept", s)
		}
	})
}

func TestIdleKeyIsNoLongerRefreshedAndThenForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		c := newCache(t, f, func(o *Options) { o.IdleAfter = 6 * time.Hour })
		want(t, c, key(vault), "token-1")
		time.Sleep(23 * time.Hour)
		if s := c.Status(); f.count() != 1 || len(s) != 1 || !s[0].State.Usable() {
			t.Fatalf("%d calls, %+v; want no refresh, and the token still there", f.count(), s)
		}
		// A use brings the refresh back.
		want(t, c, key(vault), "token-1")
		synctest.Wait()
		want(t, c, key(vault), "token-2")
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		if s := c.Status(); len(s) != 0 || f.count() != 2 {
			t.Errorf("%d calls, %+v; want the key forgotten", f.count(), s)
		}
		want(t, c, key(vault), "token-3")
	})
}

func TestIdleKeyThatIsKeptFromNowOnIsRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		c := newCache(t, f, func(o *Options) { o.IdleAfter = 6 * time.Hour })
		want(t, c, key(vault), "token-1")
		time.Sleep(20 * time.Hour)
		if err := c.Keep([]Key{key(vault)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if f.count() != 2 {
			t.Errorf("%d calls, want the refresh at once", f.count())
		}
	})
}

// A use that comes while the keeper decides not to refresh is not lost.
func TestUseRightAfterTheKeeperDozedOffWakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		c := newCache(t, f, func(o *Options) { o.IdleAfter = time.Hour })
		want(t, c, key(vault), "token-1")
		e := (*c.entries.Load())[key(vault)]
		time.Sleep(11 * time.Hour)
		if c.plan(e) != dozing || e.due() < 12*time.Hour {
			t.Fatalf("the keeper is to look again in %v, want it to wait for the token's end", e.due())
		}
		e.rouse()
		if e.due() > 0 || e.asleep.Load() {
			t.Errorf("the next attempt is in %v, want it now", e.due())
		}
	})
}

func TestKeyIsNotForgottenUnderACallerWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.fails(imds.NotAssigned)
		c := newCache(t, f, func(o *Options) { o.TokenWait = time.Hour })
		go func() {
			time.Sleep(30 * time.Minute)
			f.script(nil)
		}()
		if _, err := c.Token(t.Context(), key(vault)); err != nil {
			t.Errorf("got %v, want the token that came after 30 min", err)
		}
	})
}

func TestKeyThatNeverWorkedIsForgottenWhenNobodyWantsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.fails(imds.Misconfigured)
		c := newCache(t, f, nil)
		wantNone(t, c, key(vault), imds.Misconfigured)
		time.Sleep(20 * time.Minute)
		if s := c.Status(); len(s) != 0 {
			t.Errorf("still %+v", s)
		}
	})
}

func TestNumberOfKeysIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, &fakeSource{}, func(o *Options) { o.MaxKeys = 1 })
		want(t, c, key(vault), "token-1")
		if _, err := c.Token(t.Context(), key(storage)); err == nil {
			t.Error("a second key was taken, want one")
		}
	})
}

func TestTooManyKeptKeysChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, &fakeSource{}, func(o *Options) { o.MaxKeys = 2 })
		if err := c.Keep([]Key{key(vault)}); err != nil {
			t.Fatal(err)
		}
		if err := c.Keep([]Key{key(storage), key("https://third")}); err == nil {
			t.Error("three keys were taken, want two at most")
		}
		if s := c.Status(); len(s) != 1 || !s[0].Kept {
			t.Errorf("got %+v, want the one that was kept before", s)
		}
	})
}

func TestKeyThatIsUsedAgainIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{life: time.Hour}
		c := newCache(t, f, func(o *Options) { o.IdleAfter = 2 * time.Hour })
		want(t, c, key(vault), "token-1")
		e := (*c.entries.Load())[key(vault)]
		time.Sleep(2*time.Hour - time.Second) // refreshed once, and expired
		if s := c.Status(); len(s) != 1 {
			t.Fatalf("got %+v, want the key still there", s)
		}
		now := c.clock.read()
		idle := c.awake(now.wall) + 24*time.Hour
		e.want(now, idle)
		if e.retire(now.add(24*time.Hour), idle, c.o.IdleAfter) {
			t.Error("a key that is just used was retired")
		}
		if !e.retire(now.add(48*time.Hour), idle+24*time.Hour, c.o.IdleAfter) {
			t.Error("a key that nobody uses and whose token has expired was not retired")
		}
		// Whoever found it before has to look again, and is not kept waiting.
		w, r := e.want(now, idle), e.reject(nil, now, idle, false)
		if !w.gone || !r.gone {
			t.Error("a caller takes the retired entry for a good one")
		}
		select {
		case <-w.changed:
		default:
			t.Error("a caller is kept waiting for the retired entry")
		}
		c.Close()
	})
}

// Callers come and go while keys are forgotten, kept and rejected: each gets a
// token all the same.
func TestCallersMeetKeysThatComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{life: 90 * time.Second, takes: 10 * time.Millisecond}
		c := newCache(t, f, func(o *Options) { o.IdleAfter, o.TokenWait = 30*time.Second, time.Minute })
		var all sync.WaitGroup
		for i := range 20 {
			number := random(uint64(i))
			all.Go(func() {
				for range 300 {
					time.Sleep(time.Duration(number() * number() * float64(5*time.Minute)))
					k := key(fmt.Sprint("https://audience/", i%5))
					token, err := c.Token(t.Context(), k)
					if err != nil || time.Until(token.Expires()) < margin {
						t.Errorf("got %v %v, want a good token", token, err)
						continue
					}
					switch {
					case number() < 0.1:
						if _, err := c.Renew(t.Context(), k, token); err != nil {
							t.Error(err)
						}
					case number() < 0.1:
						if err := c.Keep([]Key{k}); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		all.Wait()
		if err := c.Keep(nil); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Minute)
		if s := c.Status(); len(s) != 0 {
			t.Errorf("%+v are left, want every key forgotten", s)
		}
	})
}
