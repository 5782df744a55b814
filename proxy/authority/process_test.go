package authority

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The test binary runs itself as other processes, told what to do by these.
const (
	helperDir = "BEARERD_TEST_AUTHORITY_DIR"
	helperJob = "BEARERD_TEST_AUTHORITY_JOB"
)

const (
	jobOpen  = "open"  // print the root's fingerprint
	jobCrash = "crash" // die between writing and renaming
	jobHold  = "hold"  // keep the lock until killed
)

func helper(job, dir string) (status int) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	switch job {
	case jobOpen:
		a, err := Open(ctx, Options{Dir: dir, Permit: []string{"example.net"}, Routed: everything})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer a.Close()
		fmt.Println(a.Fingerprint())
		return 0
	case jobCrash:
		f := newFile(dir)
		f.rename = func(string, string) error {
			os.Exit(42)
			return nil
		}
		_, err := f.replace(ctx, []string{"example.net"}, true)
		fmt.Fprintln(os.Stderr, "still alive:", err)
		return 1
	case jobHold:
		if _, err := newFile(dir).lock(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println("held")
		<-ctx.Done()
		return 0
	}
	return 2
}

// command gives a process of its own that does job in dir.
func command(t *testing.T, job, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), helperDir+"="+dir, helperJob+"="+job)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestProcessesThatStartAtOnceEndWithOneAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	commands := make([]*exec.Cmd, 6)
	outs := make([]strings.Builder, len(commands))
	for n := range commands {
		commands[n] = command(t, jobOpen, dir)
		commands[n].Stdout = &outs[n]
		if err := commands[n].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for n, cmd := range commands {
		if err := cmd.Wait(); err != nil {
			t.Fatalf("process %d: %v", n, err)
		}
	}
	root, err := Load(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for n := range outs {
		if got := strings.TrimSpace(outs[n].String()); got != root.Fingerprint() {
			t.Errorf("process %d has the root %s, and the file %s", n, got, root.Fingerprint())
		}
	}
}

func TestCrashBeforeRenameLeavesNoHalfAuthority(t *testing.T) {
	dir := stateDir(t)
	crash := func() {
		t.Helper()
		cmd := command(t, jobCrash, dir)
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != 42 {
			t.Fatalf("the process did not crash where it should: %v", err)
		}
		// Otherwise the crash came before the write, and shows nothing.
		if len(readFile(t, filepath.Join(dir, fileName+".tmp"))) == 0 {
			t.Fatal("nothing was written before the crash")
		}
	}

	crash()
	if _, err := Load(Options{Dir: dir}); !isMissing(err) {
		t.Fatalf("after a crash on the first start, Load gives %v; want that there is none", err)
	}
	made := open(t, Options{Dir: dir, Permit: []string{"example.net"}})
	if _, err := os.Stat(filepath.Join(dir, fileName+".tmp")); !isMissing(err) {
		t.Errorf("the crashed process's file is still there: %v", err)
	}

	crash()
	kept, err := Load(Options{Dir: dir})
	if err != nil {
		t.Fatalf("after a crash while renewing: %v", err)
	}
	if kept.Fingerprint() != made.Fingerprint() {
		t.Error("a crash while renewing changed the authority")
	}
}

func TestLockOfAKilledProcessIsFree(t *testing.T) {
	dir := stateDir(t)
	cmd := command(t, jobHold, dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 5*lockInterval)
	defer cancel()
	_, err = Init(ctx, Options{Dir: dir, Permit: []string{"example.net"}}, false)
	if err == nil || ctx.Err() == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("Init while another process holds the lock: %v; want to have waited for it", err)
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if _, err := Init(t.Context(), Options{Dir: dir, Permit: []string{"example.net"}}, false); err != nil {
		t.Errorf("Init after the holder was killed: %v", err)
	}
}
