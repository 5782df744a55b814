package authority

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

const nobody = 65534

// asNobody runs f with another user's rights to files: for root, modes mean
// nothing. Its thread is not used again.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Geteuid() == 0 {
			runtime.LockOSThread()
			if err := syscall.Setfsuid(nobody); err != nil {
				t.Error(err)
				return
			}
		}
		f()
	}()
	<-done
}

// reachable lets others reach a test's directory, which is below one of mode 0700.
func reachable(t *testing.T, dir string) {
	t.Helper()
	for range 3 {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		dir = filepath.Dir(dir)
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	empty, full := stateDir(t), keep(t, forge(t, nothing))
	for _, dir := range []string{empty, full} {
		reachable(t, dir)
		if os.Geteuid() == 0 {
			err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
				return errors.Join(err, os.Chown(path, nobody, -1))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(dir, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	asNobody(t, func() {
		o := Options{Dir: empty, Permit: []string{"example.net"}, Routed: everything}
		_, err := Open(t.Context(), o)
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "state_dir") {
			t.Errorf("the first start gives %v; want what to do about state_dir", err)
		}
		o.Dir = full
		open(t, o)
	})
	if entries, err := os.ReadDir(empty); err != nil || len(entries) > 0 {
		t.Errorf("the failed start left %v, %v", entries, err)
	}
}

func TestFileOfAnotherUserSaysWhoMayReadIt(t *testing.T) {
	dir := keep(t, forge(t, nothing))
	reachable(t, dir)
	if os.Geteuid() != 0 { // nobody else is at hand
		if err := os.Chmod(filepath.Join(dir, fileName), 0); err != nil {
			t.Fatal(err)
		}
	}
	asNobody(t, func() {
		_, err := Load(Options{Dir: dir})
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "as that user") {
			t.Errorf("Load gives %v; want who may read it", err)
		}
	})
}
