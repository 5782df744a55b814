package caller

import (
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// findUnix asks for what the kernel noted of the peer when it connected (unix(7),
// SO_PEERCRED). It holds even if the peer has left.
func (f *Finder) findUnix(conn *net.UnixConn) *Caller {
	raw, err := conn.SyscallConn()
	if err != nil {
		return unknown("the connection is closed")
	}
	c := unknown("the kernel does not tell")
	_ = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil || cred.Uid == math.MaxUint32 {
			return
		}
		*c = Caller{Known: true, UID: cred.Uid, PID: int(cred.Pid), Groups: peerGroups(int(fd), cred.Gid)}
		c.Cgroup = peerCgroup(int(fd), cred)
	})
	return c
}

// peerGroups gives the peer's groups, its primary one first.
func peerGroups(fd int, primary uint32) []uint32 {
	groups := []uint32{primary}
	// The kernel takes no more than 65536 (NGROUPS_MAX), and says how many there
	// are where the space is too small.
	space := make([]uint32, 32)
	for {
		size := uint32(4 * len(space))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&space[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return append(groups, space[:size/4]...)
		case errno == unix.ERANGE && int(size) > 4*len(space):
			space = make([]uint32, size/4)
		default:
			return groups // no supplementary ones can be told
		}
	}
}

// peerCgroup gives the cgroup of the process that connected; empty where that
// process is gone, or in another namespace. Its number may by now be another
// process's, so that a handle is held while /proc is read.
func peerCgroup(fd int, cred *unix.Ucred) string {
	if cred.Pid == 0 {
		return ""
	}
	handle, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if err != nil { // before Linux 6.5
		if handle, err = unix.PidfdOpen(int(cred.Pid), 0); err != nil {
			return ""
		}
	}
	defer unix.Close(handle)
	proc := "/proc/" + strconv.Itoa(int(cred.Pid))
	info, err := os.Stat(proc)
	if err != nil {
		return ""
	}
	// A process that took the number over would have to be the same user's, who
	// could do as much by tracing one that is in the cgroup.
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || owner.Uid != cred.Uid {
		return ""
	}
	text, err := os.ReadFile(proc + "/cgroup")
	if err != nil || !lives(handle) {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok { // cgroups(7)
			return strings.TrimSuffix(path, "\n")
		}
	}
	return ""
}

// lives reports whether the process of a handle has not ended (pidfd_open(2)).
func lives(handle int) bool {
	poll := []unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n == 0
}

// overflowUser gives the number that the kernel shows for users who have none in
// our user namespace; -1 where all have one.
func overflowUser() int64 {
	if text, err := os.ReadFile("/proc/self/uid_map"); err == nil {
		var inside, outside, count uint64
		if _, err := fmt.Sscan(string(text), &inside, &outside, &count); err == nil && count == math.MaxUint32 {
			return -1
		}
	}
	text, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil {
		return 65534 // the kernel's default
	}
	id, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 65534
	}
	return id
}
