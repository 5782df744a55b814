//go:build !unix

package main

// noCoreDumps has nothing to do: the system writes no core dumps.
func noCoreDumps() error { return nil }
