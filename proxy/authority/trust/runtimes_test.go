package trust

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"
)

// trusted gives what the file has that a variable names.
func trusted(t *testing.T, r Runtimes, variable string) []string {
	t.Helper()
	for _, v := range r.Variables {
		if name, file, _ := strings.Cut(v, "="); name == variable {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			return namesOf(parseRoots(text))
		}
	}
	t.Fatalf("%s is not set", variable)
	return nil
}

// What a runtime trusted before it trusts on, and nothing more but our root.
func TestRuntimesKeepWhatVariablesName(t *testing.T) {
	dir := t.TempDir()
	file, folder, mine := filepath.Join(dir, "system.pem"), filepath.Join(dir, "folder"), filepath.Join(dir, "mine.pem")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, encode(public(t, "system"), ours(t).certs[0]))
	writeFile(t, mine, encode(public(t, "mine")))
	writeFile(t, filepath.Join(folder, "a.pem"), encode(public(t, "in folder")))
	env := map[string]string{"SSL_CERT_FILE": file, "REQUESTS_CA_BUNDLE": folder, "NODE_EXTRA_CA_CERTS": mine}
	root, out := ours(t), t.TempDir()
	got, err := root.Runtimes(out, func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	for variable, want := range map[string][]string{
		"SSL_CERT_FILE":       {"system", "bearerd root"},
		"CURL_CA_BUNDLE":      {"system", "bearerd root"},
		"REQUESTS_CA_BUNDLE":  {"in folder", "bearerd root"},
		"NODE_EXTRA_CA_CERTS": {"mine", "bearerd root"},
		"DENO_CERT":           {"bearerd root"},
	} {
		if have := trusted(t, got, variable); !slices.Equal(have, want) {
			t.Errorf("%s has %q, want %q", variable, have, want)
		}
	}
	store, err := os.ReadFile(got.JavaStore)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := pkcs12.DecodeTrustStore(store, Password)
	if err != nil || !slices.Equal(namesOf(certs), []string{"bearerd root", "system"}) || !slices.ContainsFunc(certs, func(c *x509.Certificate) bool { return c.Equal(root.certs[0]) }) {
		t.Errorf("Java's store has %q, %v", namesOf(certs), err)
	}
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err != nil || info.Mode().Perm()&0o044 == 0 {
			t.Errorf("%s cannot be read by other users: %v %v", entry.Name(), info.Mode(), err)
		}
	}
}

func TestRuntimesRefuseAVariableThatNamesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "system.pem")
	writeFile(t, file, encode(public(t, "system")))
	env := map[string]string{"SSL_CERT_FILE": file, "CURL_CA_BUNDLE": "/no/such.pem"}
	_, err := ours(t).Runtimes(t.TempDir(), func(name string) string { return env[name] })
	if err == nil || !strings.HasPrefix(err.Error(), "CURL_CA_BUNDLE: ") || !strings.Contains(err.Error(), "/no/such.pem") || !strings.HasSuffix(err.Error(), "correct or unset it") {
		t.Errorf("got %v", err)
	}
}
