package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/bearerd/bearerd/proxy/azure"
)

// A browser on this machine reaches our ports like any other program, and runs
// code of strangers. The two checks of this file keep web pages off.

// IsOurs reports whether a request's Host names the listener that it came in
// on, by address, as localhost, or by one of names, which must be as
// azure.NormalizeHost gives them. The attack is a page that lets a name of its
// own resolve to our address, and reads the answers as its own site's.
func IsOurs(r *http.Request, names map[string]bool) bool {
	host, port, err := azure.NormalizeHost(r.Host)
	if err != nil {
		return false
	}
	if names[host] {
		return true
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	switch local := local.(type) {
	case *net.UnixAddr: // no web page reaches it
		return host == "localhost"
	case *net.TCPAddr:
		at := local.AddrPort()
		if port != at.Port() && (port != 0 || at.Port() != 80) {
			return false
		}
		if host == "localhost" {
			return at.Addr().Unmap().IsLoopback()
		}
		addr, err := netip.ParseAddr(host)
		return err == nil && addr.Unmap() == at.Addr().Unmap().WithZone("")
	default:
		return false
	}
}

// IsCrossSite reports whether a browser sent a request for a page of another
// origin (https://www.w3.org/TR/fetch-metadata/). Another port of this machine
// is another origin, for any user may serve pages there.
func IsCrossSite(r *http.Request) bool {
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
