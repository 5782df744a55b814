//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyReports has c told when what was learned is to be written. Where nothing
// is learned the signal keeps its meaning, which ends a process.
func notifyReports(c chan<- os.Signal, learns bool) {
	if learns {
		signal.Notify(c, syscall.SIGUSR1)
	}
}
