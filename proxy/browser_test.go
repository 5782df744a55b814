package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestIsOurs(t *testing.T) {
	tcp := func(ip string, port int) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: port} }
	names := map[string]bool{"proxy.corp.example": true}
	for _, tt := range []struct {
		local net.Addr
		host  string
		want  bool
	}{
		{tcp("127.0.0.1", 8180), "127.0.0.1:8180", true},
		{tcp("::ffff:127.0.0.1", 8180), "127.0.0.1:8180", true},
		{tcp("127.0.0.1", 8180), "[::ffff:127.0.0.1]:8180", true},
		{tcp("127.0.0.1", 8180), "localhost:8180", true},
		{tcp("127.0.0.1", 8180), "LocalHost.:8180", true},
		{tcp("127.0.0.1", 8180), "127.0.0.1", false},
		{tcp("127.0.0.1", 80), "127.0.0.1", true},
		{tcp("127.0.0.1", 80), "127.0.0.1:80", true},
		{tcp("127.0.0.1", 8180), "127.1:8180", false},
		{tcp("127.0.0.1", 8180), "0.0.0.0:8180", false},
		{tcp("127.0.0.1", 8180), "evil.example:8180", false},
		{tcp("127.0.0.1", 8180), "localhost.evil.example:8180", false},
		{tcp("127.0.0.1", 8180), "", false},
		{tcp("127.0.0.1", 8180), "user@127.0.0.1:8180", false},
		{tcp("::1", 8180), "[::1]:8180", true},
		{tcp("::1", 8180), "localhost:8180", true},
		{tcp("10.0.0.4", 8180), "10.0.0.4:8180", true},
		{tcp("10.0.0.4", 8180), "localhost:8180", false},
		{tcp("10.0.0.4", 8180), "Proxy.Corp.Example", true},
		{&net.UnixAddr{Name: "/run/x", Net: "unix"}, "localhost", true},
		{&net.UnixAddr{Name: "/run/x", Net: "unix"}, "evil.example", false},
		{nil, "localhost", false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = tt.host
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, tt.local))
		if got := IsOurs(r, names); got != tt.want {
			t.Errorf("at %v, %q is ours: %v, want %v", tt.local, tt.host, got, tt.want)
		}
	}
}

func TestIsCrossSite(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header http.Header
		tls    bool
		want   bool
	}{
		{"a program", nil, false, false},
		{"typed in", http.Header{"Sec-Fetch-Site": {"none"}}, false, false},
		{"our own page", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"http://127.0.0.1:8180"}}, false, false},
		{"our own page over TLS", http.Header{"Origin": {"https://127.0.0.1:8180"}}, true, false},
		{"the same name without TLS", http.Header{"Origin": {"http://127.0.0.1:8180"}}, true, true},
		{"another port", http.Header{"Origin": {"http://127.0.0.1:3000"}}, false, true},
		{"a site beside ours", http.Header{"Sec-Fetch-Site": {"same-site"}}, false, true},
		{"another site", http.Header{"Sec-Fetch-Site": {"cross-site"}}, false, true},
		{"both said", http.Header{"Sec-Fetch-Site": {"same-origin", "cross-site"}}, false, true},
		{"an opaque origin", http.Header{"Origin": {"null"}}, false, true},
		{"an empty origin", http.Header{"Origin": {""}}, false, true},
	} {
		r := httptest.NewRequest("GET", "http://127.0.0.1:8180/", nil)
		r.Header = tt.header
		if tt.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if got := IsCrossSite(r); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
