//go:build unix

package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// abandon leaves a socket behind as a process that was killed does.
func abandon(t *testing.T, path string) {
	t.Helper()
	inner, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	inner.(*net.UnixListener).SetUnlinkOnClose(false)
	inner.Close()
}

func TestTheModeOfASocket(t *testing.T) {
	for umask, mode := range map[int]fs.FileMode{0: 0, 0o022: 0, 0o077: 0o666, 0o777: 0o600} {
		path := socketPath(t)
		restore := syscall.Umask(umask)
		l, err := Open(t.Context(), Options{Address: "unix:" + path, Mode: mode})
		syscall.Umask(restore)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		want := mode
		if mode == 0 {
			want = 0o660
		}
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("umask %04o: mode %v, %v, want %v", umask, info.Mode(), err, want)
		}
		l.Close()
	}
	if _, err := Open(t.Context(), Options{Address: "unix:" + socketPath(t), Mode: fs.ModeSetuid | 0o660}); err == nil {
		t.Error("a mode with more than permissions was taken")
	}
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	path := socketPath(t)
	abandon(t, path)
	l := open(t, Options{Address: "unix:" + path})
	greet(t, l)
	if !isGreeted(dialTo(t, l)) {
		t.Error("nobody listens")
	}
	l.Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file outlives the listener: %v", err)
	}
}

func TestASocketInUseIsLeftAlone(t *testing.T) {
	path := socketPath(t)
	l := open(t, Options{Address: "unix:" + path})
	_, err := Open(t.Context(), Options{Address: "unix:" + path})
	who := "another process"
	if runtime.GOOS == "linux" {
		who = fmt.Sprintf("process %d", os.Getpid())
	}
	if want := "listen on unix:" + path + ": " + who + " listens there; stop it, or choose another path"; err == nil || err.Error() != want {
		t.Errorf("got:  %v\nwant: %s", err, want)
	}
	conn, err := l.Accept() // the probe's
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoSocketIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	abandon(t, filepath.Join(dir, "stale"))
	if err := os.Symlink(filepath.Join(dir, "stale"), link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, dir} {
		if _, err := Open(t.Context(), Options{Address: "unix:" + path}); err == nil || !strings.Contains(err.Error(), "is no socket; move it away") {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestASuccessorsSocketIsNotRemoved(t *testing.T) {
	path := socketPath(t)
	old := open(t, Options{Address: "unix:" + path})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	successor := open(t, Options{Address: "unix:" + path})
	greet(t, successor)
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	if !isGreeted(dialTo(t, successor)) {
		t.Error("the successor is not reached")
	}
}

func TestOfManyThatStartAtOnceOneGetsTheSocket(t *testing.T) {
	for range 20 {
		path := socketPath(t)
		abandon(t, path)
		var (
			starting sync.WaitGroup
			opened   atomic.Int64
			winner   atomic.Pointer[Listener]
		)
		for range 8 {
			starting.Go(func() {
				l, err := Open(t.Context(), Options{Address: "unix:" + path})
				if err == nil {
					opened.Add(1)
					winner.Store(l)
				}
			})
		}
		starting.Wait()
		if n := opened.Load(); n != 1 {
			t.Fatalf("%d listeners hold one path", n)
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Errorf("nobody is reached: %v", err)
		} else {
			conn.Close()
		}
		winner.Load().Close()
	}
}

func TestALockedDirectoryIsWaitedFor(t *testing.T) {
	path := socketPath(t)
	unlock, err := lockDir(t.Context(), filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
	defer cancel()
	if _, err := Open(ctx, Options{Address: "unix:" + path}); err == nil || !strings.Contains(err.Error(), "keeps "+filepath.Dir(path)+" locked") {
		t.Errorf("%v", err)
	}
	opened := make(chan error, 1)
	go func() {
		l, err := Open(t.Context(), Options{Address: "unix:" + path})
		if err == nil {
			err = l.Close()
		}
		opened <- err
	}()
	unlock()
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

func TestAMissingDirectorySaysWhatToDo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	if _, err := Open(t.Context(), Options{Address: "unix:" + dir + "/s"}); !errors.Is(err, fs.ErrNotExist) || !strings.HasSuffix(err.Error(), "; create the directory "+dir) {
		t.Errorf("%v", err)
	}
}

func TestAPortInUseSaysWhoToAsk(t *testing.T) {
	l := open(t, Options{Address: "127.0.0.1:0"})
	want := "listen on " + l.Addr().String() + ": bind: address already in use; stop the program that has it (`ss -ltnp` names it), or choose another port"
	if _, err := Open(t.Context(), Options{Address: l.Addr().String()}); err == nil || err.Error() != want {
		t.Errorf("got:  %v\nwant: %s", err, want)
	}
}
