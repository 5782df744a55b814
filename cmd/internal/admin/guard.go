package admin

import (
	"net"
	"net/http"
	"net/netip"
)

// isLocal reports whether the caller is on this machine: it came over a unix
// socket or from a loopback address.
func isLocal(r *http.Request) bool {
	if _, isUnix := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr); isUnix {
		return true
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}
