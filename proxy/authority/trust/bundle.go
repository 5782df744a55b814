package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const pemCertificate = "CERTIFICATE"

// rootPlaces says where a system keeps its roots.
type rootPlaces struct {
	files []string // the first that holds a certificate counts
	dirs  []string // read if no file does
}

// places gives the places that crypto/x509 knows for Linux, which has also what
// macOS keeps for programs without its keychain (/etc/ssl/cert.pem).
func places(getenv func(string) string) rootPlaces {
	p := rootPlaces{
		files: []string{
			"/etc/ssl/certs/ca-certificates.crt",                // Debian, Arch, Alpine
			"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora, RHEL
			"/etc/ssl/ca-bundle.pem",                            // openSUSE
			"/etc/pki/tls/cacert.pem",                           // OpenELEC
			"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // CentOS 7
			"/etc/ssl/cert.pem",                                 // Alpine, macOS, BSD
		},
		dirs: []string{"/etc/ssl/certs", "/etc/pki/tls/certs"},
	}
	if name := getenv("SSL_CERT_FILE"); name != "" {
		p.files = []string{name}
	}
	if list := getenv("SSL_CERT_DIR"); list != "" {
		p.dirs = filepath.SplitList(list)
	}
	return p
}

// systemRoots gives the certificates that the system trusts, each once.
func systemRoots(getenv func(string) string) ([]*x509.Certificate, error) {
	roots, err := places(getenv).read()
	if err != nil {
		return nil, fmt.Errorf("the system's root certificates were not found: %w; install ca-certificates, or set SSL_CERT_FILE to a PEM file with them", err)
	}
	return roots, nil
}

func (p rootPlaces) read() ([]*x509.Certificate, error) {
	var errs []error
	for _, name := range p.files {
		data, err := os.ReadFile(name)
		errs = append(errs, err)
		if roots := distinct(parseRoots(data)); len(roots) > 0 {
			return roots, nil
		}
	}
	var roots []*x509.Certificate
	for _, dir := range p.dirs {
		entries, err := os.ReadDir(dir)
		errs = append(errs, err)
		for _, entry := range entries {
			// What is not a certificate, or cannot be read, is passed over, as
			// OpenSSL does; such a folder has README files and stale links.
			data, _ := os.ReadFile(filepath.Join(dir, entry.Name()))
			roots = append(roots, parseRoots(data)...)
		}
	}
	if len(roots) == 0 {
		errs = append(errs, fmt.Errorf("no certificate is in %s", strings.Join(slices.Concat(p.files, p.dirs), ", ")))
		return nil, errors.Join(errs...)
	}
	return distinct(roots), nil
}

// parseRoots takes plain certificates only: OpenSSL's "TRUSTED CERTIFICATE" and
// blocks with headers carry limits that a plain one would lose.
func parseRoots(data []byte) []*x509.Certificate {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemCertificate || len(block.Headers) > 0 {
			continue
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			certs = append(certs, cert)
		}
	}
	return certs
}

func distinct(certs []*x509.Certificate) []*x509.Certificate {
	seen := make(map[[sha256.Size]byte]bool, len(certs))
	var out []*x509.Certificate
	for _, cert := range certs {
		if sum := sha256.Sum256(cert.Raw); !seen[sum] {
			seen[sum] = true
			out = append(out, cert)
		}
	}
	return out
}
