//go:build !linux

package cache

import "time"

// bootClock gives the time since now, which may leave out the machine's sleep;
// the wall clock counts it still.
func bootClock() func() time.Duration {
	started := time.Now()
	return func() time.Duration { return time.Since(started) }
}
