package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/bearerd/bearerd/proxy/azure"
)

// isOurs reports whether the request's Host names the listener that it came in
// on. A web page can let a name of its own resolve to our address, and would
// read the answers as its own site's.
func (h *handler) isOurs(r *http.Request) bool {
	host, port, err := azure.NormalizeHost(r.Host)
	if err != nil {
		return false
	}
	if h.names[host] {
		return true
	}
	local, isUnix := localAddr(r)
	if isUnix { // no web page reaches it
		return host == "localhost"
	}
	if !local.IsValid() || port != local.Port() && (port != 0 || local.Port() != 80) {
		return false
	}
	if host == "localhost" {
		return local.Addr().IsLoopback()
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap() == local.Addr()
}

// localAddr gives the address that the caller connected to, the zero one if it
// is unknown.
func localAddr(r *http.Request) (addr netip.AddrPort, isUnix bool) {
	switch local := r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.TCPAddr:
		addr = local.AddrPort()
		return netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port()), false
	case *net.UnixAddr:
		return netip.AddrPort{}, true
	default:
		return netip.AddrPort{}, false
	}
}

// isForeign reports whether a browser sent the request for a page of another
// origin (https://www.w3.org/TR/fetch-metadata/). Another port of this machine
// is another origin: any user may serve pages there.
func isForeign(r *http.Request) bool {
	for _, site := range r.Header["Sec-Fetch-Site"] {
		if site != "same-origin" && site != "none" {
			return true
		}
	}
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	for _, origin := range r.Header["Origin"] {
		if !strings.EqualFold(origin, scheme+r.Host) {
			return true
		}
	}
	return false
}

// isLocal reports whether the caller is on this machine: it came over a unix
// socket or from a loopback address.
func isLocal(r *http.Request) bool {
	if _, isUnix := localAddr(r); isUnix {
		return true
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}
