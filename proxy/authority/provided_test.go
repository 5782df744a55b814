package authority

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// provide writes what an operator would: the chain up to the root, and the key.
func provide(tb testing.TB, k *keyPair) Options {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k.key)
	if err != nil {
		tb.Fatal(err)
	}
	return provideFiles(tb, encodeCertificates(k.chain...), pem.EncodeToMemory(&pem.Block{Type: pemPrivateKey, Bytes: der}))
}

func provideFiles(tb testing.TB, cert, key []byte) Options {
	tb.Helper()
	dir := tb.TempDir()
	o := Options{
		CertFile: filepath.Join(dir, "issuing.pem"),
		KeyFile:  filepath.Join(dir, "issuing.key"),
		Permit:   []string{"example.net"},
		Routed:   everything,
	}
	writeFile(tb, o.CertFile, cert)
	writeFile(tb, o.KeyFile, key)
	return o
}

func TestProvidedIntermediateSigns(t *testing.T) {
	keys := forge(t, func(root, _ *x509.Certificate) {
		// As an enterprise's own: not ours, and not limited.
		root.Subject.Organization, root.RawSubject = []string{"Contoso"}, nil
		root.PermittedDNSDomains, root.PermittedDNSDomainsCritical, root.ExcludedIPRanges = nil, false, nil
		root.PermittedEmailAddresses, root.PermittedURIDomains = nil, nil
	})
	o := provide(t, keys)
	o.Wildcards = []string{"example.net"}
	a := open(t, o)
	for _, host := range []string{"api.example.net", "a.b.example.net"} {
		cert := leafOf(t, a, host)
		if err := verify(a.Root, cert.Certificate, host); err != nil {
			t.Error(err)
		}
	}
	if string(a.RootPEM()) != string(encodeCertificates(keys.root())) {
		t.Error("RootPEM is not the enterprise's root")
	}
	if a.Path() != o.CertFile {
		t.Errorf("Path is %q; want cert_file", a.Path())
	}
}

func TestProvidedChainIsShownWithoutItsRoot(t *testing.T) {
	// root > policy > issuing, as enterprises have it.
	upper := forge(t, func(root, policy *x509.Certificate) {
		root.MaxPathLen = 2
		policy.MaxPathLen, policy.MaxPathLenZero = 1, false
	})
	like := forge(t, nothing)
	template, key := like.intermediate(), newKey(t)
	template.PublicKey, template.SerialNumber, template.SubjectKeyId, template.AuthorityKeyId = nil, nil, nil, nil
	template.Subject.CommonName, template.RawSubject = "issuing", nil
	issuing, err := sign(template, upper.intermediate(), key.Public(), upper.key)
	if err != nil {
		t.Fatal(err)
	}
	a := open(t, provide(t, &keyPair{chain: append([]*x509.Certificate{issuing}, upper.chain...), key: key}))
	cert := leafOf(t, a, "api.example.net")
	if want := [][]byte{issuing.Raw, upper.intermediate().Raw}; len(cert.Certificate) != 3 || !slices.EqualFunc(cert.Certificate[1:], want, slices.Equal) {
		t.Errorf("a caller is shown %d certificates; want leaf, issuing and policy", len(cert.Certificate))
	}
	if err := verify(a.Root, cert.Certificate, "api.example.net"); err != nil {
		t.Error(err)
	}
}

func TestProvidedIntermediateIsRefusedUnlessConstrained(t *testing.T) {
	serverAuth := x509.ExtKeyUsageServerAuth
	tests := []struct {
		name string
		edit func(root, intermediate *x509.Certificate)
		want string
	}{
		{"no name constraints", func(_, i *x509.Certificate) {
			i.PermittedDNSDomains, i.PermittedDNSDomainsCritical, i.ExcludedIPRanges = nil, false, nil
			i.PermittedEmailAddresses, i.PermittedURIDomains = nil, nil
		}, "no critical name constraints"},
		{"not critical", func(_, i *x509.Certificate) { i.PermittedDNSDomainsCritical = false }, "no critical name constraints"},
		{"only exclusions", func(_, i *x509.Certificate) {
			i.PermittedDNSDomains, i.ExcludedDNSDomains = nil, []string{"evil.example"}
		}, "permits every DNS name"},
		{"the root domain", func(_, i *x509.Certificate) { i.PermittedDNSDomains = []string{"example.net", ""} }, "permits every DNS name"},
		{"IPv4 addresses", func(_, i *x509.Certificate) { i.ExcludedIPRanges = i.ExcludedIPRanges[1:] }, "IP addresses"},
		{"IPv6 addresses", func(_, i *x509.Certificate) { i.ExcludedIPRanges = i.ExcludedIPRanges[:1] }, "IP addresses"},
		{"no path length", func(_, i *x509.Certificate) { i.MaxPathLen, i.MaxPathLenZero = -1, false }, "path length"},
		{"path length 1", func(r, i *x509.Certificate) { r.MaxPathLen, i.MaxPathLen, i.MaxPathLenZero = 2, 1, false }, "path length"},
		{"any purpose", func(_, i *x509.Certificate) { i.ExtKeyUsage = nil }, "serverAuth alone"},
		{"any purpose, named", func(_, i *x509.Certificate) {
			i.ExtKeyUsage = []x509.ExtKeyUsage{serverAuth, x509.ExtKeyUsageAny}
		}, "serverAuth alone"},
		{"clients too", func(_, i *x509.Certificate) {
			i.ExtKeyUsage = []x509.ExtKeyUsage{serverAuth, x509.ExtKeyUsageClientAuth}
		}, "serverAuth alone"},
		{"no authority", func(_, i *x509.Certificate) {
			i.IsCA, i.MaxPathLen, i.MaxPathLenZero, i.KeyUsage = false, 0, false, x509.KeyUsageDigitalSignature
			i.PermittedDNSDomains, i.PermittedDNSDomainsCritical, i.ExcludedIPRanges = nil, false, nil
			i.PermittedEmailAddresses, i.PermittedURIDomains = nil, nil
		}, "may not sign certificates"},
		{"other names", func(_, i *x509.Certificate) { i.PermittedDNSDomains = []string{"example.org"} }, "cannot sign for example.net"},
		{"the name excluded", func(_, i *x509.Certificate) { i.ExcludedDNSDomains = []string{"Example.net"} }, "cannot sign for example.net"},
		{"only below the name", func(_, i *x509.Certificate) { i.PermittedDNSDomains = []string{".example.net"} }, "cannot sign for example.net"},
		{"the root's limits", func(r, _ *x509.Certificate) { r.PermittedDNSDomains = []string{"example.org"} }, "cannot sign for example.net"},
		{"expired", func(_, i *x509.Certificate) { i.NotAfter = time.Now().Add(-time.Hour) }, "expired on"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Open(t.Context(), provide(t, forge(t, test.edit)))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Open gives %v; want %q", err, test.want)
			}
			if strings.Contains(err.Error(), "ca init") {
				t.Errorf("%q sends the operator to `bearerd ca init`, which does not make this one", err)
			}
			if !strings.Contains(err.Error(), "issued again") {
				t.Errorf("%q does not say what to do", err)
			}
		})
	}
}

func TestProvidedFilesAreRead(t *testing.T) {
	keys := forge(t, nothing)
	chain := encodeCertificates(keys.chain...)
	key := keys.key.(*ecdsa.PrivateKey)
	sec1, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	good := block("EC PRIVATE KEY", sec1)
	other := forge(t, nothing)
	tests := []struct {
		name      string
		cert, key []byte
		want      string // "" if it is taken
	}{
		{"SEC 1 key", chain, good, ""},
		{"as openssl ecparam writes it", chain, append(block("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}), good...), ""},
		{"no root", encodeCertificates(keys.chain[0]), good, "up to and with the root"},
		{"root first", encodeCertificates(keys.chain[1], keys.chain[0]), good, "does not belong"},
		{"another's root", encodeCertificates(keys.chain[0], other.chain[1]), good, "is not signed by"},
		{"no root at the end", encodeCertificates(keys.chain[0], keys.chain[1], keys.chain[0]), good, "is not signed by"},
		{"a key in cert_file", append(slices.Clone(good), chain...), good, "only certificates"},
		{"not PEM", []byte("nothing"), good, "0 certificates"},
		{"bad DER", append(block(pemCertificate, []byte("nothing")), chain...), good, "certificate 1"},
		{"no key", chain, chain, "no private key"},
		{"encrypted key", chain, block("ENCRYPTED PRIVATE KEY", sec1[:20]), "unencrypted"},
		{"a wrong label", chain, block("RSA PRIVATE KEY", sec1), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := provideFiles(t, test.cert, test.key)
			root, err := Load(o)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want == "" && root.Path() != o.CertFile:
				t.Errorf("Path is %q", root.Path())
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("Load gives %v; want %q", err, test.want)
			}
		})
	}
	for _, missing := range []string{"cert", "key"} {
		o := provide(t, keys)
		path := map[string]string{"cert": o.CertFile, "key": o.KeyFile}[missing]
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		o.Dir = stateDir(t)
		_, err := Open(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), missing+"_file") || !strings.Contains(err.Error(), path) {
			t.Errorf("without %s: %v; want its key and path", path, err)
		}
		if entries, err := os.ReadDir(o.Dir); err != nil || len(entries) > 0 {
			t.Errorf("an authority of our own was made instead: %v, %v", entries, err)
		}
	}
}

func TestProvidedRSAIntermediateSigns(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	like, rootKey := forge(t, nothing), newKey(t)
	for _, template := range like.chain {
		template.PublicKey, template.SerialNumber, template.SubjectKeyId, template.AuthorityKeyId = nil, nil, nil, nil
	}
	root, err := sign(like.root(), like.root(), rootKey.Public(), rootKey)
	if err != nil {
		t.Fatal(err)
	}
	issuing, err := sign(like.intermediate(), root, key.Public(), rootKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	a := open(t, provideFiles(t, encodeCertificates(issuing, root), pkcs1))
	if err := verify(a.Root, leafOf(t, a, "api.example.net").Certificate, "api.example.net"); err != nil {
		t.Error(err)
	}
}
