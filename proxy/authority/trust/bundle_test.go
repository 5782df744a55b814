package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// public makes a root as a system has it.
func public(tb testing.TB, name string) *x509.Certificate {
	tb.Helper()
	return made(tb, "Public", name, true)
}

// ours makes a root of bearerd's.
func ours(tb testing.TB) Roots {
	tb.Helper()
	return Roots{[]*x509.Certificate{made(tb, organization, "bearerd root", true)}}
}

func made(tb testing.TB, org, name string, ca bool) *x509.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{Organization: []string{org}, CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return cert
}

func writeFile(tb testing.TB, path string, data []byte) {
	tb.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
}

func namesOf(certs []*x509.Certificate) []string {
	var names []string
	for _, cert := range certs {
		names = append(names, cert.Subject.CommonName)
	}
	return names
}

func TestBundleHoldsTheSystemsRootsAndOurs(t *testing.T) {
	dir := t.TempDir()
	one, two := public(t, "one"), public(t, "two")
	stale, root := ours(t), ours(t)
	// An earlier bundle in the system's place: what it has of ours must go, or
	// a key stolen before a renewal would be trusted on.
	file := filepath.Join(dir, "earlier.pem")
	content := slices.Concat([]byte("# a comment\n"), encode(one, two, one), stale.PEM(),
		pem.EncodeToMemory(&pem.Block{Type: "TRUSTED CERTIFICATE", Bytes: one.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: []byte("not a certificate")}))
	writeFile(t, file, content)
	t.Setenv("SSL_CERT_FILE", file)

	bundle, err := root.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	got := parseRoots(bundle)
	if want := []*x509.Certificate{one, two, root.certs[0]}; !slices.EqualFunc(got, want, (*x509.Certificate).Equal) {
		t.Errorf("the bundle holds %q; want %q", namesOf(got), namesOf(want))
	}
	writeFile(t, file, bundle)
	again, err := root.Bundle()
	if err != nil || string(again) != string(bundle) {
		t.Errorf("a bundle over a bundle differs from it (%v)", err)
	}
}

func TestBundleNeedsTheSystemsRoots(t *testing.T) {
	root := ours(t)
	t.Setenv("SSL_CERT_FILE", filepath.Join(t.TempDir(), "missing.pem"))
	t.Setenv("SSL_CERT_DIR", filepath.Join(t.TempDir(), "missing"))
	if _, err := root.Bundle(); err == nil || !strings.Contains(err.Error(), "SSL_CERT_FILE") || !strings.Contains(err.Error(), "missing.pem") {
		t.Errorf("Bundle gives %v; want where it looked and what to set", err)
	}
}

func TestSystemRootsAreFound(t *testing.T) {
	one, two, three := public(t, "one"), public(t, "two"), public(t, "three")
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	writeFile(t, path("empty.pem"), nil)
	writeFile(t, path("one.pem"), encode(one))
	writeFile(t, path("two.pem"), encode(two))
	hashed := path("hashed")
	if err := os.Mkdir(hashed, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(hashed, "three.pem"), encode(three))
	writeFile(t, filepath.Join(hashed, "three.0"), encode(three))
	writeFile(t, filepath.Join(hashed, "README"), []byte("not a certificate"))
	tests := []struct {
		name   string
		places rootPlaces
		want   string
	}{
		{"the first file that is there", rootPlaces{files: []string{path("missing"), path("one.pem"), path("two.pem")}, dirs: []string{hashed}}, "one"},
		{"not an empty one", rootPlaces{files: []string{path("empty.pem"), path("two.pem")}}, "two"},
		{"a folder if there is no file", rootPlaces{files: []string{path("missing")}, dirs: []string{path("none"), hashed}}, "three"},
	}
	for _, test := range tests {
		got, err := test.places.read()
		if err != nil || strings.Join(namesOf(got), " ") != test.want {
			t.Errorf("%s: %q, %v; want %s", test.name, namesOf(got), err, test.want)
		}
	}
}

func TestPlacesFollowTheEnvironment(t *testing.T) {
	env := map[string]string{}
	getenv := func(name string) string { return env[name] }
	if p := places(getenv); !slices.Contains(p.files, "/etc/ssl/certs/ca-certificates.crt") || !slices.Contains(p.dirs, "/etc/ssl/certs") {
		t.Errorf("without variables: %+v", p)
	}
	env["SSL_CERT_FILE"], env["SSL_CERT_DIR"] = "/a.pem", strings.Join([]string{"/b", "/c"}, string(os.PathListSeparator))
	if p := places(getenv); !slices.Equal(p.files, []string{"/a.pem"}) || !slices.Equal(p.dirs, []string{"/b", "/c"}) {
		t.Errorf("with both variables: %+v", p)
	}
}
