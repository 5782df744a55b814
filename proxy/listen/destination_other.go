//go:build !linux

package listen

import (
	"net"
	"net/netip"
)

// HasDestinations says that the kernel does not tell where a redirected
// connection was meant to go.
const HasDestinations = false

// Destination gives the address that a connection came in by.
func Destination(c net.Conn) (at netip.AddrPort, redirected bool) {
	if tcp, ok := c.LocalAddr().(*net.TCPAddr); ok {
		at = netip.AddrPortFrom(tcp.AddrPort().Addr().Unmap(), tcp.AddrPort().Port())
	}
	return at, false
}
