//go:build unix

package main

import (
	"os"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// caught gives the signals that are the command's to act on. One that we were
// started to ignore (nohup's SIGHUP) the command inherits as ignored.
//
// Of those that a terminal stops by, none is caught: the command is in our
// process group, so that they reach both, a pipeline's other programs too, and
// the shell's job control works as without us.
func caught() []os.Signal {
	all := []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2}
	return slices.DeleteFunc(all, signal.Ignored)
}

// fromTerminal says whether the command has the signal already: a terminal sends
// it to its whole foreground group.
func fromTerminal(s os.Signal) bool {
	if s != syscall.SIGINT && s != syscall.SIGQUIT {
		return false
	}
	terminal, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer terminal.Close()
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// statusOf gives what a shell does.
func statusOf(s *os.ProcessState) int {
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return signalCode(status.Signal())
	}
	return s.ExitCode()
}

func signalCode(s os.Signal) int { return exitSignal + int(s.(syscall.Signal)) }
