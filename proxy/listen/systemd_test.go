//go:build unix

package listen

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"
)

// passed is what systemd would pass for a listener on address.
func passed(t *testing.T, network, address string, mode os.FileMode) *os.File {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
		if err := os.Chmod(address, mode); err != nil {
			t.Fatal(err)
		}
	}
	file, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// What connects while nobody serves a socket is served by whoever takes it next,
// as it is over a restart.
func TestSocketsOfSystemdAreTakenByTheirAddresses(t *testing.T) {
	path := socketPath(t)
	s, err := NewSockets([]*os.File{passed(t, "tcp4", "127.0.0.1:0", 0), passed(t, "unix", path, 0o660), passed(t, "tcp6", "[::1]:0", 0)})
	if err != nil {
		t.Fatal(err)
	}
	v4, v6 := s.all[0].String(), s.all[2].String()
	if got := s.Unnamed([]string{v4, "127.0.0.1:1"}); !slices.Equal(got, []string{"unix:" + path, v6}) {
		t.Errorf("unnamed are %q", got)
	}
	if got := s.Unnamed([]string{v4, v6, "unix:" + path}); len(got) > 0 {
		t.Errorf("unnamed are %q", got)
	}
	for _, address := range []string{v4, v6, "unix:" + path} {
		network, dialled := "tcp", address
		if p, ok := strings.CutPrefix(address, "unix:"); ok {
			network, dialled = "unix", p
		}
		early, err := net.Dial(network, dialled)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // as if it was taken away by a reload, or a process, and added again
			l, err := Open(t.Context(), Options{Address: address, Sockets: s})
			if err != nil {
				t.Fatal(err)
			}
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			early.Close()
			if early, err = net.Dial(network, dialled); err != nil {
				t.Fatalf("%s is gone with its listener: %v", address, err)
			}
		}
		early.Close()
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file of systemd's socket: %v", err)
	}
}

func TestSocketsOfSystemdThatAreRefused(t *testing.T) {
	path := socketPath(t)
	datagrams, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	packets, err := datagrams.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	for _, tt := range []struct {
		file *os.File
		want string
	}{
		{passed(t, "unix", path, 0o666), "every user can connect to unix:" + path + ", which systemd opened with mode 0666; write SocketMode=0660"},
		{packets, "list streams alone in the socket unit"},
	} {
		if _, err := NewSockets([]*os.File{tt.file}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}
