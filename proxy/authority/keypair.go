package authority

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

const (
	// organization marks what we sign; package trust knows roots of ours by it.
	organization = "bearerd"
	// lifetime of the root and its intermediate. Renewing them means that every
	// app must be made to trust another root, so it is rare.
	lifetime = 10 * 365 * 24 * time.Hour
	// A virtual machine's clock may be corrected backwards soon after its first
	// boot, which is when the authority is made; and callers' clocks differ.
	authorityBackdate = 24 * time.Hour
)

// keyPair is what signs leaves.
type keyPair struct {
	// chain starts with the intermediate and ends with the root.
	chain []*x509.Certificate
	key   crypto.Signer // the intermediate's
}

func (k *keyPair) intermediate() *x509.Certificate { return k.chain[0] }
func (k *keyPair) root() *x509.Certificate         { return k.chain[len(k.chain)-1] }

func generateECDSA() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// generateRSA makes a key for ten years: 2048 bits are for less
// (NIST SP 800-57 part 1, table 4).
func generateRSA() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 3072) }

// newKeyPair makes an authority of ECDSA keys.
func newKeyPair(permit []string) (*keyPair, error) { return newKeyPairOf(generateECDSA, permit) }

// newKeyPairOf makes a root and the one intermediate that it ever signs. The
// root's key is in no field and no file: it is garbage when this returns.
//
// The root has the same name constraints. Whoever is asked to install it can
// thus read in the root itself what it is good for, and need not believe that
// its key is gone. They alone would not do: Java ignores a trust anchor's.
func newKeyPairOf(generate func() (crypto.Signer, error), permit []string) (*keyPair, error) {
	rootKey, err := generate()
	if err != nil {
		return nil, err
	}
	key, err := generate()
	if err != nil {
		return nil, err
	}
	var tag [4]byte // tells one root of ours from another in a trust store
	if _, err := rand.Read(tag[:]); err != nil {
		return nil, err
	}
	now := time.Now()
	template := func(role string, pathLen int) *x509.Certificate {
		t := &x509.Certificate{
			Subject: pkix.Name{
				Organization: []string{organization},
				CommonName:   "bearerd " + role + " " + now.UTC().Format(time.DateOnly) + " " + hex.EncodeToString(tag[:]),
			},
			NotBefore:             now.Add(-authorityBackdate),
			NotAfter:              now.Add(lifetime),
			KeyUsage:              x509.KeyUsageCertSign,
			BasicConstraintsValid: true,
			IsCA:                  true,
			MaxPathLen:            pathLen,
			MaxPathLenZero:        pathLen == 0,
		}
		constrain(t, permit)
		return t
	}
	rootTemplate := template("root", 1)
	root, err := sign(rootTemplate, rootTemplate, rootKey.Public(), rootKey)
	if err != nil {
		return nil, fmt.Errorf("signing the root: %w", err)
	}
	template0 := template("intermediate", 0)
	template0.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	intermediate, err := sign(template0, root, key.Public(), rootKey)
	if err != nil {
		return nil, fmt.Errorf("signing the intermediate: %w", err)
	}
	return &keyPair{chain: []*x509.Certificate{intermediate, root}, key: key}, nil
}

func sign(template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// check says why k must not or cannot sign leaves. Dates are checkDates' part.
func (k *keyPair) check() error {
	pub, ok := k.intermediate().PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(k.key.Public()) {
		return errors.New("the key does not belong to the intermediate")
	}
	for i, cert := range k.chain[:len(k.chain)-1] {
		if err := cert.CheckSignatureFrom(k.chain[i+1]); err != nil {
			return fmt.Errorf("%q is not signed by %q: %w", cert.Subject, k.chain[i+1].Subject, err)
		}
	}
	root := k.root()
	if err := root.CheckSignatureFrom(root); err != nil || !bytes.Equal(root.RawSubject, root.RawIssuer) {
		return fmt.Errorf("the last certificate, %q, is not a self-signed root", root.Subject)
	}
	return nil
}

// checkDates says which certificate is outside its dates.
func (k *keyPair) checkDates() error {
	now := time.Now()
	for _, cert := range k.chain {
		switch {
		case now.Before(cert.NotBefore):
			return fmt.Errorf("%q is not valid before %s, and this machine's clock says %s", cert.Subject, stamp(cert.NotBefore), stamp(now))
		case now.After(cert.NotAfter):
			return fmt.Errorf("%q expired on %s, and this machine's clock says %s", cert.Subject, stamp(cert.NotAfter), stamp(now))
		}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// expires gives the first end of a certificate in the chain.
func (k *keyPair) expires() time.Time {
	first := k.intermediate().NotAfter
	for _, cert := range k.chain {
		if cert.NotAfter.Before(first) {
			first = cert.NotAfter
		}
	}
	return first
}

const (
	pemCertificate = "CERTIFICATE"
	pemPrivateKey  = "PRIVATE KEY"
)

// marshal gives the content of the authority's file: root, intermediate, key.
func (k *keyPair) marshal() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.key)
	if err != nil {
		return nil, err
	}
	out := encodeCertificates(k.root(), k.intermediate())
	return append(out, pem.EncodeToMemory(&pem.Block{Type: pemPrivateKey, Bytes: der})...), nil
}

// unmarshal is marshal's inverse. It takes nothing but exactly what marshal
// wrote, for a file that somebody edited is not ours any more.
func unmarshal(data []byte) (*keyPair, error) {
	var ders [][]byte
	for _, want := range []string{pemCertificate, pemCertificate, pemPrivateKey} {
		block, rest := pem.Decode(data)
		if block == nil || block.Type != want {
			return nil, errors.New("it does not hold a root, an intermediate and a key, in this order")
		}
		ders, data = append(ders, block.Bytes), rest
	}
	if len(bytes.TrimSpace(data)) > 0 {
		return nil, errors.New("something follows the key")
	}
	root, err := x509.ParseCertificate(ders[0])
	if err != nil {
		return nil, fmt.Errorf("the root: %w", err)
	}
	intermediate, err := x509.ParseCertificate(ders[1])
	if err != nil {
		return nil, fmt.Errorf("the intermediate: %w", err)
	}
	key, err := parseKey(ders[2])
	if err != nil {
		return nil, err
	}
	k := &keyPair{chain: []*x509.Certificate{intermediate, root}, key: key}
	if err := k.check(); err != nil {
		return nil, err
	}
	if err := checkConstrained(intermediate); err != nil {
		return nil, err
	}
	return k, nil
}

// parseKey reads PKCS#8, SEC 1 and PKCS#1. Parsers' errors are not passed on:
// what they say of a broken key may show parts of it.
func parseKey(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	return nil, errors.New("the private key cannot be read (an unencrypted PKCS#8, EC or RSA key is needed)")
}

func encodeCertificates(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, cert := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: cert.Raw})...)
	}
	return out
}
