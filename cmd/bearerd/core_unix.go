//go:build unix

package main

import (
	"fmt"
	"syscall"
)

// noCoreDumps keeps the tokens in memory from being written to a disk when the
// process is made to crash.
func noCoreDumps() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &limit); err == nil && limit.Cur == 0 && limit.Max == 0 {
		return nil // where a sandbox forbids to set it, it is set
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("core dumps, which would hold tokens, cannot be turned off: %w; start bearerd with a limit of 0 for them (ulimit -c 0, LimitCORE=0)", err)
	}
	return nil
}
