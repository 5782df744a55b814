//go:build e2e && linux

package redirect

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace that lives as long as the test.
type namespace struct {
	t  *testing.T
	fd int
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{t: t, fd: -1}
	onThread(func() {
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			n.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		if err != nil {
			t.Errorf("making a network namespace: %v; run this as root", err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() { unix.Close(n.fd) })
	n.ip("link set lo up")
	return n
}

// onThread runs f on a thread of its own, which ends with it: what f does to
// the thread stays there.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		f()
	}()
	<-done
}

// as runs f inside, with the user and group that sockets get.
func (n *namespace) as(uid, gid int, f func()) {
	n.t.Helper()
	onThread(func() {
		if err := unix.Setns(n.fd, unix.CLONE_NEWNET); err != nil {
			n.t.Errorf("entering the namespace: %v", err)
			return
		}
		unix.SetfsgidRetGid(gid)
		unix.SetfsuidRetUid(uid)
		f()
	})
}

// path names the namespace for other programs.
func (n *namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.fd) }

// command runs a program inside.
func (n *namespace) command(attr *syscall.SysProcAttr, name string, args ...string) (string, error) {
	n.t.Helper()
	var out []byte
	err := fmt.Errorf("%s was not started", name)
	n.as(0, 0, func() {
		cmd := exec.CommandContext(n.t.Context(), name, args...)
		cmd.SysProcAttr = attr
		out, err = cmd.CombinedOutput()
	})
	return string(out), err
}

func (n *namespace) must(name string, args ...string) string {
	n.t.Helper()
	out, err := n.command(nil, name, args...)
	if err != nil {
		n.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

// ip runs ip once for each line.
func (n *namespace) ip(lines string) {
	n.t.Helper()
	for line := range strings.Lines(lines) {
		if args := strings.Fields(line); len(args) > 0 {
			n.must("ip", args...)
		}
	}
}

// listen opens a listener inside, which answers each connection with its name
// and with where it was going to before it was redirected.
func (n *namespace) listen(address, name string) {
	n.t.Helper()
	var l net.Listener
	var err error
	n.as(0, 0, func() { l, err = net.Listen("tcp", address) })
	if err != nil {
		n.t.Fatalf("listening on %s: %v", address, err)
	}
	var answers sync.WaitGroup
	answers.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			answers.Go(func() {
				defer c.Close()
				fmt.Fprintf(c, "%s %s", name, originalDestination(c.(*net.TCPConn)))
				c.(*net.TCPConn).CloseWrite()
				c.SetReadDeadline(time.Now().Add(3 * time.Second))
				io.Copy(io.Discard, c) // what is left unread would reset the connection
			})
		}
	})
	n.t.Cleanup(func() { l.Close(); answers.Wait() })
}

func originalDestination(c *net.TCPConn) netip.AddrPort {
	local := c.LocalAddr().(*net.TCPAddr).AddrPort()
	raw, err := c.SyscallConn()
	if err != nil {
		return netip.AddrPort{}
	}
	const soOriginalDst = 80 // in both families
	var found netip.AddrPort
	raw.Control(func(fd uintptr) {
		if local.Addr().Unmap().Is4() {
			if m, err := unix.GetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IP, soOriginalDst); err == nil { // 16 bytes are enough
				b := m.Multiaddr
				found = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[2])<<8|uint16(b[3]))
			}
			return
		}
		if m, err := unix.GetsockoptIPv6MTUInfo(int(fd), unix.IPPROTO_IPV6, soOriginalDst); err == nil {
			port := m.Addr.Port
			found = netip.AddrPortFrom(netip.AddrFrom16(m.Addr.Addr), port<<8|port>>8)
		}
	})
	return found
}

// call connects as a user and gives what it is told, or why not.
func (n *namespace) call(uid, gid int, address string) (said string, err error) {
	n.t.Helper()
	n.as(uid, gid, func() { said, err = call(address) })
	return said, err
}

func call(address string) (string, error) {
	c, err := net.DialTimeout("tcp", address, 3*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(3 * time.Second))
	buffer := make([]byte, 200)
	count, err := c.Read(buffer)
	return string(buffer[:count]), err
}
