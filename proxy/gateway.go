package proxy

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/route"
)

// serveBase answers an origin-form request, http://127.0.0.1:8180/<gateway>/...,
// for apps that can change a URL but trust no new authority.
func (s *Server) serveBase(w http.ResponseWriter, r *http.Request) {
	x := s.newExchange(w, r, steeredByBase, caller.OfRequest(r))
	x.serve(func() *problem {
		if !IsOurs(r, x.settings.names) {
			return problemf(http.StatusMisdirectedRequest, CodeMisdirected,
				"%s is not a name of this proxy; list it under names, or use the listener's address", shown(r.Host))
		}
		if IsCrossSite(r) {
			return problemf(http.StatusForbidden, CodeCrossSite, "a web page of another site may not use this proxy")
		}
		path, query := splitTarget(r.RequestURI)
		segment, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		gateway, at, ok := x.settings.baseTarget(segment)
		if !ok {
			return unknownGateway(segment, x.settings)
		}
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		x.base = &baseURL{gateway: gateway, origin: scheme + "://" + r.Host, prefix: "/" + segment}
		x.setTarget("https", at.host, at.port, "/"+rest, query)
		return x.forward()
	})
}

// siblingMark stands between a gateway's name, which cannot hold it, and another
// host of its route: /arm~westus.management.azure.com/...
const siblingMark = "~"

// hostPort is where a base URL leads.
type hostPort struct {
	host string
	port uint16
}

// baseTarget finds where the first segment of a base URL leads: to its gateway's
// one host, or to another host that the gateway's route names. Azure Resource
// Manager sends callers on to its regional hosts. Whoever writes such a URL gets
// to no other host than by the proxy variables, and the call is judged anew.
func baseTarget(routes *route.Table, segment string) (*route.Route, hostPort, bool) {
	name, sibling, marked := strings.Cut(segment, siblingMark)
	gateway, ok := routes.Gateway(name)
	if !ok {
		return nil, hostPort{}, false
	}
	if !marked {
		return gateway, hostPort{gateway.GatewayHost, gateway.GatewayPort}, true
	}
	host, port, err := azure.NormalizeHost(sibling)
	if err != nil || port != 0 || !gateway.Names(host, 443) {
		return nil, hostPort{}, false
	}
	return gateway, hostPort{host, 443}, true
}

// basePath is the opposite: the base URL's path of a host, where it has one.
func basePath(gateway *route.Route, at hostPort) (string, bool) {
	switch {
	case gateway == nil:
	case at == hostPort{gateway.GatewayHost, gateway.GatewayPort}:
		return "/" + gateway.Gateway, true
	case at.port == 443 && gateway.Names(at.host, 443):
		return "/" + gateway.Gateway + siblingMark + at.host, true
	}
	return "", false
}

func unknownGateway(segment string, s *snapshot) *problem {
	name, sibling, marked := strings.Cut(segment, siblingMark)
	if _, ok := s.routes.Gateway(name); ok && marked {
		return problemf(http.StatusNotFound, CodeUnknownGateway, "the route of the gateway %s names no host %s, without a port", name, shown(sibling))
	}
	return problemf(http.StatusNotFound, CodeUnknownGateway,
		"no gateway is called %s; the configuration has: %s", shown(name), orNone(s.gateways()))
}

// baseURL maps between the URLs of a gateway's upstreams and its own.
type baseURL struct {
	gateway *route.Route // nil: the login host's
	origin  string       // ours, as the caller wrote it: http://127.0.0.1:8180
	prefix  string       // of the call: /vault, or /arm~westus.management.azure.com
}

// mapURL maps an absolute URL of an upstream's to ours; false where it points
// elsewhere.
func (b *baseURL) mapURL(link string) (string, bool) {
	rest, ok := cutPrefixFold(link, "https://")
	if !ok {
		return "", false
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	// "vault.azure.net@evil.example" is no host, and the like of it.
	host, port, err := azure.NormalizeHost(authority)
	if err != nil {
		return "", false
	}
	if port == 0 {
		port = 443
	}
	path, ok := basePath(b.gateway, hostPort{host, port})
	if !ok {
		return "", false
	}
	return b.origin + path + tail, true
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
		if _, at, ok := baseTarget(x.settings.routes, gateway); ok {
			host := at.host
			if at.port != 443 {
				host = net.JoinHostPort(host, strconv.Itoa(int(at.port)))
			}
			x.r.Header[name] = []string{"https://" + host + target}
		}
	}
}

// mapBatch has the batch that an SDK writes to a base URL be the one that it
// means. What is judged is what is sent.
func (x *exchange) mapBatch() {
	if x.base.gateway == nil || !x.base.gateway.Service.IsStorage() {
		return
	}
	if query, ok := azure.AccountBatch(&x.call); ok {
		x.call.Query = query
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
