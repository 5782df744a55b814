package rig

import "syscall"

// attributes have the kernel end a process should the test process die first.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
