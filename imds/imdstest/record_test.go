package imdstest

import (
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bearerd/bearerd/imds"
)

func TestCallsAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := emulate(t, Options{})
		started := time.Now()
		s.Script(Fault{}, Throttled(nil))
		mustGet(t, c)
		time.Sleep(time.Minute)
		classOf(t, c)
		ask(s, func(_ *http.Request, q url.Values) { q.Set("client_id", "nobody") })
		if _, err := c.Environment(t.Context()); err != nil {
			t.Error(err)
		}
		want := []Call{
			{started, vault, systemIdentity().Identity, 200},
			{started.Add(time.Minute), vault, systemIdentity().Identity, 429},
			{started.Add(time.Minute), vault, Identity{}, 400},
		}
		got := s.Calls()
		if len(got) != len(want) {
			t.Fatalf("got %+v", got)
		}
		for i := range want {
			if !got[i].Time.Equal(want[i].Time) {
				t.Errorf("call %d came at %s", i, got[i].Time)
			}
			got[i].Time, want[i].Time = time.Time{}, time.Time{}
			if got[i] != want[i] {
				t.Errorf("got %+v, want %+v", got[i], want[i])
			}
		}
		if stats := s.Stats(); stats.Calls != 3 || stats.Minted != 1 || stats.AtOnce != 1 || stats.ByStatus[429] != 1 {
			t.Errorf("got %+v", stats)
		}
	})
}

func TestRecordIsBounded(t *testing.T) {
	s, _ := emulate(t, Options{})
	refused := func(r *http.Request, _ url.Values) { r.Method = http.MethodPost }
	for range keepCalls + 1 {
		ask(s, refused)
	}
	if n := len(s.Calls()); n > keepCalls || n < keepCalls/2 {
		t.Errorf("%d calls are kept", n)
	}
	if n := s.Stats().Calls; n != keepCalls+1 {
		t.Errorf("%d calls are counted", n)
	}
}

func TestTwentyASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := emulate(t, Options{Limits: Limits{PerSecond: 20, RetryAfter: Seconds(1)}})
		for i := range 20 {
			mustGet(t, c)
			if i == 9 {
				time.Sleep(500 * time.Millisecond)
			}
		}
		if class, failed := classOf(t, c); class != imds.Throttled || failed.RetryAfter != time.Second {
			t.Errorf("the 21st: %v", failed)
		}
		time.Sleep(500 * time.Millisecond)
		for range 10 { // those of the first half are a second old
			mustGet(t, c)
		}
		if class, failed := classOf(t, c); class != imds.Throttled {
			t.Errorf("one more: %v", failed)
		}
		if stats := s.Stats(); stats.ByStatus[200] != 30 || stats.ByStatus[429] != 2 {
			t.Errorf("got %+v", stats)
		}
	})
}

func TestFiveAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := emulate(t, Options{Limits: Limits{AtOnce: 5}})
		s.Script(Slow(time.Second).Always())
		var calls sync.WaitGroup
		for range 7 {
			calls.Go(func() { _, _ = c.Token(t.Context(), imds.Identity{}, vault) })
		}
		calls.Wait()
		mustGet(t, c)
		stats := s.Stats()
		if stats.ByStatus[200] != 6 || stats.ByStatus[429] != 2 {
			t.Errorf("got %+v", stats)
		}
		if stats.AtOnce < 5 || stats.AtOnce > 7 {
			t.Errorf("%d at once", stats.AtOnce)
		}
	})
}

func TestNoLimitsUnlessSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := emulate(t, Options{})
		s.Script(Slow(time.Second).Always())
		var calls sync.WaitGroup
		for range 100 {
			calls.Go(func() { _, _ = c.Token(t.Context(), imds.Identity{}, vault) })
		}
		calls.Wait()
		if stats := s.Stats(); stats.ByStatus[200] != 100 || stats.AtOnce != 100 {
			t.Errorf("got %+v", stats)
		}
	})
}
