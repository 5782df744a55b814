package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/bearerd/bearerd/metrics"
	"github.com/bearerd/bearerd/proxy/authority"
	"github.com/bearerd/bearerd/proxy/listen"
)

// certificate is what a listener shows as its own.
type certificate interface {
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Expires() time.Time // zero: there is none yet
	Err() error         // of the last attempt to get or read one
}

// secure has those listeners speak TLS that have a certificate of their own.
func (d *Daemon) secure(c *Config) error {
	for _, l := range d.callersDoors() {
		if err := d.secureDoor(c, l); err != nil {
			return err
		}
	}
	d.metrics.CollectCertificates(d.certificateSamples)
	return nil
}

// secureDoor has l speak TLS if it has a certificate of its own.
func (d *Daemon) secureDoor(c *Config, l *door) (err error) {
	t := &l.config.TLS
	if !t.IsServed() {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("TLS on %s: %w", l.config.Address, err)
		}
	}()
	o := listen.TLSOptions{MinVersion: t.MinVersion, OldKeyExchange: t.RSA}
	switch {
	case t.CertFile != "":
		l.cert, err = authority.OpenPair(t.CertFile, t.KeyFile, d.log)
	case t.Authority:
		l.cert = signedHere{d, t.RSA}
	default:
		l.acme, err = openACME(c, l, d.log)
		l.cert, o.Challenge = l.acme, authority.TLSALPNProtocol
	}
	if err != nil {
		return err
	}
	o.GetCertificate = l.cert.GetCertificate
	if t.ClientCA != "" {
		clients, err := authority.OpenClients(t.ClientCA, d.log)
		if err != nil {
			return fmt.Errorf("client_ca: %w", err)
		}
		o.ClientCAs = func() *x509.CertPool { return clients.Pool() }
	}
	l.Listener = listen.TLS(l.Listener, o)
	return nil
}

func openACME(c *Config, l *door, log *zap.Logger) (*authority.ACME, error) {
	a := &l.config.TLS.ACME
	return authority.OpenACME(authority.ACMEOptions{
		Dir: filepath.Join(c.StateDir, "acme"), Directory: a.Directory, Email: a.Email, Domains: a.Domains,
		EABKeyID: a.EAB.KeyID, EABKeyFile: a.EAB.KeyFile,
		HTTP: a.HTTPAddress, TLS: l.Addr().(*net.TCPAddr).AddrPort(),
		RootCAs: c.Upstream.RootCAs, Logger: log,
	})
}

// certificateSamples are the listeners' own certificates for the metrics.
func (d *Daemon) certificateSamples() (all []metrics.CertificateSample) {
	for _, l := range d.callersDoors() {
		if l.cert != nil {
			all = append(all, metrics.CertificateSample{Listener: l.config.Address.String(), Expires: l.cert.Expires(), Failing: l.cert.Err() != nil})
		}
	}
	return all
}

// signedHere is a certificate of the local authority's, for the names of ours
// that the configuration of the moment has.
type signedHere struct {
	d   *Daemon
	rsa bool // for clients that know nothing else too
}

// GetCertificate shows the certificate of the name that the caller asks for, of
// the first of ours for any other.
func (s signedHere) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	names := s.d.state.Load().config.ownNames()
	name := strings.ToLower(hello.ServerName)
	if !slices.Contains(names, name) {
		name = names[0] // no configuration with such a listener is without one
	}
	leaf, err := s.d.authority.Leaf(hello.Context(), name)
	if err == nil && s.rsa && hello.SupportsCertificate(leaf) != nil {
		return s.d.rsaAuthority.Leaf(hello.Context(), name)
	}
	return leaf, err
}

// Expires gives the authority's end: leaves are renewed before theirs.
func (s signedHere) Expires() time.Time { return s.d.authority.Expires() }

// Err is nil: a leaf is signed when it is asked for.
func (s signedHere) Err() error { return nil }
