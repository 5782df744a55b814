package listen

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAcceptOutlivesTheEndOfFileDescriptors(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	setLimit := func(n uint64) {
		lowered := limit
		lowered.Cur = n
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lowered); err != nil {
			t.Error(err)
		}
	}
	defer setLimit(limit.Cur)
	var told []error
	l := open(t, Options{Address: "127.0.0.1:0", AcceptFailed: func(err error) {
		told = append(told, err)
		setLimit(limit.Cur)
	}})
	dialTo(t, l)
	setLimit(3)
	conn, err := l.Accept()
	if err != nil {
		t.Fatalf("Accept ended with %v", err)
	}
	conn.Close()
	if len(told) != 1 || !strings.Contains(told[0].Error(), "too many open files") {
		t.Errorf("told of %v", told)
	}
}

func TestSocketOptions(t *testing.T) {
	l := open(t, Options{Address: "127.0.0.1:0"})
	_, accepted := pair(t, l)
	option(t, accepted, unix.SO_KEEPALIVE, 1)
	option(t, l.inner, unix.SO_PROTOCOL, unix.IPPROTO_TCP)
}

func option(t *testing.T, socket any, option, want int) {
	t.Helper()
	raw, err := socket.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		if got, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, option); err != nil || got != want {
			t.Errorf("socket option %d is %d, %v, want %d", option, got, err, want)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestASocketIsClosedToOthersFromItsFirstMoment(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := socketPath(t)
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return closeToOthers(c) }}
	inner, err := config.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v before it is set", info.Mode(), err)
	}
}

func TestTheUserBehindAUnixSocketIsTheCaller(t *testing.T) {
	l := open(t, Options{Address: "unix:" + socketPath(t)})
	near, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	accepted, err := l.inner.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if got, want := callerOf(accepted, nil), (callerKey{uid: uint32(os.Getuid()), isUID: true}); got != want {
		t.Errorf("the caller is %+v, want %+v", got, want)
	}
}
