package cache

import "time"

// instant is a reading of the clocks. How much time has passed between two is
// the larger of what the wall clock and the one since the machine's start say:
// the former can be set back, and neither Go's monotonic clock nor a timer
// counts while the machine sleeps.
type instant struct {
	wall time.Time     // with Go's monotonic reading
	boot time.Duration // since the machine's start, its sleep included
}

// add gives the instant d later.
func (t instant) add(d time.Duration) instant { return instant{t.wall.Add(d), t.boot + d} }

// since gives how much time has passed since u.
func (t instant) since(u instant) time.Duration {
	return max(wallSince(t.wall, u.wall), t.boot-u.boot)
}

// until gives how long it is from now to t: the shorter of what the clocks say.
func (t instant) until(now instant) time.Duration { return -now.since(t) }

// isZero reports whether t was never set.
func (t instant) isZero() bool { return t.wall.IsZero() }

// wallSince is t.Sub(u) by the wall clock alone.
func wallSince(t, u time.Time) time.Duration { return t.Round(0).Sub(u.Round(0)) }

// clock reads the two.
type clock struct {
	now     func() time.Time
	elapsed func() time.Duration
}

func (c clock) read() instant { return instant{c.now(), c.elapsed()} }

// since gives how much time has passed since then. It asks the machine's clock,
// a system call that takes longer than all the rest of a hit, only where the
// wall clock and Go's monotonic one differ about it: it was set, or the machine
// slept.
func (c clock) since(now time.Time, then instant) time.Duration {
	wall, awake := wallSince(now, then.wall), now.Sub(then.wall)
	if monotonic := now != now.Round(0); monotonic && agree(wall, awake) {
		return max(wall, awake)
	}
	return max(wall, c.elapsed()-then.boot)
}

// agree reports whether two clocks say that the same time has passed, but for
// what lies between their readings.
func agree(a, b time.Duration) bool { return max(a-b, b-a) < time.Second }
