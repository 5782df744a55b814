package daemon

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/listen"
	"github.com/bearerd/bearerd/proxy/route"
)

// check finds the mistakes that no single value shows.
func (c *Config) check() {
	c.checkAddresses()
	c.checkEndpoint()
	c.checkFiles()
	c.readCloudFile()
	s := &c.source
	if c.Drain.Min > c.Drain.Max {
		s.fail("drain", "min is %s and max %s; make max the longer one", showDuration(c.Drain.Min), showDuration(c.Drain.Max))
	}
	if c.Limits.Spool > c.Limits.SpoolTotal {
		s.fail("limits", "spool is %s and spool_total %s; make spool_total the larger one", showSize(c.Limits.Spool), showSize(c.Limits.SpoolTotal))
	}
	c.checkRoutes()
}

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
		case !l.Address.IsLocal() && !l.InsecureAllowNetwork:
			s.fail(path+".address", "whoever reaches %s over the network could use this machine's identity; listen on 127.0.0.1, [::1] or a unix socket, or accept that with insecure_allow_network: true", l.Address)
		}
		all = append(all, taken{path + ".address", l.Address})
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

// isIMDSs reports whether an address is the one that IMDS has on every Azure
// machine. In mode imds it is allowed, alone of all that are not loopback's: some
// clients (azidentity, MSAL for Go) ask nowhere else, and no router passes a
// link-local address on. A machine on the same link can still send to it, for
// Linux takes a packet for any address of its own on any interface; so it has to
// be accepted as the network is elsewhere.
func (a Address) isIMDSs() bool {
	return a.TCP.Port() == 80 && a.TCP.Addr().Unmap() == netip.AddrFrom4([4]byte{169, 254, 169, 254})
}

// checkEndpoint looks for a listener in IMDS's place that is also where bearerd
// gets its tokens from: each fetch would wait for itself.
func (c *Config) checkEndpoint() {
	s := &c.source
	const endpoint = "imds.endpoint"
	asked, err := endpointAddresses(c.IMDS.Endpoint)
	if err != nil || s.failedUnder("imds") {
		return // the mistake is noted
	}
	for i, l := range c.Listen {
		path := fmt.Sprintf("listen[%d].address", i)
		if l.Mode != ModeIMDS || s.failedUnder(path) || !slices.ContainsFunc(asked, func(a netip.AddrPort) bool { return l.Address.collides(Address{TCP: a}) }) {
			continue
		}
		if s.has(endpoint) {
			s.fail(endpoint, "%s is bearerd's own %s, so that it would ask itself for tokens; name where the machine's IMDS is reached, or give the listener another address", c.IMDS.Endpoint, path)
		} else {
			s.fail(path, "%s is where bearerd gets its tokens from itself, as imds.endpoint's default; name another imds.endpoint, where the machine's IMDS is reached, or listen elsewhere", l.Address)
		}
	}
}

func (c *Config) checkFiles() {
	s := &c.source
	if c.StateDir == "" {
		s.fail("state_dir", "no folder is named; write one, or remove the key")
	}
	if !s.failedUnder("authority") && (c.Authority.CertFile == "") != (c.Authority.KeyFile == "") {
		s.fail("authority", "cert_file and key_file go together; name both, or none")
	}
	if c.Upstream.CAFile == "" || s.failedUnder("upstream.ca_file") {
		return
	}
	var err error
	if c.Upstream.RootCAs, err = rootsWith(c.Upstream.CAFile); err != nil {
		s.fail("upstream.ca_file", "%w", err)
	}
}

// rootsWith gives the system's roots and those of a file.
func rootsWith(path string) (*x509.CertPool, error) {
	rest, err := readFile(path)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's roots, which the file's stand beside: %w; install ca-certificates", err)
	}
	count := 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s holds a %s; keep the certificates alone", path, block.Type)
		}
		count++
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d in %s cannot be read: %w; replace it", count, path, err)
		}
		roots.AddCert(cert)
	}
	if count == 0 {
		return nil, fmt.Errorf("%s holds no certificate; name a file in PEM, which begins with -----BEGIN CERTIFICATE-----", path)
	}
	return roots, nil
}

// checkRoutes compiles the routes for the cloud, to find their mistakes.
func (c *Config) checkRoutes() {
	s := &c.source
	clouds := c.clouds()
	if len(clouds) == 0 {
		return // the mistakes are noted
	}
	var mistakes error // in the first cloud, the most likely one
	var tables []*route.Table
	for _, cloud := range clouds {
		table, err := route.Compile(c.Rules(cloud), cloud)
		if err == nil {
			if len(tables) == 0 {
				c.checkLogins(cloud, table)
			}
			tables = append(tables, table)
		} else if mistakes == nil {
			mistakes = err
		}
	}
	if len(tables) > 0 {
		c.checkListenHosts(tables)
		return
	}
	broken := s.failedUnder("routes")
	for _, e := range split[*route.RuleError](mistakes) {
		switch {
		case e.Field == "identity": // noted where it stands
		case broken && (e.Field == "" || s.failedUnder(fmt.Sprintf("routes[%d]", e.Index))):
			// It may follow from what the broken rule lacks.
		default:
			s.fail(rulePath(e), "%w", e.Err)
		}
	}
}

// checkLogins looks for what stands in the way of logins.
func (c *Config) checkLogins(cloud *azure.Cloud, table *route.Table) {
	s := &c.source
	if s.failedUnder("entra") {
		return
	}
	if (len(c.Entra.Tenants) == 0) != (len(c.Entra.Clients) == 0) {
		s.fail("entra", "tenants and clients go together; name both, or none")
		return
	}
	if _, err := c.Logins(cloud, table); err != nil {
		s.fail("entra", "%w", errors.Unwrap(err))
	}
}

// clouds gives those that may turn out to hold, the most likely one first; none
// after a mistake.
func (c *Config) clouds() []*azure.Cloud {
	s := &c.source
	switch {
	case s.failedUnder("cloud"):
		return nil
	case c.cloud.definition != nil:
		cloud, err := azure.NewCloud(*c.cloud.definition)
		for _, e := range split[*azure.DefinitionError](err) {
			switch i := e.Service - c.cloud.fromFile; {
			case e.Service < 0:
				s.fail("cloud."+e.Field, "%w", e.Err)
			case i < 0:
				s.fail("cloud.file", "its %s: %w", c.cloud.definition.Services[e.Service].Name, e.Err)
			default:
				s.fail(fmt.Sprintf("cloud.services[%d].%s", i, e.Field), "%w", e.Err)
			}
		}
		if err != nil {
			return nil
		}
		return []*azure.Cloud{cloud}
	}
	names := []string{c.cloud.name}
	if c.cloud.name == autoCloud {
		names = azure.CloudNames()
	}
	var clouds []*azure.Cloud
	for _, name := range names {
		if cloud, ok := azure.CloudNamed(name); ok {
			clouds = append(clouds, cloud)
		}
	}
	return clouds
}

func rulePath(e *route.RuleError) string {
	path := fmt.Sprintf("routes[%d]", e.Index)
	if e.Field != "" {
		path += "." + e.Field
	}
	return path
}

// split gives the errors of one type that errors.Join has put together.
func split[E error](err error) (all []E) {
	var one E
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			all = append(all, split[E](e)...)
		}
	} else if errors.As(err, &one) {
		all = append(all, one)
	}
	return all
}
