package listen

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// HasDestinations says that the kernel tells where a redirected connection was
// meant to go.
const HasDestinations = true

// originalDestination is SO_ORIGINAL_DST and, with the same value, its
// counterpart for IPv6 (linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h).
const originalDestination = 80

// Destination gives where a connection was meant to go. redirected says that the
// network sent it to us instead; else that is the address which it came in by.
func Destination(c net.Conn) (at netip.AddrPort, redirected bool) {
	tcp, ok := c.LocalAddr().(*net.TCPAddr)
	if !ok {
		return at, false
	}
	local := netip.AddrPortFrom(tcp.AddrPort().Addr().Unmap(), tcp.AddrPort().Port())
	socket, ok := c.(syscall.Conn)
	if !ok {
		return local, false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return local, false
	}
	controlErr := raw.Control(func(fd uintptr) {
		if local.Addr().Is4() {
			at, err = destination4(int(fd))
		} else {
			at, err = destination6(int(fd))
		}
	})
	// ENOENT and ENOPROTOOPT say that nothing is, or could be, redirected.
	if controlErr != nil || err != nil || !at.IsValid() {
		return local, false
	}
	return at, at != netip.AddrPortFrom(local.Addr().WithZone(""), local.Port())
}

// destination4 reads a sockaddr_in, in the only structure of its size that
// package unix reads.
func destination4(fd int) (netip.AddrPort, error) {
	raw, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, originalDestination)
	if err != nil {
		return netip.AddrPort{}, err
	}
	b := raw.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[2])<<8|uint16(b[3])), nil
}

// destination6 reads a sockaddr_in6 likewise.
func destination6(fd int) (netip.AddrPort, error) {
	raw, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, originalDestination)
	if err != nil {
		return netip.AddrPort{}, err
	}
	var port [2]byte
	binary.NativeEndian.PutUint16(port[:], raw.Addr.Port) // as it was on the wire
	return netip.AddrPortFrom(netip.AddrFrom16(raw.Addr.Addr), binary.BigEndian.Uint16(port[:])), nil
}
