package daemon

import (
	"crypto/tls"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/bearerd/bearerd/proxy/listen"
	"github.com/bearerd/bearerd/proxy/route"
)

// checkAddresses looks for listeners that would let the network in, or take
// each other's address.
func (c *Config) checkAddresses() {
	s := &c.source
	if len(c.Listen) == 0 && !s.failedUnder("listen") {
		s.fail("listen", "no address is listed, so that nobody could call; list one, or remove the key")
	}
	type taken struct {
		path    string
		address Address
	}
	var all []taken
	for i, l := range c.Listen {
		path := fmt.Sprintf("listen[%d]", i)
		c.checkTransparent(l, path)
		switch {
		case s.failedUnder(path):
			continue
		case l.Address == Address{}:
			s.fail(path, "it has no address; write one, like 127.0.0.1:8180 or unix:/run/bearerd/proxy.sock")
			continue
		case !l.Address.IsLocal() && l.Mode == ModeIMDS && !l.Address.isIMDSs():
			s.fail(path+".address", "whoever reaches %s over the network could take this machine's tokens away; listen on 127.0.0.1 or [::1]", l.Address)
		case l.Mode == ModeIMDS && l.Address.isIMDSs() && !l.InsecureAllowNetwork:
			s.fail(path+".address", "a neighbour on the same link reaches %s, and could take this machine's tokens away; let no other machine have a link to it, or a firewall keep them out, and accept what is left with insecure_allow_network: true", l.Address)
		case !l.Address.IsLocal() && !l.asksCallers() && !l.InsecureAllowNetwork:
			s.fail(path+".address", "whoever reaches %s over the network could use this machine's identity; listen on 127.0.0.1, [::1] or a unix socket, ask for client certificates (tls.client_ca, with a certificate of the listener's own), or accept that with insecure_allow_network: true", l.Address)
		}
		c.checkTLS(path+".tls", &l)
		if len(l.ProxyProtocolFrom) > 0 && (l.Address.Unix != "" || l.Mode != ModeExplicit) {
			s.fail(path+".proxy_protocol_from", "load balancers reach TCP addresses in mode explicit only; remove it")
		}
		all = append(all, taken{path + ".address", l.Address})
		if http := l.TLS.ACME.HTTPAddress; http.IsValid() {
			all = append(all, taken{path + ".tls.acme.http_address", Address{TCP: http}})
		}
	}
	if !s.failedUnder("admin") {
		all = append(all, taken{"admin.address", c.Admin.Address})
	}
	for i, later := range all {
		for _, earlier := range all[:i] {
			if !later.address.collides(earlier.address) {
				continue
			}
			if s.has(later.path) {
				s.fail(later.path, "%s is taken by %s (%s); choose another port or path", later.address, earlier.path, earlier.address)
			} else { // it is the default, and the earlier one is the file's
				s.fail(earlier.path, "%s is taken by %s, whose default it is; choose another port or path for one of them", earlier.address, later.path)
			}
			break
		}
	}
}

// checkTransparent looks for what a listener cannot do.
func (c *Config) checkTransparent(l Listener, path string) {
	s := &c.source
	switch {
	case s.failedUnder(path):
	case l.Mode != ModeTransparent && l.Host != "":
		s.fail(path+".host", "a listener in mode %s learns the host from its callers; remove it, or write mode: transparent", l.Mode)
	case l.Mode != ModeTransparent:
	case !listen.HasDestinations:
		s.fail(path+".mode", "this system does not tell where a redirected connection was meant to go; steer apps by proxy variables or base URLs instead")
	case l.Address.Unix != "":
		s.fail(path+".address", "nothing is redirected to a socket of the file system; write an address like 127.0.0.1:8443")
	}
}

// checkListenHosts looks for listeners whose one host gets no token.
func (c *Config) checkListenHosts(tables []*route.Table) {
	for i, l := range c.Listen {
		path := fmt.Sprintf("listen[%d].host", i)
		if l.Host != "" && !c.source.failedUnder(path) && !slices.ContainsFunc(tables, func(t *route.Table) bool { return t.Named(l.Host) }) {
			c.source.fail(path, "no route names %s, so that its callers would get no token; add a route, or remove it", l.Host)
		}
	}
}

// collides reports whether two listeners cannot have the addresses.
func (a Address) collides(b Address) bool {
	if a.Unix != "" || b.Unix != "" {
		return a.Unix == b.Unix
	}
	if a.TCP.Port() != b.TCP.Port() || a.TCP.Port() == 0 {
		return false
	}
	x, y := a.TCP.Addr().Unmap(), b.TCP.Addr().Unmap()
	// Go's [::] listens on IPv4 too.
	all := x.IsUnspecified() && (x.Is6() || y.Is4()) || y.IsUnspecified() && (y.Is6() || x.Is4())
	return x == y || all
}

// checkCertificates looks for routes that name client certificates which no
// listener asks for.
func (c *Config) checkCertificates() {
	if slices.ContainsFunc(c.Listen, func(l Listener) bool { return l.asksCallers() }) {
		return
	}
	for i, r := range c.routes {
		path := fmt.Sprintf("routes[%d].callers.certificates", i)
		if len(r.rule.Callers.Certificates) > 0 && !c.source.failedUnder(path) && !c.source.failedUnder("listen") {
			c.source.fail(path, "no listener asks callers for a certificate; give one of them tls.client_ca, or remove the names")
		}
	}
}

// asksCallers reports whether each caller must show a certificate.
func (l *Listener) asksCallers() bool { return l.TLS.IsServed() && l.TLS.ClientCA != "" }

// checkTLS finds keys of a listener's tls that lack, or exclude, one another.
func (c *Config) checkTLS(path string, l *Listener) {
	s := &c.source
	if s.failedUnder(path) {
		return
	}
	t := &l.TLS
	var sources []string
	if t.CertFile != "" {
		sources = append(sources, "cert_file")
	}
	if t.Authority {
		sources = append(sources, "authority")
	}
	if t.ACME.Directory != "" {
		sources = append(sources, "acme")
	}
	switch {
	case (t.CertFile == "") != (t.KeyFile == ""):
		s.fail(path, "cert_file and key_file go together; name both, or none")
	case len(sources) > 1:
		s.fail(path, "%s each give the listener a certificate; keep one of them", strings.Join(sources, " and "))
	case l.Mode == ModeIMDS && !reflect.DeepEqual(*t, TLS{}):
		s.fail(path, "apps ask IMDS in plain http, on this machine; remove it")
	case t.IsServed() && l.Address.Unix != "":
		s.fail(path, "a unix socket does not leave this machine, and who is at its other end the kernel tells; remove the certificate")
	case t.IsServed() && l.Mode == ModeTransparent:
		s.fail(path, "callers that were steered to a transparent listener do not know that it is there; remove the certificate")
	case t.ClientCA != "" && !t.IsServed():
		s.fail(path+".client_ca", "without a certificate the listener speaks no TLS, so that callers cannot show theirs; set cert_file and key_file, authority or acme")
	case t.Authority && len(c.ownNames()) == 0:
		s.fail(path+".authority", "the local authority signs for names, never for addresses, and the file's own names has none that it could; list there the name by which callers reach the proxy")
	}
	c.checkACME(path+".acme", &t.ACME)
}

func (c *Config) checkACME(path string, a *ACME) {
	s := &c.source
	switch {
	case a.Directory == "" && (a.Email != "" || len(a.Domains) > 0 || a.EAB != (EAB{}) || a.HTTPAddress.IsValid()):
		s.fail(path, "the server's directory is missing; write directory: https://acme-v02.api.letsencrypt.org/directory, or that of another server")
	case a.Directory != "" && len(a.Domains) == 0:
		s.fail(path, "no name is given to get a certificate for; list it in domains")
	case (a.EAB.KeyID == "") != (a.EAB.KeyFile == ""):
		s.fail(path+".eab", "key_id and key_file go together; name both, or none")
	}
}

// ownNames are the names of ours that the local authority can sign for.
func (c *Config) ownNames() []string {
	var names []string
	for _, name := range c.Names {
		if _, err := permit(name); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// signedNames are the names that the authority signs for because a listener's
// own certificate is its.
func (c *Config) signedNames() []string {
	for _, l := range c.Listen {
		if l.TLS.Authority {
			return c.ownNames()
		}
	}
	return nil
}

// warnOfOldTLS names listeners that take what clients of today refuse.
func (c *Config) warnOfOldTLS(s *source) {
	for i, l := range c.Listen {
		path := fmt.Sprintf("listen[%d].tls", i)
		if v := l.TLS.MinVersion; v == tls.VersionTLS10 || v == tls.VersionTLS11 {
			s.fail(path+".min_version", "%s has known weaknesses, and whoever can change packets between a caller and %s may make use of them; keep it for clients that know nothing newer, on a listener of their own", tls.VersionName(v), l.Address)
		}
		if l.TLS.RSA {
			s.fail(path+".rsa", "key exchange by RSA has no forward secrecy: whoever records a call and gets the certificate's key later can read it; keep it for clients that know nothing else, on a listener of their own")
		}
	}
}
