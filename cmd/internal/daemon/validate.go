package daemon

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

// check finds the mistakes that no single value shows.
func (c *Config) check() {
	c.checkAddresses()
	c.checkEndpoint()
	c.checkFiles()
	c.checkRedirect()
	c.readCloudFile()
	s := &c.source
	if c.Drain.Min > c.Drain.Max {
		s.fail("drain", "min is %s and max %s; make max the longer one", showDuration(c.Drain.Min), showDuration(c.Drain.Max))
	}
	if c.Limits.Spool > c.Limits.SpoolTotal {
		s.fail("limits", "spool is %s and spool_total %s; make spool_total the larger one", showSize(c.Limits.Spool), showSize(c.Limits.SpoolTotal))
	}
	c.checkCertificates()
	c.checkRoutes()
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
