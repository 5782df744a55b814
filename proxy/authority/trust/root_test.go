package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

func TestPKCS12HoldsTheRootAlone(t *testing.T) {
	root := ours(t)
	for _, password := range []string{"changeit", ""} {
		store, err := root.PKCS12(password)
		if err != nil {
			t.Fatal(err)
		}
		certs, err := pkcs12.DecodeTrustStore(store, password)
		if err != nil || !slices.EqualFunc(certs, []*x509.Certificate{root.certs[0]}, (*x509.Certificate).Equal) {
			t.Errorf("with the password %q it holds %q, %v", password, namesOf(certs), err)
		}
		// One without a password has nothing to check another one against, which
		// Go's reader refuses as well.
		if _, err := pkcs12.DecodeTrustStore(store, "another"); err == nil {
			t.Errorf("with the password %q, another one opens it", password)
		}
	}
}

// Java before 8u301 knows PBES1 alone: a store in newer algorithms reads as
// "Integrity check failed" there.
func TestJavaStoreIsOneThatOldJavaReads(t *testing.T) {
	root, one := ours(t), public(t, "one")
	store, err := root.javaStore([]*x509.Certificate{one, ours(t).certs[0]})
	if err != nil {
		t.Fatal(err)
	}
	certs, err := pkcs12.DecodeTrustStore(store, Password)
	if want := []*x509.Certificate{root.certs[0], one}; err != nil || !slices.EqualFunc(certs, want, (*x509.Certificate).Equal) {
		t.Errorf("it holds %q, %v", namesOf(certs), err)
	}
	for oid, want := range map[string]bool{
		"1.2.840.113549.1.12.1.3": true,  // pbeWithSHAAnd3-KeyTripleDES-CBC
		"1.3.14.3.2.26":           true,  // SHA-1, of the MAC
		"1.2.840.113549.1.5.13":   false, // PBES2
		"2.16.840.1.101.3.4.2.1":  false, // SHA-256
	} {
		der, err := asn1.Marshal(parseOID(t, oid))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(store, der) != want {
			t.Errorf("%s is in it: %t, want %t", oid, !want, want)
		}
	}
}

func parseOID(t *testing.T, text string) (oid asn1.ObjectIdentifier) {
	t.Helper()
	parsed, err := x509.ParseOID(text)
	if err != nil {
		t.Fatal(err)
	}
	der, err := parsed.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	der = append([]byte{asn1.TagOID, byte(len(der))}, der...)
	if _, err := asn1.Unmarshal(der, &oid); err != nil {
		t.Fatal(err)
	}
	return oid
}

// The bytes of a store with a certificate of three bytes and the date 0, as
// JavaKeyStore's engineStore writes them. That Java reads such a store is tested
// with Java itself.
func TestJKSHasTheFormatsLayout(t *testing.T) {
	root := Roots{[]*x509.Certificate{{Raw: []byte{1, 2, 3}}, {Raw: []byte{4}}}}
	got := root.jks(Password, time.UnixMilli(0))
	want := "\xfe\xed\xfe\xed\x00\x00\x00\x02\x00\x00\x00\x02" + // magic, version, entries
		"\x00\x00\x00\x02\x00\x07bearerd" + "\x00\x00\x00\x00\x00\x00\x00\x00" + // a certificate's tag, alias, date
		"\x00\x05X.509\x00\x00\x00\x03\x01\x02\x03" +
		"\x00\x00\x00\x02\x00\x09bearerd-2" + "\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x00\x05X.509\x00\x00\x00\x01\x04"
	if len(got) != len(want)+20 || string(got[:len(want)]) != want {
		t.Errorf("got %q, want %q and a digest", got, want)
	}
	if other := root.jks("another", time.UnixMilli(0)); bytes.Equal(got[len(want):], other[len(want):]) {
		t.Error("another password gives the same digest")
	}
	if _, err := root.JKS(""); err == nil || !strings.Contains(err.Error(), "changeit") {
		t.Errorf("an empty password gives %v", err)
	}
}

func TestParseTakesAuthoritiesAlone(t *testing.T) {
	root, second := ours(t), ours(t)
	text := append([]byte("# a comment\n"), root.PEM()...)
	got, err := Parse(append(text, second.PEM()...))
	if err != nil || !slices.EqualFunc(got.certs, []*x509.Certificate{root.certs[0], second.certs[0]}, (*x509.Certificate).Equal) {
		t.Errorf("got %q, %v", namesOf(got.certs), err)
	}
	for text, part := range map[string]string{
		"": "no certificate is in it",
		string(root.PEM()) + string(encode(made(t, "Public", "leaf", false))): "is no authority's certificate",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want %s", err, part)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none.pem")); err == nil || !strings.Contains(err.Error(), "bearerd ca export --out FILE") {
		t.Errorf("a missing file gives %v", err)
	}
}
