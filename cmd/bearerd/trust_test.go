package main

import (
	"bytes"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
)

func TestTrustOfAFirstStartStaysTheSame(t *testing.T) {
	dir := t.TempDir()
	c, err := daemon.Parse("bearerd.yaml", []byte("cloud: public\nstate_dir: "+filepath.Join(dir, "state")+"\nlisten:\n  - {address: \"127.0.0.1:0\", tls: {rsa: true}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	trust := filepath.Join(dir, "trust")
	if err := os.Mkdir(trust, 0o755); err != nil {
		t.Fatal(err)
	}
	export := func() map[string][]byte {
		t.Helper()
		if err := exportTrust(t.Context(), c, trust); err != nil {
			t.Fatal(err)
		}
		files := make(map[string][]byte)
		for _, name := range []string{"root.pem", "bundle.pem", "root.p12"} {
			if files[name], err = os.ReadFile(filepath.Join(trust, name)); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(filepath.Join(trust, name)); err != nil || info.Mode().Perm() != 0o644 {
				t.Errorf("%s: %v, %v; apps run as other users", name, info.Mode(), err)
			}
		}
		return files
	}
	first := export()
	if n := certificates(t, first["root.pem"]); n != 2 {
		t.Errorf("%d roots, want the authority's and the RSA one's", n)
	}
	if n := certificates(t, first["bundle.pem"]); n < 3 {
		t.Errorf("%d certificates in the bundle, which leaves the system's out", n)
	}
	if again := export(); !bytes.Equal(again["root.pem"], first["root.pem"]) {
		t.Error("a second start has made another authority")
	}
	if all, err := os.ReadDir(trust); err != nil || len(all) != 3 {
		t.Errorf("%v, %v in the folder that apps read", all, err)
	}
}

// certificates counts those of a PEM file that has nothing else.
func certificates(t *testing.T, text []byte) (n int) {
	t.Helper()
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return n
		}
		if block.Type != "CERTIFICATE" {
			t.Errorf("a %s among what apps are to trust", block.Type)
		}
		n++
	}
}
