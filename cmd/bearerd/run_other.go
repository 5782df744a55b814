//go:build !unix

package main

import "os"

// notifyReports does nothing: not every system has such a signal, and what was learned is
// written at the end.
func notifyReports(chan<- os.Signal, bool) {}
