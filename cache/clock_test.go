package cache

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bearerd/bearerd/imds"
)

// machineClock is the clocks of a machine in a bubble, which can be set and put to
// sleep. As Go's monotonic clock cannot, the times have no reading of it.
type machineClock struct {
	start time.Time
	set   atomic.Int64 // by how much the wall clock was set ahead
	slept atomic.Int64
}

func newMachineClock() *machineClock { return &machineClock{start: time.Now()} }

func (m *machineClock) now() time.Time {
	return time.Now().Round(0).Add(time.Duration(m.set.Load() + m.slept.Load()))
}

func (m *machineClock) elapsed() time.Duration {
	return time.Since(m.start) + time.Duration(m.slept.Load())
}

func (m *machineClock) setBy(d time.Duration) { m.set.Add(int64(d)) }
func (m *machineClock) sleep(d time.Duration) { m.slept.Add(int64(d)) }

func (m *machineClock) use(o *Options) { o.Now, o.Elapsed = m.now, m.elapsed }

// mint gives tokens that live for a day by the machine's wall clock.
func (m *machineClock) mint(n int, _ string) (*imds.Token, error) {
	return imds.NewToken(fmt.Sprint("token-", n), m.now().Add(24*time.Hour), time.Time{}), nil
}

func TestClocksThatWereSetOrStoodStill(t *testing.T) {
	down := func(f *fakeSource) { f.fails(imds.Unavailable) }
	for _, tt := range []struct {
		name  string
		then  func(*machineClock, *fakeSource)
		wants string // the token that a caller gets; empty: none
	}{
		{"a day of sleep ends the token", func(m *machineClock, _ *fakeSource) { m.sleep(24 * time.Hour) }, "token-2"},
		{"the same, with the wall clock set back over it", func(m *machineClock, _ *fakeSource) {
			m.sleep(24 * time.Hour)
			m.setBy(-24 * time.Hour)
		}, "token-2"},
		{"and nothing expired is given while IMDS is down", func(m *machineClock, f *fakeSource) {
			down(f)
			m.sleep(24 * time.Hour)
			m.setBy(-24 * time.Hour)
		}, ""},
		{"the wall clock set back does not lengthen the life", func(m *machineClock, f *fakeSource) {
			down(f)
			m.setBy(-5 * time.Hour)
			time.Sleep(24*time.Hour - margin)
		}, ""},
		{"nor does it shorten it", func(m *machineClock, f *fakeSource) {
			down(f)
			m.setBy(-5 * time.Hour)
			time.Sleep(24*time.Hour - margin - time.Second)
		}, "token-1"},
		{"the wall clock set ahead ends the token", func(m *machineClock, _ *fakeSource) { m.setBy(24 * time.Hour) }, "token-2"},
		{"and set right again revives it", func(m *machineClock, f *fakeSource) {
			down(f)
			m.setBy(24 * time.Hour)
			time.Sleep(time.Second)
			m.setBy(-24 * time.Hour)
		}, "token-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, f := newMachineClock(), &fakeSource{}
				f.script(m.mint)
				c := newCache(t, f, m.use)
				want(t, c, key(vault), "token-1")
				tt.then(m, f)
				if tt.wants == "" {
					wantNone(t, c, key(vault), imds.Unavailable)
				} else {
					want(t, c, key(vault), tt.wants)
				}
			})
		})
	}
}

func TestRefreshIsMadeUpForAfterSleep(t *testing.T) {
	for _, tt := range []struct {
		name string
		jump func(*machineClock)
	}{
		{"the machine slept", func(m *machineClock) { m.sleep(13 * time.Hour) }},
		{"and its clock was set back", func(m *machineClock) { m.sleep(13 * time.Hour); m.setBy(-13 * time.Hour) }},
		{"the clock was set ahead", func(m *machineClock) { m.setBy(13 * time.Hour) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, f := newMachineClock(), &fakeSource{}
				f.script(m.mint)
				c := newCache(t, f, m.use)
				want(t, c, key(vault), "token-1")
				tt.jump(m)
				time.Sleep(watchEvery + time.Second)
				synctest.Wait()
				if f.count() != 2 {
					t.Errorf("%d calls, want the refresh within %v", f.count(), watchEvery)
				}
			})
		})
	}
}

func TestPauseEndsWhileTheMachineSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, f := newMachineClock(), &fakeSource{}
		f.script(func(int, string) (*imds.Token, error) { return nil, failure(imds.Throttled, 10*time.Minute) })
		c := newCache(t, f, m.use)
		wantNone(t, c, key(vault), imds.Throttled)
		f.script(m.mint)
		m.sleep(time.Hour)
		time.Sleep(2 * time.Second)
		want(t, c, key(vault), "token-2")
	})
}

func TestWallClockSetBackDoesNotPutARefreshOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, f := newMachineClock(), &fakeSource{}
		f.script(m.mint)
		c := newCache(t, f, m.use)
		want(t, c, key(vault), "token-1")
		m.setBy(-48 * time.Hour)
		time.Sleep(12 * time.Hour)
		want(t, c, key(vault), "token-2")
	})
}

// While Go's two clocks agree, nothing was set and the machine has not slept.
func TestMachinesClockIsAskedOnlyWhereTheOthersDiffer(t *testing.T) {
	var asked int
	c := clock{now: time.Now, elapsed: func() time.Duration { asked++; return 3 * time.Hour }}
	then := instant{wall: time.Now(), boot: time.Hour}
	if passed := c.since(time.Now(), then); passed > time.Minute || asked != 0 {
		t.Errorf("%v have passed and the machine's clock was asked %d times, want it left alone", passed, asked)
	}
	if passed := c.since(time.Now().Round(0), then); passed != 2*time.Hour || asked != 1 {
		t.Errorf("%v have passed, want the machine's 2 h where the time has no monotonic reading", passed)
	}
	for _, tt := range []struct {
		wall, awake time.Duration
		agree       bool
	}{
		{time.Hour, time.Hour + time.Millisecond, true},
		{time.Hour, time.Minute, false}, // asleep, or set ahead
		{-time.Hour, time.Minute, false},
	} {
		if agree(tt.wall, tt.awake) != tt.agree {
			t.Errorf("%v by the wall clock and %v awake: agree is %v", tt.wall, tt.awake, !tt.agree)
		}
	}
}

func TestBootClockRuns(t *testing.T) {
	elapsed := bootClock()
	before := elapsed()
	for elapsed() == before {
	}
	if after := elapsed(); after < before || after > before+time.Minute {
		t.Errorf("the clock went from %v to %v", before, after)
	}
}
