package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing.yaml")
	if c, err := Load(missing, false); err != nil || c.StateDir != "/var/lib/bearerd" {
		t.Errorf("a missing default: %v, %v", c, err)
	}
	if _, err := Load(missing, true); !errors.Is(err, fs.ErrNotExist) || !strings.HasSuffix(err.Error(), "; correct the path") {
		t.Errorf("a missing file that was named: %v", err)
	}
	for _, path := range []string{dir, os.DevNull} {
		if _, err := Load(path, false); err == nil || !strings.Contains(err.Error(), "is no regular file; ") {
			t.Errorf("%s: %v", path, err)
		}
	}
	long := filepath.Join(dir, "long.yaml")
	for size, want := range map[int]bool{maxFile: true, maxFile + 1: false} {
		if err := os.WriteFile(long, []byte(strings.Repeat("#", size)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(long, true); (err == nil) != want {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestRelativePathsCountFromTheFile(t *testing.T) {
	c, err := Parse(filepath.Join("etc", "bearerd.yaml"), []byte("state_dir: state\nauthority: {cert_file: /abs/ca.pem, key_file: ../ca.key}"))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.StateDir, c.Authority.CertFile, c.Authority.KeyFile}
	if want := []string{filepath.Join("etc", "state"), "/abs/ca.pem", "ca.key"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
