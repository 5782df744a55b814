package authority

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
)

const (
	leafLifetime = 7 * 24 * time.Hour
	// Callers in containers and guests may run behind our clock.
	leafBackdate = time.Hour
	// certmagic renews a leaf when this share of its life is left.
	renewalRatio = 1.0 / 3
)

// issuer signs leaves for certmagic.
type issuer struct {
	keys   *keyPair
	allow  func(name string) error
	suffix []byte // of every leaf's PEM: the chain without the root, which callers have
}

func newIssuer(keys *keyPair, allow func(name string) error) *issuer {
	return &issuer{keys: keys, allow: allow, suffix: encodeCertificates(keys.chain[:len(keys.chain)-1]...)}
}

// IssuerKey implements certmagic.Issuer.
func (*issuer) IssuerKey() string { return organization }

// Issue implements certmagic.Issuer. It decides once more whether the name may
// have a leaf, for certmagic also renews by itself.
func (i *issuer) Issue(_ context.Context, request *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	if len(request.DNSNames) != 1 || len(request.IPAddresses)+len(request.EmailAddresses)+len(request.URIs) > 0 {
		return nil, errors.New("authority: a leaf is for one DNS name")
	}
	name := request.DNSNames[0]
	if err := i.allow(name); err != nil {
		return nil, err
	}
	der, err := i.sign(name, request)
	if err != nil {
		return nil, err
	}
	leaf := pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})
	return &certmagic.IssuedCertificate{Certificate: append(leaf, i.suffix...)}, nil
}

func (i *issuer) sign(name string, request *x509.CertificateRequest) ([]byte, error) {
	now := time.Now()
	parent := i.keys.intermediate()
	template := &x509.Certificate{
		// A subject that is not empty, for with an empty one the alternative
		// names would have to be critical (RFC 5280, section 4.2.1.6), which
		// some clients do not take. No common name: nobody may match it, and
		// 64 characters are too few for a host.
		Subject:               pkix.Name{Organization: []string{organization}},
		DNSNames:              []string{name},
		NotBefore:             later(now.Add(-leafBackdate), parent.NotBefore),
		NotAfter:              earlier(now.Add(leafLifetime-leafBackdate), i.keys.expires()),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if _, ok := request.PublicKey.(*rsa.PublicKey); ok {
		template.KeyUsage |= x509.KeyUsageKeyEncipherment // for key exchange by RSA
	}
	if !template.NotAfter.After(now) {
		return nil, errors.New("authority: it has expired; " + renewHint)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, request.PublicKey, i.keys.key)
	if err != nil {
		return nil, fmt.Errorf("authority: signing a leaf for %s: %w", name, err)
	}
	return der, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// wildcardSuffix gives "vault.azure.net" for "*.vault.azure.net".
func wildcardSuffix(name string) (suffix string, ok bool) { return strings.CutPrefix(name, "*.") }
