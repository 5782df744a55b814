package authority

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"
)

// public makes a root as a system has it.
func public(tb testing.TB, name string) *x509.Certificate {
	tb.Helper()
	return forge(tb, func(root, _ *x509.Certificate) {
		root.Subject.Organization, root.Subject.CommonName, root.RawSubject = []string{"Public"}, name, nil
		root.PermittedDNSDomains, root.PermittedDNSDomainsCritical, root.ExcludedIPRanges = nil, false, nil
		root.PermittedEmailAddresses, root.PermittedURIDomains = nil, nil
	}).root()
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
	stale, err := Init(t.Context(), Options{Dir: stateDir(t), Permit: []string{"example.net"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	root, err := Init(t.Context(), Options{Dir: stateDir(t), Permit: []string{"example.net"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	// An earlier bundle in the system's place: what it has of ours must go, or
	// a key stolen before a renewal would be trusted on.
	file := filepath.Join(dir, "earlier.pem")
	content := slices.Concat([]byte("# a comment\n"), encodeCertificates(one, two, one), stale.RootPEM(),
		pem.EncodeToMemory(&pem.Block{Type: "TRUSTED CERTIFICATE", Bytes: one.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: []byte("not a certificate")}))
	writeFile(t, file, content)
	t.Setenv("SSL_CERT_FILE", file)

	bundle, err := root.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	got := parseRoots(bundle)
	if want := []*x509.Certificate{one, two, root.keys.root()}; !slices.EqualFunc(got, want, (*x509.Certificate).Equal) {
		t.Errorf("the bundle holds %q; want %q", namesOf(got), namesOf(want))
	}
	writeFile(t, file, bundle)
	again, err := root.Bundle()
	if err != nil || string(again) != string(bundle) {
		t.Errorf("a bundle over a bundle differs from it (%v)", err)
	}
}

func TestBundleNeedsTheSystemsRoots(t *testing.T) {
	root, err := Init(t.Context(), Options{Dir: stateDir(t), Permit: []string{"example.net"}}, false)
	if err != nil {
		t.Fatal(err)
	}
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
	writeFile(t, path("one.pem"), encodeCertificates(one))
	writeFile(t, path("two.pem"), encodeCertificates(two))
	hashed := path("hashed")
	if err := os.Mkdir(hashed, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(hashed, "three.pem"), encodeCertificates(three))
	writeFile(t, filepath.Join(hashed, "three.0"), encodeCertificates(three))
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

func TestRootPKCS12HoldsTheRootAlone(t *testing.T) {
	root, err := Init(t.Context(), Options{Dir: stateDir(t), Permit: []string{"example.net"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{"changeit", ""} {
		store, err := root.RootPKCS12(password)
		if err != nil {
			t.Fatal(err)
		}
		certs, err := pkcs12.DecodeTrustStore(store, password)
		if err != nil || !slices.EqualFunc(certs, []*x509.Certificate{root.keys.root()}, (*x509.Certificate).Equal) {
			t.Errorf("with the password %q it holds %q, %v", password, namesOf(certs), err)
		}
		// One without a password has nothing to check another one against, which
		// Go's reader refuses as well.
		if _, err := pkcs12.DecodeTrustStore(store, "another"); err == nil {
			t.Errorf("with the password %q, another one opens it", password)
		}
	}
}

func TestRootDescribesItself(t *testing.T) {
	root, err := Init(t.Context(), Options{Dir: stateDir(t), Permit: []string{"b.example", "a.example"}, Wildcards: []string{"c.example"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := root.Permitted(); !slices.Equal(got, []string{"a.example", "b.example", "c.example"}) {
		t.Errorf("Permitted gives %q", got)
	}
	root.Permitted()[0] = "changed"
	if err := root.Covers("a.example", "x.c.example"); err != nil {
		t.Error(err)
	}
	err = root.Covers("x.example", "a.example", "y.example", "x.example")
	if err == nil || !strings.Contains(err.Error(), "x.example, y.example (it is limited to a.example, b.example, c.example)") {
		t.Errorf("Covers gives %v; want both names, once, and the limits", err)
	}
	if got := root.Fingerprint(); len(got) != 95 || strings.Trim(got, "0123456789ABCDEF:") != "" {
		t.Errorf("Fingerprint gives %q", got)
	}
	if !root.Expires().Equal(root.keys.intermediate().NotAfter) {
		t.Errorf("Expires gives %v", root.Expires())
	}
	if got := parseRoots(root.RootPEM()); len(got) != 1 || !got[0].Equal(root.keys.root()) {
		t.Errorf("RootPEM holds %q", namesOf(got))
	}
}
