package proxy

import (
	"net"
	"net/http"
	"strconv"
	"strings"
)

// serveBase answers an origin-form request, http://127.0.0.1:8180/<gateway>/...,
// for apps that can change a URL but trust no new authority.
func (s *Server) serveBase(w http.ResponseWriter, r *http.Request) {
	x := s.newExchange(w, r, steeredByBase)
	x.serve(func() *problem {
		if !IsOurs(r, x.settings.names) {
			return problemf(http.StatusMisdirectedRequest, CodeMisdirected,
				"%s is not a name of this proxy; list it under names, or use the listener's address", shown(r.Host))
		}
		if IsCrossSite(r) {
			return problemf(http.StatusForbidden, CodeCrossSite, "a web page of another site may not use this proxy")
		}
		path, query := splitTarget(r.RequestURI)
		name, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		gateway, ok := x.settings.routes.Gateway(name)
		if !ok {
			return problemf(http.StatusNotFound, CodeUnknownGateway,
				"no gateway is called %s; the configuration has: %s", shown(name), orNone(x.settings.routes.Gateways()))
		}
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		x.base = &baseURL{host: gateway.GatewayHost, port: gateway.GatewayPort, origin: scheme + "://" + r.Host, prefix: "/" + name}
		x.setTarget("https", gateway.GatewayHost, gateway.GatewayPort, "/"+rest, query)
		return x.forward()
	})
}

// baseURL maps between an upstream's URLs and a gateway's.
type baseURL struct {
	host   string // the upstream's
	port   uint16
	origin string // ours, as the caller wrote it: http://127.0.0.1:8180
	prefix string // /vault
}

// mapURL maps an absolute URL of the upstream's to ours; false where it points
// elsewhere.
func (b *baseURL) mapURL(link string) (string, bool) {
	rest, ok := cutPrefixFold(link, "https://")
	if !ok {
		return "", false
	}
	if rest, ok = cutPrefixFold(rest, b.host); !ok {
		return "", false
	}
	// What follows must end the authority: "vault.azure.net.evil.example",
	// "vault.azure.net@evil.example" and another port are other places.
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	if authority != ":"+strconv.Itoa(int(b.port)) && !(authority == "" && b.port == 443) {
		return "", false
	}
	return b.origin + b.prefix + tail, true
}

// mapSources has the fields that name a source by one of our base URLs, as an app
// that knows no other name writes it, name the upstream's. It comes before the
// decision, so that what is judged is what is sent.
func (x *exchange) mapSources() {
	for _, name := range [...]string{"X-Ms-Copy-Source", "X-Ms-File-Rename-Source"} {
		values := x.r.Header[name]
		if len(values) != 1 {
			continue
		}
		rest, ok := cutPrefixFold(values[0], x.base.origin+"/")
		if !ok {
			continue
		}
		gateway, target := rest, ""
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			gateway, target = rest[:i], rest[i:]
		}
		if r, ok := x.settings.routes.Gateway(gateway); ok {
			host := r.GatewayHost
			if r.GatewayPort != 443 {
				host = net.JoinHostPort(host, strconv.Itoa(int(r.GatewayPort)))
			}
			x.r.Header[name] = []string{"https://" + host + target}
		}
	}
}

// mapHeader maps a header's URL, which may be relative to the upstream's root.
func (b *baseURL) mapHeader(link string) string {
	if mapped, ok := b.mapURL(link); ok {
		return mapped
	}
	if strings.HasPrefix(link, "/") && !strings.HasPrefix(link, "//") {
		return b.prefix + link
	}
	return link
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
