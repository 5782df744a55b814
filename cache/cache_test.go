package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/imdstest"
)

func TestColdStartOfManyMakesOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{takes: 50 * time.Millisecond}
		c := newCache(t, f, nil)
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() { want(t, c, key(vault), "token-1") })
		}
		all.Wait()
		if f.count() != 1 {
			t.Errorf("1000 callers made %d calls, want 1", f.count())
		}
	})
}

func TestManyAudiencesStayWithinTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{takes: 300 * time.Millisecond}
		c := newCache(t, f, func(o *Options) { o.TokenWait = time.Minute })
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				if _, err := c.Token(t.Context(), key(fmt.Sprint("https://audience/", i))); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if most := f.mostAtOnce(); f.count() != 100 || most > 2 {
			t.Errorf("%d calls, %d at once; want 100, at most 2 at once", f.count(), most)
		}
		at := f.times()
		for i := range at {
			if j := i + 10; j < len(at) && at[j].Sub(at[i]) < time.Second {
				t.Fatalf("11 calls within %v, want at most 5 a second and a burst of 5", at[j].Sub(at[i]))
			}
		}
	})
}

func TestTokenIsRefreshedEarlyInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		c := newCache(t, f, nil)
		want(t, c, key(vault), "token-1")
		time.Sleep(11 * time.Hour)
		want(t, c, key(vault), "token-1")
		time.Sleep(time.Hour)
		synctest.Wait()
		if f.count() != 2 {
			t.Fatalf("%d calls, want a second one at half of the life", f.count())
		}
		want(t, c, key(vault), "token-2")
	})
}

func TestSourcesOwnRefreshTimeCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.script(func(n int, _ string) (*imds.Token, error) {
			return imds.NewToken(fmt.Sprint(n), time.Now().Add(24*time.Hour), time.Now().Add(time.Hour)), nil
		})
		c := newCache(t, f, nil)
		want(t, c, key(vault), "1")
		time.Sleep(time.Hour + time.Second)
		want(t, c, key(vault), "2")
	})
}

// IMDS keeps a token for a day and hands it out again until near its end.
func TestSameTokenAgainHalvesTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		same := imds.NewToken("same", time.Now().Add(24*time.Hour), time.Time{})
		f.script(func(int, string) (*imds.Token, error) { return same, nil })
		c := newCache(t, f, nil)
		start := time.Now()
		want(t, c, key(vault), "same")
		time.Sleep(22 * time.Hour)
		want(t, c, key(vault), "same")
		var got []time.Duration
		for _, at := range f.times() {
			got = append(got, at.Sub(start).Round(time.Hour))
		}
		if fmt.Sprint(got) != fmt.Sprint([]time.Duration{0, 12 * time.Hour, 18 * time.Hour, 21 * time.Hour}) {
			t.Errorf("calls after %v, want after about 0, 12, 18 and 21 h", got)
		}
	})
}

func TestUnexpiredTokenIsServedThroughAnyFailureAndAnExpiredOneNever(t *testing.T) {
	for _, class := range []imds.Class{imds.Unavailable, imds.Throttled, imds.Updating, imds.NotAssigned, imds.Misconfigured, imds.Denied, imds.Malformed} {
		t.Run(class.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeSource{}
				c := newCache(t, f, nil)
				end := time.Now().Add(24 * time.Hour)
				want(t, c, key(vault), "token-1")
				f.fails(class)
				for time.Until(end) > margin {
					want(t, c, key(vault), "token-1")
					time.Sleep(min(7*time.Minute, max(time.Until(end)-margin, 0)))
				}
				wantNone(t, c, key(vault), class)
				f.script(nil)
				time.Sleep(6 * time.Minute)
				if token, err := c.Token(t.Context(), key(vault)); err != nil || time.Until(token.Expires()) < time.Hour {
					t.Errorf("after the failure's end got %v %v, want a fresh token", token, err)
				}
			})
		})
	}
}

func TestWaiterGivesUpOnItsOwnDeadlineWithoutHurtingTheFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{takes: 5 * time.Second}
		c := newCache(t, f, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		first := make(chan error)
		go func() {
			_, err := c.Token(ctx, key(vault))
			first <- err
		}()
		synctest.Wait()
		other := make(chan struct{})
		go func() { defer close(other); want(t, c, key(vault), "token-1") }()
		if err := <-first; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the first caller got %v, want its own deadline", err)
		}
		<-other
		if f.count() != 1 {
			t.Errorf("%d calls, want the shared one alone", f.count())
		}
	})
}

func TestWaiterIsServedByAnAttemptThatSucceedsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.script(func(n int, _ string) (*imds.Token, error) {
			if n < 3 {
				return nil, failure(imds.Unavailable, 0)
			}
			return f.token(n), nil
		})
		c := newCache(t, f, nil)
		want(t, c, key(vault), "token-3")
	})
}

func TestNobodyWaitsForAnAttemptThatComesTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.script(func(int, string) (*imds.Token, error) { return nil, failure(imds.Throttled, 5*time.Minute) })
		c := newCache(t, f, nil)
		wantNone(t, c, key(vault), imds.Throttled)
		start := time.Now()
		e := wantNone(t, c, key(vault), imds.Throttled)
		if time.Since(start) != 0 || e.RetryAfter < 4*time.Minute {
			t.Errorf("an answer after %v with Retry-After %v, want at once with about 5 min", time.Since(start), e.RetryAfter)
		}
		// Another key is no better off, and learns it at once too.
		if _, err := c.Token(t.Context(), key(storage)); err == nil || time.Since(start) != 0 || f.count() != 1 {
			t.Errorf("another key got %v after %v and %d calls, want none at once", err, time.Since(start), f.count())
		}
	})
}

func TestFailureThatWaitingDoesNotHealIsToldAtOnce(t *testing.T) {
	for _, class := range []imds.Class{imds.Misconfigured, imds.Denied} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeSource{}
			f.fails(class)
			c := newCache(t, f, nil)
			start := time.Now()
			wantNone(t, c, key(vault), class)
			wantNone(t, c, key(vault), class)
			if time.Since(start) != 0 || f.count() != 1 {
				t.Errorf("%s: told after %v and %d calls, want at once after one", class, time.Since(start), f.count())
			}
			f.script(nil)
			time.Sleep(5 * time.Minute)
			if _, err := c.Token(t.Context(), key(vault)); err != nil {
				t.Errorf("%s: still %v after 5 min, want the failure not to be kept for long", class, err)
			}
		})
	}
}

func TestTokenThatEndsWithinTheMarginIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{life: 20 * time.Second}
		c := newCache(t, f, nil)
		wantNone(t, c, key(vault), imds.Malformed)
	})
}

func TestClockThatJumpsAheadEndsTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		f := &fakeSource{life: time.Hour}
		c := newCache(t, f, func(o *Options) { o.Now = now })
		want(t, c, key(vault), "token-1")
		ahead.Store(int64(2 * time.Hour))
		f.script(func(n int, _ string) (*imds.Token, error) {
			return imds.NewToken(fmt.Sprint("token-", n), now().Add(time.Hour), time.Time{}), nil
		})
		want(t, c, key(vault), "token-2")
	})
}

func TestOlderTokenDoesNotReplaceABetterOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.script(func(n int, _ string) (*imds.Token, error) {
			life := 24 * time.Hour
			if n > 1 {
				life = time.Hour
			}
			return imds.NewToken(fmt.Sprint(n), time.Now().Add(life), time.Time{}), nil
		})
		c := newCache(t, f, nil)
		want(t, c, key(vault), "1")
		time.Sleep(13 * time.Hour)
		want(t, c, key(vault), "1")
	})
}

func TestCallerWithADeadlineIsToldAtOnceThatItIsTooShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.fails(imds.NotAssigned)
		c := newCache(t, f, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := c.Token(ctx, key(vault))
		if unavailable := (*UnavailableError)(nil); !errors.As(err, &unavailable) || time.Since(start) != 0 {
			t.Errorf("got %v after %v, want the failure at once: the next attempt is 5 s away", err, time.Since(start))
		}
	})
}

func TestCloseWakesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{takes: time.Hour}
		c := newCache(t, f, nil)
		failed := make(chan error)
		go func() {
			_, err := c.Token(t.Context(), key(vault))
			failed <- err
		}()
		synctest.Wait()
		c.Close()
		if err := <-failed; !errors.Is(err, errClosed) {
			t.Errorf("the waiter got %v", err)
		}
		if _, err := c.Token(t.Context(), key(vault)); !errors.Is(err, errClosed) {
			t.Errorf("a caller after Close got %v", err)
		}
	})
}

func TestLogSaysWhatChangedAndNotEachTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		f := &fakeSource{}
		c := newCache(t, f, func(o *Options) { o.Logger = zap.New(core) })
		f.fails(imds.Unavailable)
		wantNone(t, c, key(vault), imds.Unavailable)
		for range 20 {
			c.Token(t.Context(), key(vault))
			time.Sleep(10 * time.Second)
		}
		f.script(nil)
		time.Sleep(2 * time.Minute)
		want(t, c, key(vault), fmt.Sprint("token-", f.count()))
		var messages []string
		for _, line := range logs.All() {
			messages = append(messages, line.Message)
		}
		if fmt.Sprint(messages) != "[no token token obtained]" || f.count() < 5 {
			t.Errorf("%d calls logged %q", f.count(), messages)
		}
	})
}

func TestLogSaysThatTheTokenHasEndedInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		f := &fakeSource{life: 2 * time.Hour}
		c := newCache(t, f, func(o *Options) { o.Logger = zap.New(core) })
		want(t, c, key(vault), "token-1")
		f.fails(imds.Unavailable)
		for range 200 {
			c.Token(t.Context(), key(vault))
			time.Sleep(time.Minute)
		}
		var messages []string
		for _, line := range logs.All() {
			messages = append(messages, line.Message)
		}
		wanted := []string{"token obtained", "a token could not be refreshed; the one at hand is used until it expires", "no token"}
		if !slices.Equal(messages, wanted) {
			t.Errorf("logged %q, want %q", messages, wanted)
		}
	})
}

func TestClockThatIsAheadIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.WarnLevel)
		machine := imdstest.New(imdstest.Options{Now: func() time.Time { return time.Now().Add(-48 * time.Hour) }})
		client, err := imds.New(imds.Options{Transport: machine})
		if err != nil {
			t.Fatal(err)
		}
		c := newCache(t, nil, func(o *Options) { o.Source, o.Logger = client, zap.New(core) })
		for range 3 {
			if _, err := c.Token(t.Context(), key(vault)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(13 * time.Hour)
		}
		if n := logs.FilterMessageSnippet("clock is ahead").Len(); n != 1 || len(machine.Calls()) < 3 {
			t.Errorf("%d lines on the clock after %d calls, want one", n, len(machine.Calls()))
		}
	})
}
