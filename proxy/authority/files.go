package authority

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"
)

// Pair is a certificate with its key that others keep in two files. What they
// put there later is shown from the next handshake on, or a second after it; a
// file that cannot be used changes nothing, and is logged. OpenPair makes one; it
// is safe for concurrent use.
type Pair struct{ files *watched[*tls.Certificate] }

// OpenPair reads the chain of certFile, which starts with the certificate, and
// its key of keyFile, both in PEM. A nil logger logs nothing.
func OpenPair(certFile, keyFile string, log *zap.Logger) (*Pair, error) {
	files, err := watch(orNop(log), func() (*tls.Certificate, error) { return readPair(certFile, keyFile) }, certFile, keyFile)
	if err != nil {
		return nil, err
	}
	return &Pair{files}, nil
}

func readPair(certFile, keyFile string) (*tls.Certificate, error) {
	info, err := os.Stat(keyFile)
	if err != nil {
		return nil, fmt.Errorf("%w; name a PEM file that bearerd's user can read", err)
	}
	if err := checkKeyMode(keyFile, info, "have the certificate issued for another key"); err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("%s with the key of %s: %w; cert_file holds the certificate and then its issuers, and key_file the certificate's key, in PEM", certFile, keyFile, err)
	}
	return &pair, nil
}

// GetCertificate fits tls.Config.
func (p *Pair) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return p.files.get().value, nil
}

// Expires says when the certificate ends.
func (p *Pair) Expires() time.Time { return p.files.get().value.Leaf.NotAfter }

// Err says why the files cannot be used as they are now; nil if they can.
func (p *Pair) Err() error { return p.files.get().err }

// Clients is a file of authorities whose client certificates are taken. What is
// in the file later holds as a Pair's does. OpenClients makes one; it is safe for
// concurrent use.
type Clients struct{ file *watched[*x509.CertPool] }

// OpenClients reads the certificates of a file in PEM. A nil logger logs nothing.
func OpenClients(path string, log *zap.Logger) (*Clients, error) {
	file, err := watch(orNop(log), func() (*x509.CertPool, error) { return readPool(path) }, path)
	if err != nil {
		return nil, err
	}
	return &Clients{file}, nil
}

// Pool gives the authorities of now. It must not be changed.
func (c *Clients) Pool() *x509.CertPool { return c.file.get().value }

func readPool(path string) (*x509.CertPool, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w; name a PEM file that bearerd's user can read", err)
	}
	pool := x509.NewCertPool()
	count := 0
	for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemCertificate {
			return nil, fmt.Errorf("%s holds a %q; put only certificates in it", path, block.Type)
		}
		count++
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of %s: %w; write the file anew", count, path, err)
		}
		pool.AddCert(cert)
	}
	if count == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM; put the authority of the callers' certificates in it", path)
	}
	return pool, nil
}

func orNop(log *zap.Logger) *zap.Logger {
	if log == nil {
		return zap.NewNop()
	}
	return log
}
