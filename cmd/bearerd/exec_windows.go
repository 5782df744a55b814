package main

import "os"

// caught has Ctrl-C not end us before the command, which gets it from the
// console too. Windows has no other signals.
func caught() []os.Signal { return []os.Signal{os.Interrupt} }

func fromTerminal(os.Signal) bool { return true }

func statusOf(s *os.ProcessState) int { return s.ExitCode() }

func signalCode(os.Signal) int { return exitSignal + 2 }
