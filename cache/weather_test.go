package cache

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/imdstest"
)

// faults are what may be wrong with IMDS, and for how long.
var faults = [...]struct {
	fault imdstest.Fault
	most  time.Duration
}{
	{imdstest.Reset(), 11 * time.Hour},
	{imdstest.Hang(), 11 * time.Hour},
	{imdstest.Unavailable(500), 11 * time.Hour},
	{imdstest.Unavailable(503).After(imdstest.Seconds(5)), 11 * time.Hour},
	{imdstest.HTML(), 11 * time.Hour},
	{imdstest.Cut(), 11 * time.Hour},
	{imdstest.Unavailable(410), imdstest.Updating},
	{imdstest.Unavailable(404), 5 * time.Minute},
	{imdstest.NotAssigned(), 5 * time.Minute},
	{imdstest.Refused(403, "access_denied", ""), time.Hour},
	{imdstest.Throttled(nil), time.Hour},
	{imdstest.Throttled(imdstest.Seconds(30)), time.Hour},
	{imdstest.Throttled(imdstest.Date(time.Minute)), time.Hour},
	{imdstest.Throttled(imdstest.Text("-7e99")), time.Hour},
	{imdstest.Slow(4 * time.Second), time.Hour},
}

// spell is a time in which something is wrong.
type spell struct {
	after time.Duration // the end of the one before
	lasts time.Duration
	what  int // of faults
}

// draw makes a script of spells: two minutes apart at least, and longer by gap
// on average.
func draw(seed uint64, lasts, gap time.Duration) (spells []spell) {
	r := mathrand.New(mathrand.NewPCG(seed, 2))
	for at := time.Duration(0); at < lasts; {
		s := spell{after: 2*time.Minute + time.Duration(r.ExpFloat64()*float64(gap)), what: r.IntN(len(faults))}
		s.lasts = time.Second + time.Duration(r.Float64()*float64(faults[s.what].most-time.Second))
		spells = append(spells, s)
		at += s.after + s.lasts
	}
	return spells
}

// weather has spells happen to a machine, and knows since when it is well.
type weather struct {
	machine *imdstest.Server

	mu     sync.Mutex // guards what follows
	well   bool
	since  time.Time
	unwell time.Duration // in all
}

// run lets the spells happen until ctx ends.
func (w *weather) run(ctx context.Context, spells []spell) {
	w.turn(true)
	for _, s := range spells {
		if !elapse(ctx, s.after) {
			return
		}
		w.turn(false)
		w.machine.Script(faults[s.what].fault.Always())
		elapse(ctx, s.lasts)
		w.machine.Clear()
		w.turn(true)
	}
}

func (w *weather) turn(well bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.since.IsZero() && !w.well {
		w.unwell += time.Since(w.since)
	}
	w.well, w.since = well, time.Now()
}

// wellFor is how long the machine has been well.
func (w *weather) wellFor() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.well {
		return 0
	}
	return time.Since(w.since)
}

// elapse lets d pass. It is false where ctx has ended before.
func elapse(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ledger is a Source that notes when it was asked, and until when the tokens
// are good that it gave.
type ledger struct {
	Source
	mu    sync.Mutex // guards what follows
	calls []time.Time
	bad   int // of the calls
	good  map[Key]time.Time
}

// Token implements Source.
func (l *ledger) Token(ctx context.Context, id imds.Identity, audience string) (*imds.Token, error) {
	l.mu.Lock()
	l.calls = append(l.calls, time.Now())
	l.mu.Unlock()
	token, err := l.Source.Token(ctx, id, audience)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.bad++
		return nil, err
	}
	if k := (Key{id, audience}); token.Expires().After(l.good[k]) {
		l.good[k] = token.Expires()
	}
	return token, nil
}

func (l *ledger) goodUntil(k Key) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.good[k]
}

// season is a time in which callers use keys, whatever the weather.
type season struct {
	lasts    time.Duration
	keys     int
	every    time.Duration // between the requests for a key, on average
	lifetime time.Duration // of a token
	fresh    bool          // every call gets another token
	spells   []spell
	seed     uint64
}

// result is what came of a season.
type result struct {
	calls    int // of IMDS
	bad      int // of them, those that brought no token
	tokens   int // different ones
	requests int
	failed   int // of the requests
	unwell   time.Duration
}

// live runs a season within a bubble and checks at every request that
//   - no token is handed out that has expired, or is about to;
//   - none fails while there is a token: one that was handed out before and is
//     good, or one that IMDS, well for long enough, would give;
//
// and that the calls keep to the rate.
func (s season) live(t testing.TB) (r result) {
	const identities = 10
	o := imdstest.Options{Key: signingKey(), Unsigned: true, Lifetime: s.lifetime, Fresh: s.fresh, Limits: documented}
	for i := range identities {
		o.Identities = append(o.Identities, imdstest.Identity{ClientID: fmt.Sprintf("00000000-0000-0000-0000-%012d", i)})
	}
	machine := imdstest.New(o)
	client, err := imds.New(imds.Options{Transport: machine})
	if err != nil {
		t.Fatal(err)
	}
	source := &ledger{Source: client, good: make(map[Key]time.Time)}
	sky := &weather{machine: machine}
	c := New(Options{Source: source, Random: random(s.seed)})
	ctx, cancel := context.WithTimeout(t.Context(), s.lasts)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex // guards r
	all.Go(func() { sky.run(ctx, s.spells) })
	for i := range s.keys {
		k := Key{imds.Identity{ClientID: o.Identities[i%identities].ClientID}, fmt.Sprint("https://audience.example/", i/identities)}
		number := random(s.seed + uint64(i) + 1)
		all.Go(func() {
			for elapse(ctx, time.Duration(2*number()*float64(s.every))) {
				ok := request(t, c, source, sky, k)
				mu.Lock()
				r.requests++
				if !ok {
					r.failed++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	c.Close()
	for i, at := range source.calls {
		if j := i + 10; j < len(source.calls) && source.calls[j].Sub(at) < time.Second {
			t.Errorf("11 calls within %v, want at most 5 a second and a burst of 5", source.calls[j].Sub(at))
		}
	}
	r.calls, r.bad, r.tokens, r.unwell = len(source.calls), source.bad, machine.Stats().Minted, sky.unwell
	return r
}

// grace is how long after IMDS's return a caller may still go without a token:
// the next probe is a minute away at most where somebody waits, the last back-off
// of the caller's own key as well, and the keys go ahead at 5 a second.
const grace = 2 * time.Minute

// request asks for a token as a caller does, and checks what it gets.
func request(t testing.TB, c *Cache, source *ledger, sky *weather, k Key) bool {
	asked, good := time.Now(), source.goodUntil(k)
	token, err := c.Token(context.Background(), k)
	if err == nil {
		if left := time.Until(token.Expires()); left < margin {
			t.Errorf("a token was handed out that is good for %v", left)
		}
		return true
	}
	if unavailable := (*UnavailableError)(nil); !errors.As(err, &unavailable) {
		t.Errorf("got %v, want an UnavailableError", err)
	}
	if left := good.Sub(asked); left > margin {
		t.Errorf("no token for %s (%v), though one was handed out that is good for %v", k, err, left)
	}
	if well := sky.wellFor(); well > grace {
		t.Errorf("no token for %s (%v), though IMDS has been well for %v", k, err, well)
	}
	return false
}
