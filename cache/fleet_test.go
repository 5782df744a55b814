package cache

import (
	"crypto/rand"
	"crypto/rsa"
	mathrand "math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/imdstest"
)

// signingKey is made once, since that takes longer than all else.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// documented are the limits that Azure documents for one machine.
var documented = imdstest.Limits{PerSecond: 20, AtOnce: 5}

// random gives numbers that are the same in each run, to concurrent callers.
func random(seed uint64) func() float64 {
	var mu sync.Mutex
	r := mathrand.New(mathrand.NewPCG(seed, 1))
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return r.Float64()
	}
}

// newFleet starts caches with the default limits, each as in a process of its
// own, that share one machine's IMDS.
func newFleet(t *testing.T, machine *imdstest.Server, n int, seed uint64) []*Cache {
	t.Helper()
	fleet := make([]*Cache, n)
	for i := range fleet {
		client, err := imds.New(imds.Options{Transport: machine})
		if err != nil {
			t.Fatal(err)
		}
		fleet[i] = New(Options{Source: client, Random: random(seed*1000 + uint64(i))})
		t.Cleanup(fleet[i].Close)
	}
	return fleet
}

// Sixty processes that start at once want 180 tokens of a machine that takes 5
// calls at once and 20 a second, so that no order of calls is done before 9 s.
// As they cannot know of each other, 55 of the first 60 calls are refused in any
// case: the least is 235.
func TestSixtyProcessesStartAtOnceOnOneMachine(t *testing.T) {
	const processes, tokens = 60, 180
	keys := []Key{key(vault), key(storage), key("https://management.azure.com/")}
	for _, tt := range []struct {
		name string
		// ready waits until a process has a token for the key.
		ready func(t *testing.T, c *Cache, k Key)
	}{
		{"nobody asks yet", func(t *testing.T, c *Cache, k Key) {
			if err := c.Keep(keys); err != nil {
				t.Error(err)
			}
			for !usable(c, k) {
				time.Sleep(100 * time.Millisecond)
			}
		}},
		{"callers wait, and ask again a second after a failure", func(t *testing.T, c *Cache, k Key) {
			for {
				if _, err := c.Token(t.Context(), k); err == nil {
					return
				}
				time.Sleep(time.Second)
			}
		}},
	} {
		for seed := range uint64(5) {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					machine := imdstest.New(imdstest.Options{Key: signingKey(), Unsigned: true, Limits: documented})
					machine.Script(imdstest.Slow(30 * time.Millisecond).Always())
					start := time.Now()
					var all sync.WaitGroup
					for _, c := range newFleet(t, machine, processes, seed) {
						for _, k := range keys {
							all.Go(func() { tt.ready(t, c, k) })
						}
					}
					all.Wait()
					took := time.Since(start)
					s := machine.Stats()
					t.Logf("%d calls, %.2f for each token, %d refused; the last was ready after %v",
						s.Calls, float64(s.Calls)/tokens, s.ByStatus[http.StatusTooManyRequests], took.Round(time.Second))
					if s.ByStatus[http.StatusOK] != tokens {
						t.Errorf("%d tokens were given, want one for each process and key", s.ByStatus[http.StatusOK])
					}
					if s.Calls > 1.65*tokens {
						t.Errorf("%d calls, want at most 1.65 for each token", s.Calls)
					}
					if took > time.Minute {
						t.Errorf("the last was ready after %v, want a minute at most", took)
					}
				})
			})
		}
	}
}

// The processes that were started together do not refresh together.
func TestSixtyProcessesRefreshWithoutBeingThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		machine := imdstest.New(imdstest.Options{Key: signingKey(), Unsigned: true, Fresh: true, Limits: documented})
		machine.Script(imdstest.Slow(30 * time.Millisecond).Always())
		for _, c := range newFleet(t, machine, 60, 1) {
			if err := c.Keep([]Key{key(vault), key(storage)}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		before := machine.Stats()
		time.Sleep(7 * 24 * time.Hour)
		after := machine.Stats()
		calls, refused := after.Calls-before.Calls, after.ByStatus[http.StatusTooManyRequests]-before.ByStatus[http.StatusTooManyRequests]
		if calls < 60*2*13 || refused*100 > calls {
			t.Errorf("%d of %d calls in a week were refused, want less than one in a hundred", refused, calls)
		}
	})
}

func usable(c *Cache, k Key) bool {
	for _, s := range c.Status() {
		if s.Key == k {
			return s.State.Usable()
		}
	}
	return false
}
