//go:build unix

package authority

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestFileIsReadableByTheDaemonAlone(t *testing.T) {
	old := syscall.Umask(0) // the modes must not depend on it
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "state")
	open(t, Options{Dir: dir, Permit: []string{"example.net"}})
	for path, want := range map[string]os.FileMode{
		dir:                                  0o700,
		filepath.Join(dir, fileName):         0o600,
		filepath.Join(dir, fileName+".lock"): 0o600,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %04o; want %04o", path, got, want)
		}
	}
}

func TestFileOpenToStrangersIsRefused(t *testing.T) {
	for _, mode := range []os.FileMode{0o644, 0o640, 0o604, 0o620, 0o601} {
		dir := keep(t, forge(t, nothing))
		path := filepath.Join(dir, fileName)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		o := Options{Dir: dir, Permit: []string{"example.net"}, Routed: everything}
		_, err := Open(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) || !strings.Contains(err.Error(), "bearerd ca init --renew") {
			t.Errorf("mode %04o: the error is %v; want what to do", mode, err)
		}
		if _, err := Load(o); err == nil {
			t.Errorf("mode %04o: Load takes it", mode)
		}
		if err := os.Chmod(path, 0o400); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(o); err != nil {
			t.Errorf("mode 0400: %v", err)
		}
	}
}

func TestDirectoryOpenToStrangersIsRefused(t *testing.T) {
	for _, mode := range []os.FileMode{0o777, 0o770, 0o702} {
		for _, had := range []bool{false, true} {
			dir := stateDir(t)
			if had {
				dir = keep(t, forge(t, nothing))
			}
			if err := os.Chmod(dir, mode); err != nil {
				t.Fatal(err)
			}
			_, err := Open(t.Context(), Options{Dir: dir, Permit: []string{"example.net"}, Routed: everything})
			if err == nil || !strings.Contains(err.Error(), "chmod go-w "+dir) {
				t.Errorf("mode %04o, had=%v: the error is %v; want what to do", mode, had, err)
			}
		}
	}
	// What systemd makes for a unit's StateDirectory.
	dir := stateDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	open(t, Options{Dir: dir, Permit: []string{"example.net"}})
}

func TestOnlyARegularFileIsAnAuthority(t *testing.T) {
	dir := stateDir(t)
	if err := os.Mkdir(filepath.Join(dir, fileName), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "regular file") {
		t.Errorf("a directory in its place gives %v", err)
	}
}

func TestTrustedOwner(t *testing.T) {
	const root, daemon, other = 0, 990, 1000
	tests := []struct {
		owner, self, dir int
		want             bool
	}{
		{daemon, daemon, daemon, true},
		{root, daemon, root, true},
		{root, daemon, daemon, true},
		{daemon, root, daemon, true}, // `sudo bearerd ca export`
		{other, daemon, daemon, false},
		{other, daemon, other, false},
		{other, root, root, false}, // planted
		{other, root, daemon, false},
	}
	for _, test := range tests {
		if got := trustedOwner(test.owner, test.self, test.dir); got != test.want {
			t.Errorf("a file of %d in a directory of %d, read by %d: %v; want %v", test.owner, test.dir, test.self, got, test.want)
		}
	}
}
