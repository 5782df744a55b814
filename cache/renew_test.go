package cache

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bearerd/bearerd/imds"
)

func TestRejectionsOfManyCallersShareOneRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{takes: 20 * time.Millisecond}
		c := newCache(t, f, nil)
		rejected, err := c.Token(t.Context(), key(vault))
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if token, err := c.Renew(t.Context(), key(vault), rejected); err != nil || token.Secret() != "token-2" {
					t.Errorf("got %v %v, want the second token", token, err)
				}
			})
		}
		all.Wait()
		if f.count() != 2 {
			t.Errorf("%d calls, want one more", f.count())
		}
		want(t, c, key(vault), "token-2")
	})
}

func TestSecondRejectionWithin30SecondsAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		same := f.token(1)
		f.script(func(int, string) (*imds.Token, error) { return same, nil })
		c := newCache(t, f, nil)
		want(t, c, key(vault), "token-1")
		for range 5 {
			token, err := c.Renew(t.Context(), key(vault), same)
			if err != nil || !token.Equal(same) {
				t.Fatalf("got %v %v, want the same token", token, err)
			}
			time.Sleep(5 * time.Second)
		}
		if f.count() != 2 {
			t.Errorf("%d calls in 25 s, want the first and one refresh", f.count())
		}
		time.Sleep(6 * time.Second)
		if _, err := c.Renew(t.Context(), key(vault), same); err != nil || f.count() != 3 {
			t.Errorf("%d calls after 31 s (%v), want one more", f.count(), err)
		}
	})
}

func TestRejectionDoesNotWaitForAPauseToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		c := newCache(t, f, nil)
		rejected, err := c.Token(t.Context(), key(vault))
		if err != nil {
			t.Fatal(err)
		}
		f.script(func(int, string) (*imds.Token, error) { return nil, failure(imds.Throttled, time.Minute) })
		wantNone(t, c, key(storage), imds.Throttled)
		start := time.Now()
		token, err := c.Renew(t.Context(), key(vault), rejected)
		if err != nil || !token.Equal(rejected) || time.Since(start) != 0 {
			t.Errorf("got %v %v after %v, want the token at hand at once", token, err, time.Since(start))
		}
		// The token is unexpired, so others go on with it.
		want(t, c, key(vault), "token-1")
	})
}

func TestFailedRefreshAfterARejectionGivesTheTokenAtHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		c := newCache(t, f, nil)
		rejected, err := c.Token(t.Context(), key(vault))
		if err != nil {
			t.Fatal(err)
		}
		f.fails(imds.Unavailable)
		token, err := c.Renew(t.Context(), key(vault), rejected)
		if err != nil || !token.Equal(rejected) {
			t.Errorf("got %v %v", token, err)
		}
	})
}

func TestAttemptUnderWayAnswersARejection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{takes: time.Second}
		c := newCache(t, f, nil)
		rejected, err := c.Token(t.Context(), key(vault))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(12*time.Hour - 500*time.Millisecond)
		for f.count() < 2 { // until the refresh is under way
			time.Sleep(100 * time.Millisecond)
		}
		token, err := c.Renew(t.Context(), key(vault), rejected)
		if err != nil || token.Secret() != "token-2" {
			t.Errorf("got %v %v, want the token of the refresh", token, err)
		}
		time.Sleep(time.Minute)
		if f.count() != 2 {
			t.Errorf("%d calls, want none beside the refresh", f.count())
		}
	})
}

// IMDS's instances do not share what they keep: the one asked next may hand out
// again what a service has refused.
func TestRejectedTokenDoesNotReplaceAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		old := imds.NewToken("old", time.Now().Add(48*time.Hour), time.Time{})
		f.script(func(n int, _ string) (*imds.Token, error) {
			if n == 2 {
				return imds.NewToken("other", time.Now().Add(24*time.Hour), time.Time{}), nil
			}
			return old, nil
		})
		c := newCache(t, f, nil)
		want(t, c, key(vault), "old")
		// Though the other ends sooner, it is the one to use.
		token, err := c.Renew(t.Context(), key(vault), old)
		if err != nil || token.Secret() != "other" {
			t.Fatalf("got %v %v, want the other token", token, err)
		}
		time.Sleep(23 * time.Hour)
		synctest.Wait()
		if f.count() < 3 {
			t.Fatalf("%d calls, want a refresh", f.count())
		}
		want(t, c, key(vault), "other")
		time.Sleep(time.Hour)
		want(t, c, key(vault), "old") // better than none
	})
}

func TestRejectionOfAnIdleKeysTokenIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		c := newCache(t, f, func(o *Options) { o.IdleAfter = time.Hour })
		rejected, err := c.Token(t.Context(), key(vault))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Hour) // a call may last for long
		start := time.Now()
		token, err := c.Renew(t.Context(), key(vault), rejected)
		if err != nil || token.Secret() != "token-2" || time.Since(start) != 0 {
			t.Errorf("got %v %v after %v, want another token at once", token, err, time.Since(start))
		}
	})
}

func TestPauseThatBeginsEndsTheWaitForARenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		c := newCache(t, f, nil)
		rejected, err := c.Token(t.Context(), key(vault))
		if err != nil {
			t.Fatal(err)
		}
		// Both places are taken by calls that end in a pause.
		f.slow(time.Second)
		f.script(func(int, string) (*imds.Token, error) { return nil, failure(imds.Throttled, time.Minute) })
		go c.Token(t.Context(), key("https://one"))
		go c.Token(t.Context(), key("https://two"))
		synctest.Wait()
		start := time.Now()
		token, err := c.Renew(t.Context(), key(vault), rejected)
		if err != nil || !token.Equal(rejected) || time.Since(start) > time.Second {
			t.Errorf("got %v %v after %v, want the token at hand when the pause begins", token, err, time.Since(start))
		}
	})
}
