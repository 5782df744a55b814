// Package trust answers how a runtime is made to trust the authority's root: in
// which formats the root is written, with which of the system's, which variables
// lead the runtimes there, and how the system's own store takes it in.
//
// It holds no key and signs nothing: a root here is a certificate alone.
package trust

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"software.sslmate.com/src/go-pkcs12"
)

// organization marks the roots that bearerd made.
const organization = "bearerd"

// Password is that of the stores that Java reads: what Java's own have, and
// what it expects where nobody says another. Nothing in them is secret.
const Password = "changeit"

// Roots are the certificates that apps are to trust: the authority's, and the
// RSA one's where there is one. They are immutable and safe for concurrent use;
// the zero value is of no use.
type Roots struct{ certs []*x509.Certificate }

// Parse takes certificates of authorities in PEM, one at least.
func Parse(text []byte) (Roots, error) {
	certs := distinct(parseRoots(text))
	if len(certs) == 0 {
		return Roots{}, errors.New("no certificate is in it; the root is wanted, as `bearerd ca export` writes it")
	}
	for _, cert := range certs {
		if !cert.IsCA {
			return Roots{}, fmt.Errorf("%q in it is no authority's certificate; the root is wanted, as `bearerd ca export` writes it", cert.Subject)
		}
	}
	return Roots{certs}, nil
}

// Read is Parse of a file.
func Read(file string) (Roots, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Roots{}, fmt.Errorf("%w; name a file that `bearerd ca export --out FILE` has written", err)
	}
	roots, err := Parse(text)
	if err != nil {
		return Roots{}, fmt.Errorf("%s: %w", file, err)
	}
	return roots, nil
}

// PEM gives the roots alone.
func (r Roots) PEM() []byte { return encode(r.certs...) }

// PKCS12 gives the roots alone as a PKCS#12 trust store under the aliases
// "bearerd", "bearerd-2" and so on, as Java reads it since 8u301. It is encrypted
// and authenticated with password; an empty password leaves both out.
//
// A program whose trust store is this file trusts nothing else.
func (r Roots) PKCS12(password string) ([]byte, error) {
	encoder := pkcs12.Modern2023
	if password == "" {
		encoder = pkcs12.Passwordless
	}
	return encodePKCS12(encoder, password, r.entries())
}

func (r Roots) entries() []pkcs12.TrustStoreEntry {
	var entries []pkcs12.TrustStoreEntry
	for i, cert := range r.certs {
		entries = append(entries, pkcs12.TrustStoreEntry{Cert: cert, FriendlyName: alias(i)})
	}
	return entries
}

// alias names the root at i in a store.
func alias(i int) string {
	if i == 0 {
		return organization
	}
	return organization + "-" + strconv.Itoa(i+1)
}

// javaStore gives others and the roots as a PKCS#12 trust store for Password. Its
// algorithms are those that every Java since 6 reads: before 8u301 there were no
// others, and what they are too weak for, secrets, is not in it.
func (r Roots) javaStore(others []*x509.Certificate) ([]byte, error) {
	entries := r.entries()
	for i, cert := range r.without(others) {
		// Java takes entries of one name for one.
		entries = append(entries, pkcs12.TrustStoreEntry{Cert: cert, FriendlyName: "system-" + strconv.Itoa(i+1)})
	}
	return encodePKCS12(pkcs12.LegacyDES, Password, entries)
}

func encodePKCS12(encoder *pkcs12.Encoder, password string, entries []pkcs12.TrustStoreEntry) ([]byte, error) {
	store, err := encoder.EncodeTrustStoreEntries(entries, password)
	if err != nil {
		return nil, fmt.Errorf("encoding the trust store: %w; use a password of Unicode's basic plane", err)
	}
	return store, nil
}

// Bundle gives the system's roots and these in one PEM, for programs that
// take one file in place of the system's. The system's are found as Go's
// crypto/x509 finds them, SSL_CERT_FILE and SSL_CERT_DIR included; earlier roots
// of bearerd's own among them are left out.
func (r Roots) Bundle() ([]byte, error) {
	system, err := systemRoots(os.Getenv)
	if err != nil {
		return nil, err
	}
	return r.bundle(system), nil
}

func (r Roots) bundle(others []*x509.Certificate) []byte {
	return encode(append(r.without(others), r.certs...)...)
}

// without leaves out what of certs is ours: these roots, and those that were
// before a renewal, for a key may have been stolen then.
func (r Roots) without(certs []*x509.Certificate) []*x509.Certificate {
	return slices.DeleteFunc(slices.Clone(certs), func(cert *x509.Certificate) bool {
		return slices.ContainsFunc(r.certs, cert.Equal) || slices.Equal(cert.Subject.Organization, []string{organization})
	})
}

func encode(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, cert := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: cert.Raw})...)
	}
	return out
}
