package listen

import (
	"net"
	"syscall"
)

// peerOf gives the user and the process at the other end of c: who connected,
// or who listens (SO_PEERCRED, unix(7)).
func peerOf(c *net.UnixConn) (uid uint32, pid int, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	var cred *syscall.Ucred
	controlErr := raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if controlErr != nil || err != nil {
		return 0, 0, false
	}
	return cred.Uid, int(cred.Pid), true
}
