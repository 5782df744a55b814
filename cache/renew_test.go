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
