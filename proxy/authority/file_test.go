package authority

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestSecondStartReadsTheSameAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "var", "lib", "bearerd")
	first := open(t, Options{Dir: dir, Permit: []string{"example.net"}})
	if err := os.Remove(filepath.Join(dir, fileName+".lock")); err != nil {
		t.Fatal(err)
	}
	second := open(t, Options{Dir: dir, Permit: []string{"api.example.net"}})
	if first.Fingerprint() != second.Fingerprint() {
		t.Error("the second start made another root")
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	// No lock either: an authority that exists is read from a read-only disk.
	if len(names) != 1 || names[0].Name() != fileName {
		t.Errorf("%v is in the directory; want %s alone", names, fileName)
	}
}

func TestInitRefusesToReplaceUnlessRenewing(t *testing.T) {
	o := Options{Dir: stateDir(t), Permit: []string{"example.net"}}
	first, err := Init(t.Context(), o, false)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(o.Dir, fileName)
	before := readFile(t, path)
	if first.Path() != path {
		t.Errorf("Path is %q; want %q", first.Path(), path)
	}

	_, err = Init(t.Context(), o, false)
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "bearerd ca init --renew") {
		t.Errorf("a second Init gives %v; want that it exists, and how to renew", err)
	}
	if !bytes.Equal(before, readFile(t, path)) {
		t.Fatal("a refused Init changed the file")
	}

	o.Permit = []string{"example.org"}
	second, err := Init(t.Context(), o, true)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(first.Permitted(), second.Permitted()) {
		t.Error("the renewed authority has the old one's names")
	}
	after := readFile(t, path)
	for block, rest := pem.Decode(before); block != nil; block, rest = pem.Decode(rest) {
		if bytes.Contains(after, pem.EncodeToMemory(block)) {
			t.Errorf("the renewed file still holds the old %s", block.Type)
		}
	}
}

func TestInitRenewsWhatCannotBeRead(t *testing.T) {
	o := Options{Dir: stateDir(t), Permit: []string{"example.net"}}
	path := filepath.Join(o.Dir, fileName)
	if err := os.WriteFile(path, []byte("not an authority"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(t.Context(), o, false); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("Init over a damaged file gives %v; want a refusal", err)
	}
	if _, err := Init(t.Context(), o, true); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(o); err != nil {
		t.Errorf("after renewing: %v", err)
	}
}

func TestFailedWriteLeavesWhatWasThere(t *testing.T) {
	for _, had := range []bool{false, true} {
		dir := stateDir(t)
		f := newFile(dir)
		var before []byte
		if had {
			if _, err := f.replace(t.Context(), []string{"example.net"}, false); err != nil {
				t.Fatal(err)
			}
			before = readFile(t, f.path)
		}
		f.rename = func(string, string) error { return syscall.EROFS }
		_, err := f.replace(t.Context(), []string{"example.net"}, true)
		if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "state_dir") {
			t.Errorf("had=%v: the error is %v; want EROFS and what to do about state_dir", had, err)
		}
		after, err := os.ReadFile(f.path)
		if had && !bytes.Equal(before, after) || !had && !isMissing(err) {
			t.Errorf("had=%v: the failed write left %q, %v", had, after, err)
		}
		if _, err := os.Stat(f.path + ".tmp"); !isMissing(err) {
			t.Errorf("had=%v: the temporary file is left behind: %v", had, err)
		}
	}
}

func TestEveryTruncationIsRefused(t *testing.T) {
	whole := readFile(t, filepath.Join(keep(t, forge(t, nothing)), fileName))
	if _, err := unmarshal(whole); err != nil {
		t.Fatal(err)
	}
	end := len(bytes.TrimSpace(whole))
	for n := range end {
		if _, err := unmarshal(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes pass for an authority", n, end)
		}
	}
}

func nothing(root, intermediate *x509.Certificate) {}

func TestDamagedFileIsRefused(t *testing.T) {
	good := forge(t, nothing)
	other := forge(t, nothing)
	marshal := func(k *keyPair) string {
		data, err := k.marshal()
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	text := marshal(good)
	blocks := strings.SplitAfter(text, "-----END CERTIFICATE-----\n")
	tests := []struct{ name, text, want string }{
		{"empty", "", "in this order"},
		{"html", "<html>", "in this order"},
		{"wrong order", blocks[1] + blocks[0] + blocks[2], "does not belong"},
		{"key first", blocks[2] + blocks[0] + blocks[1], "in this order"},
		{"twice", text + text, "follows the key"},
		{"another's key", marshal(&keyPair{chain: good.chain, key: other.key}), "does not belong"},
		{"another's root", marshal(&keyPair{chain: []*x509.Certificate{good.chain[0], other.chain[1]}, key: good.key}), "is not signed by"},
		{"bad DER", strings.Replace(text, "MII", "AAA", 1), "the root"},
		{"bad key", blocks[0] + blocks[1] + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be read"},
		{"no constraints", marshal(forge(t, func(_, i *x509.Certificate) { i.PermittedDNSDomains, i.PermittedDNSDomainsCritical = nil, false })), "not constrained"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := stateDir(t)
			writeFile(t, filepath.Join(dir, fileName), []byte(test.text))
			_, err := Open(t.Context(), Options{Dir: dir, Permit: []string{"example.net"}, Routed: everything})
			if err == nil {
				t.Fatal("it was opened")
			}
			for _, want := range []string{test.want, "is damaged", filepath.Join(dir, fileName), "bearerd ca init --renew"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error is %q; want %q in it", err, want)
				}
			}
			if got := readFile(t, filepath.Join(dir, fileName)); string(got) != test.text {
				t.Error("opening changed the damaged file")
			}
		})
	}
}

func TestAuthorityOutsideItsDatesIsRefused(t *testing.T) {
	day := 24 * time.Hour
	tests := []struct {
		name string
		edit func(root, intermediate *x509.Certificate)
		want string
	}{
		{"expired", func(_, i *x509.Certificate) { i.NotAfter = time.Now().Add(-time.Minute) }, "expired on"},
		{"expired root", func(r, _ *x509.Certificate) { r.NotAfter = time.Now().Add(-time.Minute) }, "expired on"},
		{"from the future", func(_, i *x509.Certificate) { i.NotBefore = time.Now().Add(day) }, "not valid before"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := Options{Dir: keep(t, forge(t, test.edit)), Permit: []string{"example.net"}, Routed: everything}
			_, openErr := Open(t.Context(), o)
			_, loadErr := Load(o)
			for _, err := range []error{openErr, loadErr} {
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "bearerd ca init --renew") {
					t.Errorf("the error is %v; want %q and how to renew", err, test.want)
				}
			}
		})
	}
}

func TestHostOutsideTheConstraintsIsRefused(t *testing.T) {
	o := Options{Dir: stateDir(t), Permit: []string{"vault.azure.net", "api.contoso.internal"}}
	open(t, o)
	o.Routed = everything
	for _, names := range [][]string{{"api.fabrikam.internal"}, {"evilvault.azure.net"}, {"azure.net"}, {"contoso.internal"}} {
		o.Permit = names
		_, err := Open(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), names[0]) || !strings.Contains(err.Error(), "bearerd ca init --renew") {
			t.Errorf("%s: the error is %v; want the name and how to renew", names[0], err)
		}
		if _, err := Load(o); err != nil {
			t.Errorf("%s: `ca export` must not need the configured hosts: %v", names[0], err)
		}
	}
	o.Permit, o.Wildcards = []string{"vault.azure.net"}, []string{"blob.core.windows.net"}
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "blob.core.windows.net") {
		t.Errorf("a wildcard outside the constraints: %v", err)
	}
}

func TestLoadMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	_, err := Load(Options{Dir: dir})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "bearerd ca init") {
		t.Errorf("Load gives %v; want that there is none, and what makes one", err)
	}
	if _, err := os.Stat(dir); !isMissing(err) {
		t.Error("Load made the directory")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	dir := stateDir(t)
	tests := []struct {
		name string
		o    Options
		want string
	}{
		{"nothing to permit", Options{Dir: dir, Routed: everything}, "nothing to permit"},
		{"an address", Options{Dir: dir, Permit: []string{"10.0.0.1"}, Routed: everything}, "IP address"},
		{"a wildcard", Options{Dir: dir, Permit: []string{"*.example.net"}, Routed: everything}, "*.example.net"},
		{"no directory", Options{Permit: []string{"example.net"}, Routed: everything}, "state_dir"},
		{"no decision", Options{Dir: dir, Permit: []string{"example.net"}}, "Routed"},
		{"half a pair", Options{CertFile: "/x", Permit: []string{"example.net"}, Routed: everything}, "both or none"},
		{"the other half", Options{KeyFile: "/x", Permit: []string{"example.net"}, Routed: everything}, "both or none"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Open(t.Context(), test.o); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Open gives %v; want %q", err, test.want)
			}
		})
	}
	if _, err := Init(t.Context(), Options{Dir: dir}, false); err == nil {
		t.Error("Init made an authority that can sign for nothing")
	}
	if _, err := Init(t.Context(), Options{Permit: []string{"example.net"}}, false); err == nil || !strings.Contains(err.Error(), "state_dir") {
		t.Errorf("Init without a directory gives %v", err)
	}
	if _, err := Init(t.Context(), Options{Dir: dir, CertFile: "/x", KeyFile: "/y", Permit: []string{"example.net"}}, false); err == nil || !strings.Contains(err.Error(), "cert_file") {
		t.Errorf("Init beside a provided authority gives %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("refused options left %v, %v", entries, err)
	}
}

func TestOpenGivesUpWithItsContext(t *testing.T) {
	dir := stateDir(t)
	unlock, err := newFile(dir).lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockInterval)
	defer cancel()
	_, err = Open(ctx, Options{Dir: dir, Permit: []string{"example.net"}, Routed: everything})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open gives %v; want the context's end", err)
	}
}
