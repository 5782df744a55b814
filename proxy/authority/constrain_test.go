package authority

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPermits(t *testing.T) {
	tests := []struct {
		names string
		want  string
	}{
		{"vault.azure.net", "vault.azure.net"},
		{"vault.azure.net vault.azure.net", "vault.azure.net"},
		{"payroll.vault.azure.net vault.azure.net", "vault.azure.net"},
		{"b.example a.example", "a.example b.example"},
		{"evilvault.azure.net vault.azure.net", "evilvault.azure.net vault.azure.net"},
		{"a.b.c.example c.example b.c.example", "c.example"},
		{"localhost", "localhost"},
	}
	for _, test := range tests {
		got, err := permits(strings.Fields(test.names))
		if err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("permits(%s) = %v, %v; want %s", test.names, got, err, test.want)
		}
	}
}

// TestPermitsHoldEveryNameAndNoMore checks the property over random names from a
// small alphabet, which nest often.
func TestPermitsHoldEveryNameAndNoMore(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var names []string
		for range 1 + r.IntN(8) {
			names = append(names, randomName(r))
		}
		got, err := permits(names)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if !slices.ContainsFunc(got, func(p string) bool { return isWithin(name, p) }) {
				t.Fatalf("permits(%v) = %v, which leaves out %s", names, got, name)
			}
		}
		for n, p := range got {
			if !slices.Contains(names, p) {
				t.Fatalf("permits(%v) = %v, though nobody asked for %s", names, got, p)
			}
			others := slices.Delete(slices.Clone(got), n, n+1)
			if slices.ContainsFunc(others, func(o string) bool { return isWithin(p, o) }) {
				t.Fatalf("permits(%v) = %v, where %s is held by another", names, got, p)
			}
		}
	}
}

func randomName(r *rand.Rand) string {
	labels := make([]string, 1+r.IntN(4))
	for n := range labels {
		labels[n] = string(rune('a' + r.IntN(3)))
	}
	return strings.Join(labels, ".")
}

func TestCheckHost(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, host := range []string{
		"a", "payroll.vault.azure.net", "xn--bcher-kva.example", "a-b.c", "1.example", "a.4you", long + ".example",
		strings.Repeat(long+".", 3) + strings.Repeat("a", 61),
	} {
		if err := checkHost(host); err != nil {
			t.Errorf("%q is refused: %v", host, err)
		}
	}
	for _, host := range []string{
		"", ".", ".a", "a.", "a..b", "A.example", "a b", "*.example", "a/b", "bücher.example", "a:443", "[::1]", "::1", "127.0.0.1",
		"1.2.3", "2130706433", "0x7f000001", "a.0x1", "-a.example", "a-.example", "a_b.example", "a@b", "a\x00b", long + "a.example",
		strings.Repeat(long+".", 3) + strings.Repeat("a", 62),
	} {
		if checkHost(host) == nil {
			t.Errorf("%q passes for a host name", host)
		}
	}
}

func TestIsWithin(t *testing.T) {
	tests := []struct {
		name, domain string
		want         bool
	}{
		{"vault.azure.net", "vault.azure.net", true},
		{"payroll.vault.azure.net", "vault.azure.net", true},
		{"evilvault.azure.net", "vault.azure.net", false},
		{"vault.azure.net.evil.example", "vault.azure.net", false},
		{"azure.net", "vault.azure.net", false},
		{"corp.example", ".corp.example", false},
		{"a.corp.example", ".corp.example", true},
		{"acorp.example", ".corp.example", false},
	}
	for _, test := range tests {
		if got := isWithin(test.name, test.domain); got != test.want {
			t.Errorf("isWithin(%q, %q) = %v", test.name, test.domain, got)
		}
	}
}

// stolen signs whatever a thief of the intermediate's key likes.
func stolen(tb testing.TB, k *keyPair, edit func(leaf *x509.Certificate)) [][]byte {
	tb.Helper()
	template := &x509.Certificate{
		Subject:     pkix.Name{Organization: []string{"a thief"}},
		NotBefore:   time.Now().Add(-time.Hour),
		NotAfter:    time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	edit(template)
	leaf, err := sign(template, k.intermediate(), newKey(tb).Public(), k.key)
	if err != nil {
		tb.Fatal(err)
	}
	return [][]byte{leaf.Raw, k.intermediate().Raw}
}

func TestStolenKeySignsNothingElse(t *testing.T) {
	keys, err := newKeyPair([]string{"vault.azure.net", "api.contoso.internal"})
	if err != nil {
		t.Fatal(err)
	}
	root := &Root{keys: keys}
	names := func(names ...string) func(*x509.Certificate) {
		return func(leaf *x509.Certificate) { leaf.DNSNames = names }
	}
	for _, host := range []string{"payroll.vault.azure.net", "vault.azure.net", "api.contoso.internal"} {
		if err := verify(root, stolen(t, keys, names(host)), host); err != nil {
			t.Fatalf("the control, %s, is refused: %v", host, err)
		}
	}

	uri, err := url.Parse("spiffe://contoso/payroll")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		host string // verified for
		edit func(*x509.Certificate)
	}{
		{"another name", "login.microsoftonline.com", names("login.microsoftonline.com")},
		{"a name that looks like a routed one", "evilvault.azure.net", names("evilvault.azure.net")},
		{"a parent", "azure.net", names("azure.net")},
		{"a wildcard above", "login.azure.net", names("*.azure.net")},
		{"a foreign name beside a routed one", "payroll.vault.azure.net", names("payroll.vault.azure.net", "login.microsoftonline.com")},
		{"an IPv4 address", "192.0.2.1", func(l *x509.Certificate) { l.IPAddresses = []net.IP{net.ParseIP("192.0.2.1")} }},
		{"an IPv6 address", "2001:db8::1", func(l *x509.Certificate) { l.IPAddresses = []net.IP{net.ParseIP("2001:db8::1")} }},
		{"a mailbox", "", func(l *x509.Certificate) { l.EmailAddresses = []string{"ceo@contoso.example"} }},
		{"a SPIFFE identity", "", func(l *x509.Certificate) { l.URIs = []*url.URL{uri} }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := verify(root, stolen(t, keys, test.edit), test.host); err == nil {
				t.Error("a client takes it")
			}
		})
	}

	t.Run("another purpose", func(t *testing.T) {
		chain := stolen(t, keys, func(l *x509.Certificate) {
			l.DNSNames = []string{"payroll.vault.azure.net"}
			l.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageCodeSigning}
		})
		leaf, err := x509.ParseCertificate(chain[0])
		if err != nil {
			t.Fatal(err)
		}
		options := x509.VerifyOptions{Roots: pool(keys.root()), Intermediates: pool(keys.intermediate())}
		for _, usage := range leaf.ExtKeyUsage {
			options.KeyUsages = []x509.ExtKeyUsage{usage}
			if _, err := leaf.Verify(options); err == nil {
				t.Errorf("usage %v: it is taken", usage)
			}
		}
	})

	t.Run("an authority of the thief's own", func(t *testing.T) {
		key := newKey(t)
		below, err := sign(&x509.Certificate{
			Subject:   pkix.Name{CommonName: "below"},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		}, keys.intermediate(), key.Public(), keys.key)
		if err != nil {
			t.Fatal(err)
		}
		chain := stolen(t, &keyPair{chain: []*x509.Certificate{below}, key: key}, names("payroll.vault.azure.net"))
		if err := verify(root, append(chain, keys.intermediate().Raw), "payroll.vault.azure.net"); err == nil {
			t.Error("a client takes what it signs")
		}
	})
}

func pool(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, cert := range certs {
		p.AddCert(cert)
	}
	return p
}

// TestConstraintsMeanWhatCoversSays holds our own answer to crypto/x509's.
func TestConstraintsMeanWhatCoversSays(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 40 {
		permit, err := permits([]string{randomName(r), randomName(r)})
		if err != nil {
			t.Fatal(err)
		}
		keys, err := newKeyPair(permit)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			host := randomName(r)
			chain := stolen(t, keys, func(l *x509.Certificate) { l.DNSNames = []string{host} })
			err := verify(&Root{keys: keys}, chain, host)
			if keys.covers(host) != (err == nil) {
				t.Fatalf("permitted %v, host %s: covers says %v, and a client %v", permit, host, keys.covers(host), err)
			}
		}
	}
}

func TestOwnAuthorityIsLimited(t *testing.T) {
	keys, err := newKeyPair([]string{"vault.azure.net"})
	if err != nil {
		t.Fatal(err)
	}
	if err := checkConstrained(keys.intermediate()); err != nil {
		t.Error(err)
	}
	for role, cert := range map[string]*x509.Certificate{"root": keys.root(), "intermediate": keys.intermediate()} {
		if fmt.Sprint(cert.PermittedDNSDomains) != "[vault.azure.net]" || !cert.PermittedDNSDomainsCritical {
			t.Errorf("the %s permits %v, critical: %v", role, cert.PermittedDNSDomains, cert.PermittedDNSDomainsCritical)
		}
		if cert.PublicKeyAlgorithm != x509.ECDSA || cert.SignatureAlgorithm != x509.ECDSAWithSHA256 {
			t.Errorf("the %s has a key of %v, signed with %v", role, cert.PublicKeyAlgorithm, cert.SignatureAlgorithm)
		}
		if len(cert.SubjectKeyId) == 0 {
			t.Errorf("the %s has no subject key identifier, which RFC 5280 wants and strict clients check", role)
		}
	}
	if keys.root().MaxPathLen != 1 {
		t.Errorf("the root's path length is %d; want 1", keys.root().MaxPathLen)
	}
}
