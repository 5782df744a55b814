package authority

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"strings"
	"testing"
)

// The RSA authority is RSA throughout, beside the other one and as limited.
func TestRSAAuthorityStandsBesideTheOther(t *testing.T) {
	o := Options{Dir: t.TempDir(), Permit: []string{"vault.azure.net"}, Wildcards: []string{"vault.azure.net"}, Routed: func(string) bool { return true }}
	first, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	o.RSA = true
	a, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	leaf, err := a.Leaf(t.Context(), "payroll.vault.azure.net")
	if err != nil {
		t.Fatal(err)
	}
	other, err := a.Leaf(t.Context(), "a.b.vault.azure.net")
	if err != nil {
		t.Fatal(err)
	}
	if !leaf.PrivateKey.(*rsa.PrivateKey).Equal(other.PrivateKey) {
		t.Error("the leaves have keys of their own")
	}
	if leaf.Leaf.KeyUsage&x509.KeyUsageKeyEncipherment == 0 {
		t.Error("the leaf does not allow key exchange by RSA")
	}
	for _, cert := range append([]*x509.Certificate{leaf.Leaf}, a.keys.chain...) {
		if cert.PublicKeyAlgorithm != x509.RSA || cert.SignatureAlgorithm != x509.SHA256WithRSA {
			t.Errorf("%s has a key of %s, signed with %s", cert.Subject, cert.PublicKeyAlgorithm, cert.SignatureAlgorithm)
		}
	}
	if err := checkConstrained(a.keys.intermediate()); err != nil {
		t.Error(err)
	}
	if both := first.With(a.Root).RootPEM(); !bytes.Equal(both, append(first.RootPEM(), a.RootPEM()...)) || bytes.Equal(first.RootPEM(), a.RootPEM()) {
		t.Error("the two roots are not exported together")
	}
	again, err := Load(o)
	if err != nil || again.Fingerprint() != a.Fingerprint() {
		t.Errorf("read back: %v", err)
	}
}

func TestProvidedIntermediateMustBeRSAWhereThatIsAsked(t *testing.T) {
	o := provide(t, forge(t, nothing))
	o.RSA = true
	if _, err := Load(o); err == nil || !strings.Contains(err.Error(), "need a chain of RSA keys") {
		t.Errorf("the error is %v", err)
	}
}
