package cache

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

const day = 24 * time.Hour

// longestOutage is what a token of a day has to outlast.
const longestOutage = 11 * time.Hour

// least is how many calls no client can do without: an outage of 11 h may begin
// at any moment, so a token has to be replaced while it has 11 h left.
func (s season) least() float64 {
	return float64(s.keys) * float64(s.lasts) / float64(s.lifetime-longestOutage)
}

// An IMDS that gives another token at every call lets a cache outlast every
// outage.
func TestMonthOfFaults(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			s := season{lasts: 30 * day, keys: 50, every: 20 * time.Minute, lifetime: day, fresh: true, seed: seed}
			s.spells = draw(seed, s.lasts, 2*day)
			r := s.live(t)
			ratio := float64(r.calls) / s.least()
			t.Logf("%d spells, %v in all: %+v, %.2f times the least calls", len(s.spells), r.unwell.Round(time.Minute), r, ratio)
			if r.failed > 0 {
				t.Errorf("%d of %d requests failed, want none", r.failed, r.requests)
			}
			if ratio > 1.2 {
				t.Errorf("%d calls, want at most 1.2 times %.0f", r.calls, s.least())
			}
			if r.bad == 0 || r.unwell < 10*time.Hour || r.requests < 100_000 {
				t.Errorf("the month was too quiet: %+v", r)
			}
		})
	}
}

// An IMDS that hands the same token out until 5 minutes are left cannot be
// outlasted: whoever asks at half of the life is no better off afterwards. What
// can be held there is that nothing fails for another reason, and the number of
// calls: a token lasts for a day less a few minutes, and is asked for when it is
// new and each time that half of the rest has gone, until it has those few
// minutes left.
func TestMonthOfTheSameToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := season{lasts: 30 * day, keys: 50, every: 20 * time.Minute, lifetime: day, seed: 1}
		s.spells = draw(1, s.lasts, 2*day)
		r := s.live(t)
		tokens := float64(s.keys) * 30
		halvings := math.Ceil(math.Log2(float64(s.lifetime) / float64(5*time.Minute)))
		t.Logf("%d spells, %v in all: %+v, %.1f calls for each token", len(s.spells), r.unwell.Round(time.Minute), r, float64(r.calls)/float64(r.tokens))
		if float64(r.calls-r.bad) > tokens*(1+halvings) {
			t.Errorf("%d calls, want at most %.0f for each of %.0f tokens", r.calls-r.bad, 1+halvings, tokens)
		}
		if r.failed == 0 || float64(r.failed) > r.unwell.Seconds()/s.lasts.Seconds()*float64(r.requests) {
			t.Errorf("%d of %d requests failed, want some, and no greater part than that of the time in which IMDS was unwell", r.failed, r.requests)
		}
	})
}

// check runs a season and bounds its calls by what its weather can have cost.
func (s season) check(t testing.TB) {
	r := s.live(t)
	// By halves of at least nine tenths; each half is halved again where the
	// token stays the same.
	good := float64(s.keys) * (2 + float64(s.lasts)/(0.43*float64(s.lifetime)))
	if !s.fresh {
		good *= 2 + math.Log2(float64(s.lifetime)/float64(time.Minute))
	}
	// Of a key whose failures are its own there are two a minute, and of all
	// together twelve, while IMDS is updating.
	bad := float64(len(s.spells)*s.keys*10) + (12+2*float64(s.keys))*r.unwell.Minutes()
	if float64(r.calls-r.bad) > good || float64(r.bad) > bad {
		t.Errorf("%d calls with tokens, want at most %.0f, and %d without, want at most %.0f: %+v", r.calls-r.bad, good, r.bad, bad, s)
	}
}

func TestNoScriptOfFaultsBreaksTheCache(t *testing.T) {
	for seed := range uint64(40) {
		number := random(seed)
		s := season{
			lasts:    time.Duration((0.5 + 3*number()) * float64(day)),
			keys:     1 + int(number()*8),
			every:    time.Duration((1 + 30*number()) * float64(time.Minute)),
			lifetime: []time.Duration{5 * time.Minute, time.Hour, day}[int(number()*3)],
			fresh:    number() < 0.5,
			seed:     seed,
		}
		s.spells = draw(seed, s.lasts, time.Duration(number()*float64(6*time.Hour)))
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { s.check(t) })
		})
	}
}

// decodeSeason reads a season from bytes: four of its own, then five for each
// spell.
func decodeSeason(script []byte) (s season, ok bool) {
	if len(script) < 4 {
		return s, false
	}
	s = season{
		lasts:    36 * time.Hour,
		keys:     1 + int(script[0]%5),
		every:    time.Duration(5+script[1]%60) * time.Minute,
		lifetime: []time.Duration{5 * time.Minute, 20 * time.Minute, time.Hour, 8 * time.Hour, day}[script[2]%5],
		fresh:    script[3]%2 == 0,
		seed:     uint64(script[3]),
	}
	for script = script[4:]; len(script) >= 5 && len(s.spells) < 50; script = script[5:] {
		f := int(script[0]) % len(faults)
		s.spells = append(s.spells, spell{
			what:  f,
			after: time.Duration(binary.BigEndian.Uint16(script[1:])) * time.Second,
			lasts: time.Second + time.Duration(float64(binary.BigEndian.Uint16(script[3:]))/math.MaxUint16*float64(faults[f].most-time.Second)),
		})
	}
	return s, true
}

// FuzzFaults looks for a script of faults that makes a request fail though there
// is a token, hands an expired one out, or has IMDS asked too often.
func FuzzFaults(f *testing.F) {
	f.Add([]byte{0, 5, 4, 0, 0, 0x10, 0, 0xff, 0xff})                                           // one outage
	f.Add([]byte{4, 5, 4, 2, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 1, 0xff, 0xff, 4, 0, 1, 0x80})    // outages with a second between them
	f.Add([]byte{2, 1, 0, 1, 6, 0, 60, 0xff, 0xff, 7, 0, 60, 0xff, 0xff, 8, 0, 60, 0xff, 0xff}) // restarts, short tokens
	f.Add([]byte{3, 9, 2, 0, 10, 1, 0, 0xff, 0xff, 13, 1, 0, 0xff, 0xff, 11, 1, 0, 0xff, 0xff}) // throttled
	f.Add([]byte{1, 30, 3, 1, 14, 2, 0, 0xff, 0xff, 1, 2, 0, 0x80, 0, 9, 2, 0, 0xff, 0xff})     // slow, hanging, forbidden
	f.Fuzz(func(t *testing.T, script []byte) {
		s, ok := decodeSeason(script)
		if !ok {
			return
		}
		synctest.Test(t, func(t *testing.T) { s.check(t) })
	})
}
