package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		os.Exit(helper(os.Getenv(helperJob), dir))
	}
	goleak.VerifyTestMain(m)
}

func everything(string) bool { return true }

// open opens an authority for a test and closes it at the test's end.
func open(tb testing.TB, o Options) *Authority {
	tb.Helper()
	if o.Dir == "" && o.CertFile == "" {
		o.Dir = stateDir(tb)
	}
	if o.Routed == nil {
		o.Routed = everything
	}
	a, err := Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := a.Close(); err != nil {
			tb.Error(err)
		}
	})
	return a
}

// stateDir gives an empty directory with a mode that no umask decides.
func stateDir(tb testing.TB) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	return dir
}

func leafOf(tb testing.TB, a *Authority, host string) *tls.Certificate {
	tb.Helper()
	cert, err := a.Leaf(tb.Context(), host)
	if err != nil {
		tb.Fatal(err)
	}
	return cert
}

// verify does what a caller that trusts root does with the chain it is shown.
func verify(root *Root, chain [][]byte, host string) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(root.RootPEM())
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return err
	}
	for _, der := range chain[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		between.AddCert(cert)
	}
	_, err = leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between})
	return err
}

// forge makes an authority like ours but for what edit changes.
func forge(tb testing.TB, edit func(root, intermediate *x509.Certificate)) *keyPair {
	tb.Helper()
	like, err := newKeyPair([]string{"example.net"})
	if err != nil {
		tb.Fatal(err)
	}
	rootKey, key := newKey(tb), newKey(tb)
	rootTemplate, template := like.root(), like.intermediate()
	for _, t := range []*x509.Certificate{rootTemplate, template} {
		t.PublicKey, t.SerialNumber, t.SubjectKeyId, t.AuthorityKeyId = nil, nil, nil, nil
	}
	edit(rootTemplate, template)
	root, err := sign(rootTemplate, rootTemplate, rootKey.Public(), rootKey)
	if err != nil {
		tb.Fatal(err)
	}
	intermediate, err := sign(template, root, key.Public(), rootKey)
	if err != nil {
		tb.Fatal(err)
	}
	return &keyPair{chain: []*x509.Certificate{intermediate, root}, key: key}
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// keep writes k where an authority of ours would be, and gives the directory.
func keep(tb testing.TB, k *keyPair) string {
	tb.Helper()
	data, err := k.marshal()
	if err != nil {
		tb.Fatal(err)
	}
	dir := stateDir(tb)
	writeFile(tb, filepath.Join(dir, fileName), data)
	return dir
}

func writeFile(tb testing.TB, path string, data []byte) {
	tb.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
}

func readFile(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}
