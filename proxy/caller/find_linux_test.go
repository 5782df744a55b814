package caller

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// loopbacks are the ways in which a client and a listener of one machine meet.
var loopbacks = []struct{ name, network, listen, dial string }{
	{"IPv4", "tcp4", "127.0.0.1:0", "127.0.0.1"},
	{"IPv6", "tcp6", "[::1]:0", "::1"},
	{"IPv4 at a listener of both", "tcp", "[::]:0", "127.0.0.1"},
	{"mapped", "tcp4", "127.0.0.1:0", "::ffff:127.0.0.1"},
}

func dialAddress(l net.Listener, host string) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return net.JoinHostPort(host, port)
}

func TestOwnerOfTheOtherSocket(t *testing.T) {
	if os.Geteuid() != 0 { // nobody else is at hand
		return
	}
	f := New()
	for _, way := range loopbacks {
		t.Run(way.name, func(t *testing.T) {
			l := listenOn(t, way.network, way.listen)
			conn, _, end := connectAs(t, syscall.Credential{Uid: 65534, Gid: 65534}, l, "tcp", dialAddress(l, way.dial))
			c := f.Find(conn, netip.AddrPort{})
			if !c.Known || c.UID != 65534 || c.PID != 0 {
				t.Fatalf("%+v", c)
			}
			if !strings.HasPrefix(c.String(), "user=nobody(65534) cgroup=/") {
				t.Error(c)
			}
			end()
			if c := f.Find(conn, netip.AddrPort{}); c.Known {
				t.Errorf("known after its process has ended: %v", c)
			}
		})
	}
}

// Java and others have sockets for IPv6 alone, also where they talk IPv4.
func TestOwnerOfMappedSocket(t *testing.T) {
	if os.Geteuid() != 0 { // nobody else is at hand
		return
	}
	l := listenOn(t, "tcp4", "127.0.0.1:0")
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	to := &unix.SockaddrInet6{Port: l.Addr().(*net.TCPAddr).Port, Addr: netip.MustParseAddr("::ffff:127.0.0.1").As16()}
	if err := unix.Connect(fd, to); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fchown(fd, 1234, 0); err != nil { // makes it another user's
		t.Fatal(err)
	}
	if c := New().Find(accept(t, l), netip.AddrPort{}); !c.Known || c.UID != 1234 {
		t.Errorf("%+v", c)
	}
}

func TestOwnUserIsNeverACaller(t *testing.T) {
	everybody := &Names{Users: []Account{{ID: uint32(os.Geteuid())}}, Groups: []Account{{ID: uint32(os.Getegid())}}, Cgroups: []string{"/x"}}
	for _, way := range append(loopbacks, struct{ name, network, listen, dial string }{"unix", "unix", filepath.Join(t.TempDir(), "s"), ""}) {
		l := listenOn(t, way.network, way.listen)
		address := l.Addr().String()
		if way.network != "unix" {
			address = dialAddress(l, way.dial)
		}
		client, err := net.Dial(l.Addr().Network(), address)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn := accept(t, l)
		c := New().Find(conn, netip.AddrPort{})
		if c.Known || !strings.Contains(c.Unknown, "own user") || everybody.Match(c) {
			t.Errorf("%s: %v", way.name, c)
		}
		if c := stranger().Find(conn, netip.AddrPort{}); !c.Known || !everybody.Match(c) { // it was nothing else
			t.Errorf("%s: %v", way.name, c)
		}
	}
}

// A socket that nobody has any more is user 0's to the kernel.
func TestClosedClientIsUnknown(t *testing.T) {
	for _, way := range loopbacks {
		for _, linger := range []struct {
			name string
			set  func(*net.TCPConn) error
		}{
			{"closed", func(*net.TCPConn) error { return nil }}, // FIN_WAIT2
			{"reset", func(c *net.TCPConn) error { return c.SetLinger(0) }},
		} {
			l := listenOn(t, way.network, way.listen)
			client, err := net.Dial("tcp", dialAddress(l, way.dial))
			if err != nil {
				t.Fatal(err)
			}
			conn := accept(t, l)
			if err := linger.set(client.(*net.TCPConn)); err != nil {
				t.Fatal(err)
			}
			client.Close()
			if c := stranger().Find(conn, netip.AddrPort{}); c.Known || c.Unknown == "" {
				t.Errorf("%s, %s: %v", way.name, linger.name, c)
			}
		}
	}
}

// Whoever has a request wait to be accepted, breaks the connection off and leaves
// its port to somebody else is not taken for that somebody.
func TestSomebodyElsesSocketWithTheSameAddressesIsNotTheCallers(t *testing.T) {
	for _, way := range loopbacks {
		l := listenOn(t, way.network, way.listen)
		first, err := net.Dial("tcp", dialAddress(l, way.dial))
		if err != nil {
			t.Fatal(err)
		}
		const request = "DELETE / HTTP/1.1\r\n"
		if _, err := first.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		if err := first.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		first.Close()
		second, err := (&net.Dialer{LocalAddr: first.LocalAddr()}).Dial("tcp", dialAddress(l, way.dial))
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		gone := accept(t, l)
		if gone.RemoteAddr().String() != second.LocalAddr().String() {
			t.Fatalf("%s: the first came from %s, the second from %s", way.name, gone.RemoteAddr(), second.LocalAddr())
		}
		if c := stranger().Find(gone, netip.AddrPort{}); c.Known {
			t.Errorf("%s: the first is taken for %v", way.name, c)
		}
		said := make([]byte, len(request)) // which is why it matters
		if _, err := gone.Read(said); err != nil || string(said) != request {
			t.Errorf("%s: %q, %v", way.name, said, err)
		}
		if c := stranger().Find(accept(t, l), netip.AddrPort{}); !c.Known {
			t.Errorf("%s: the second: %v", way.name, c)
		}
	}
}

// After both sides have closed, the kernel remembers the client's socket.
func TestTimeWaitIsUnknown(t *testing.T) {
	l := listenOn(t, "tcp4", "127.0.0.1:0")
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := accept(t, l)
	from, to := client.LocalAddr().(*net.TCPAddr).AddrPort(), client.RemoteAddr().(*net.TCPAddr).AddrPort()
	client.Close()
	conn.Close()
	s, err := ask(from, to)
	if err != nil {
		t.Fatalf("the kernel has forgotten the socket, and the test shows nothing: %v", err)
	}
	if s.owned() || s.uid != 0 {
		t.Errorf("%+v", s)
	}
	if c := stranger().findTCP(from, to); c.Known {
		t.Error(c)
	}
}

// Whoever sends under another machine's address has a socket that waits for an
// answer, while that machine talks to us by the same addresses and ports.
func TestSocketThatConnectsIsUnknown(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	// A listener whose queue is full answers nobody.
	full, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(full)
	if err := unix.Bind(full, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(full, 0); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(full)
	if err != nil {
		t.Fatal(err)
	}
	first, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(first)
	if err := unix.Connect(first, at); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, at); err != unix.EINPROGRESS {
		t.Fatalf("connect: %v", err)
	}
	own, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	from := netip.AddrPortFrom(loopback, uint16(own.(*unix.SockaddrInet4).Port))
	to := netip.AddrPortFrom(loopback, uint16(at.(*unix.SockaddrInet4).Port))
	const synSent = 2
	if s, err := ask(from, to); err != nil || s.state != synSent || s.inode == 0 {
		t.Fatalf("the socket does not wait, and the test shows nothing: %+v, %v", s, err)
	}
	if c := stranger().findTCP(from, to); c.Known {
		t.Error(c)
	}
}

// For want of the connected socket the kernel tells of one that listens on its
// port, which is somebody else's.
func TestListenerOnTheClientsPortIsNotTheCaller(t *testing.T) {
	l := listenOn(t, "tcp4", "127.0.0.1:0")
	other := listenOn(t, "tcp4", "127.0.0.1:0")
	from, to := other.Addr().(*net.TCPAddr).AddrPort(), l.Addr().(*net.TCPAddr).AddrPort()
	if c := stranger().findTCP(from, to); c.Known {
		t.Error(c)
	}
}

// A client that has sent all that it will send is still there for the answer.
func TestHalfClosedClientIsKnown(t *testing.T) {
	l := listenOn(t, "tcp4", "127.0.0.1:0")
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if c := stranger().Find(accept(t, l), netip.AddrPort{}); !c.Known {
		t.Error(c)
	}
}

// A redirected connection is found by where its caller believes to be.
func TestDestinationOfARedirectedConnection(t *testing.T) {
	elsewhere, ours := listenOn(t, "tcp4", "127.0.0.1:0"), listenOn(t, "tcp4", "127.0.0.1:0")
	client, err := net.Dial("tcp", elsewhere.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accept(t, elsewhere)
	// As after NAT: the same client, and another address of ours.
	from := client.LocalAddr().(*net.TCPAddr).AddrPort()
	destination := elsewhere.Addr().(*net.TCPAddr).AddrPort()
	if c := stranger().findTCP(from, ours.Addr().(*net.TCPAddr).AddrPort()); c.Known {
		t.Errorf("found without its destination: %v", c)
	}
	if c := stranger().findTCP(from, destination); !c.Known {
		t.Error(c)
	}
}

func TestPeerOfAUnixSocket(t *testing.T) {
	if os.Geteuid() != 0 { // nobody else is at hand
		return
	}
	dir, err := os.MkdirTemp("", "caller") // into which others may go
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l := listenOn(t, "unix", path)
	for _, p := range []string{dir, path} {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	var many []uint32 // more than are asked for at first
	for gid := uint32(20_000); gid < 20_100; gid++ {
		many = append(many, gid)
	}
	conn, pid, end := connectAs(t, syscall.Credential{Uid: 65534, Gid: 4321, Groups: many}, l, "unix", path)
	c := New().Find(conn, netip.AddrPort{})
	if !c.Known || c.UID != 65534 || c.PID != pid || c.Groups[0] != 4321 || !slices.Equal(c.Groups[1:], many) || !strings.HasPrefix(c.Cgroup, "/") {
		t.Fatalf("%+v, want pid %d", c, pid)
	}
	for _, gid := range []uint32{4321, 20_099} {
		if !(&Names{Groups: []Account{{ID: gid}}}).Match(c) {
			t.Errorf("not of group %d", gid)
		}
	}
	if (&Names{Groups: []Account{{ID: 65534}}}).Match(c) {
		t.Error("of a group that the database knows, and its process gave up")
	}
	end()
	if c := New().Find(conn, netip.AddrPort{}); !c.Known || c.UID != 65534 || c.Cgroup != "" {
		t.Errorf("after its process has ended: %+v", c)
	}
}

func TestUsersWithoutANumberAreUnknown(t *testing.T) {
	if os.Geteuid() != 0 { // nobody else is at hand
		return
	}
	l := listenOn(t, "tcp4", "127.0.0.1:0")
	conn, _, _ := connectAs(t, syscall.Credential{Uid: 65534, Gid: 65534}, l, "tcp", l.Addr().String())
	f := New()
	f.overflow = 65534
	if c := f.Find(conn, netip.AddrPort{}); c.Known {
		t.Error(c)
	}
}

// FuzzAnswer holds: no answer but the kernel's about an open socket of a process
// makes anybody known.
func FuzzAnswer(f *testing.F) {
	whole := make([]byte, headerSize+answerSize+12)
	native := binary.NativeEndian
	native.PutUint32(whole, uint32(len(whole)))
	native.PutUint16(whole[4:], unix.SOCK_DIAG_BY_FAMILY)
	whole[headerSize+1] = established
	binary.BigEndian.PutUint16(whole[headerSize+4:], 1)
	binary.BigEndian.PutUint16(whole[headerSize+6:], 2)
	native.PutUint32(whole[headerSize+68:], 99)
	native.PutUint16(whole[headerSize+answerSize:], 12)
	native.PutUint16(whole[headerSize+answerSize+2:], attrCgroup)
	native.PutUint64(whole[headerSize+answerSize+4:], 4711)
	if s, err := parseAnswer(whole, 1, 2); err != nil || !s.owned() || s.cgroup != 4711 {
		f.Fatalf("%+v, %v", s, err)
	}
	f.Add(whole)
	others := slices.Clone(whole)
	others[headerSize+7] = 3 // another port
	f.Add(others)
	f.Add(whole[:headerSize+answerSize])
	f.Add(whole[:headerSize+4])
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseAnswer(b, 1, 2)
		if err != nil || !s.owned() {
			return
		}
		if len(b) < headerSize+answerSize || native.Uint32(b[headerSize+68:]) == 0 || b[headerSize+5] != 1 || b[headerSize+7] != 2 {
			t.Errorf("%x made %+v", b, s)
		}
	})
}
