package rig

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace that lives as long as its test. Whoever makes
// it is root.
type Namespace struct {
	t  *testing.T
	fd int
}

// NewNamespace makes one, with loopback.
func NewNamespace(t *testing.T) *Namespace {
	t.Helper()
	n := &Namespace{t: t, fd: -1}
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
	n.IP("link set lo up")
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

// As runs f inside, with the user and group that sockets get. What f opens stays
// there.
func (n *Namespace) As(uid, gid int, f func()) {
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

// Inside runs f there as root, and ends the test if f failed it.
func (n *Namespace) Inside(f func()) {
	n.t.Helper()
	n.As(0, 0, f)
	if n.t.Failed() {
		n.t.FailNow()
	}
}

// Path names the namespace for other programs.
func (n *Namespace) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.fd) }

// Command runs a program inside.
func (n *Namespace) Command(attr *syscall.SysProcAttr, name string, args ...string) (string, error) {
	n.t.Helper()
	var out []byte
	err := fmt.Errorf("%s was not started", name)
	n.As(0, 0, func() {
		cmd := exec.CommandContext(n.t.Context(), name, args...)
		cmd.SysProcAttr = attr
		out, err = cmd.CombinedOutput()
	})
	return string(out), err
}

// Must is Command for programs that may not fail, as root.
func (n *Namespace) Must(name string, args ...string) string {
	n.t.Helper()
	out, err := n.Command(nil, name, args...)
	if err != nil {
		n.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

// IP runs ip once for each line.
func (n *Namespace) IP(lines string) {
	n.t.Helper()
	for line := range strings.Lines(lines) {
		if args := strings.Fields(line); len(args) > 0 {
			n.Must("ip", args...)
		}
	}
}

// Listen opens a TCP listener inside.
func (n *Namespace) Listen(address string) net.Listener {
	n.t.Helper()
	var l net.Listener
	n.Inside(func() {
		var err error
		if l, err = net.Listen("tcp", address); err != nil {
			n.t.Errorf("listening on %s: %v", address, err)
		}
	})
	return l
}

// Dial connects from inside to an address, not a name.
func (n *Namespace) Dial(address string) (conn net.Conn, err error) {
	n.As(0, 0, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", address)
	})
	return conn, err
}
