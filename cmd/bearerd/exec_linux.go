package main

import "syscall"

// endWithParent has the command end should we be killed: it would go on with a
// proxy that is not there.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
