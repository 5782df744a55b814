package cache

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootClock gives the time since the machine's start, its sleep included.
func bootClock() func() time.Duration {
	started := time.Now()
	return func() time.Duration {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
			return time.Since(started) // a sandbox without it; the wall clock counts still
		}
		return time.Duration(t.Nano())
	}
}
