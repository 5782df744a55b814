//go:build e2e && linux

package redirect

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

// namespace is one whose listeners and callers tell who was reached.
type namespace struct {
	*rig.Namespace
	t *testing.T
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	return &namespace{rig.NewNamespace(t), t}
}

// listen opens a listener inside, which answers each connection with its name
// and with where it was going to before it was redirected.
func (n *namespace) listen(address, name string) {
	n.t.Helper()
	rig.Serve(n.t, n.Listen(address), func(c net.Conn) {
		fmt.Fprintf(c, "%s %s", name, originalDestination(c.(*net.TCPConn)))
		c.(*net.TCPConn).CloseWrite()
		c.SetReadDeadline(time.Now().Add(3 * time.Second))
		io.Copy(io.Discard, c) // what is left unread would reset the connection
	})
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
	n.As(uid, gid, func() { said, err = call(address) })
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
