package rig

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

// debian is what a machine is made of: a small Debian that boots.
const debian, debianPackages = "bookworm", "systemd,systemd-sysv,dbus,iproute2,nftables,ca-certificates"

// Machine is a Debian that systemd has booted in namespaces of its own, without
// a way out. It ends with the test.
type Machine struct {
	*Process
	Root string     // its file system, which the test may write to
	T    *testing.T // that fails where the machine does; a subtest's, while it runs

	leader string // the process id of its systemd
}

// NewMachine gives a machine that is not booted yet.
func NewMachine(t *testing.T) *Machine {
	t.Helper()
	tree, err := debianTree()
	if err != nil {
		t.Fatal(err)
	}
	m := &Machine{Root: filepath.Join(t.TempDir(), "root"), T: t}
	Run(t, os.Environ(), "", "cp", "--archive", "--reflink=auto", tree, m.Root)
	return m
}

// debianTree gives the machine's file system, which is made once for a user's
// cache and takes a minute then.
func debianTree() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	tree := filepath.Join(cache, "bearerd", debian)
	if _, err := os.Stat(tree); err == nil {
		return tree, nil
	}
	if err := os.MkdirAll(filepath.Dir(tree), 0o755); err != nil {
		return "", err
	}
	partial, err := os.MkdirTemp(filepath.Dir(tree), debian+"-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(partial)
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	text, err := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--include="+debianPackages, debian, partial).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("make a Debian: %w\n%s", err, text[max(0, len(text)-2000):])
	}
	if err := os.Chmod(partial, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(partial, tree); err != nil && !os.IsExist(err) {
		return "", err
	}
	return tree, nil
}

// Boot starts the machine and returns when systemd is done with it.
func (m *Machine) Boot() {
	m.T.Helper()
	var err error
	m.Process, err = Launch(append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1"), "", "systemd-nspawn", "-q", "-D", m.Root,
		"--register=no", "--keep-unit", "--private-network", "--link-journal=no", "-b")
	if err != nil {
		m.T.Fatal(err)
	}
	m.T.Cleanup(m.end)
	Eventually(m.T, "the machine is up", func() error {
		select {
		case <-m.Done:
			m.T.Fatalf("the machine ended and said:\n%s", m.Out)
		default:
		}
		pid := fmt.Sprint(m.Cmd.Process.Pid)
		text, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
		if err != nil {
			return err
		}
		if m.leader = strings.TrimSpace(string(text)); m.leader == "" {
			return fmt.Errorf("it has no systemd yet")
		}
		state, err := m.Try("systemctl", "is-system-running")
		if state = strings.TrimSpace(state); state != "running" && state != "degraded" {
			return fmt.Errorf("systemd says %q, %v", state, err)
		}
		return nil
	})
}

func (m *Machine) end() {
	select {
	case <-m.Done:
		return
	default:
	}
	_, _ = m.Try("systemctl", "--force", "poweroff")
	select {
	case <-m.Done:
	case <-time.After(10 * time.Second):
		_ = m.Cmd.Process.Kill()
		<-m.Done
	}
}

// Command is a program that runs in the machine as root.
func (m *Machine) Command(name string, args ...string) *exec.Cmd {
	c := exec.Command("nsenter", append([]string{"--target", m.leader, "--mount", "--uts", "--ipc", "--net", "--pid", "--", name}, args...)...)
	c.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	return c
}

// Try runs a program and gives what it prints.
func (m *Machine) Try(name string, args ...string) (string, error) {
	text, err := m.Command(name, args...).CombinedOutput()
	return string(text), err
}

// Run does so and fails the test with the program.
func (m *Machine) Run(name string, args ...string) string {
	m.T.Helper()
	text, err := m.Try(name, args...)
	if err != nil {
		m.T.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, text)
	}
	return text
}

// Write writes a file of the machine's.
func (m *Machine) Write(path, text string, mode os.FileMode) {
	m.T.Helper()
	file := filepath.Join(m.Root, path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		m.T.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		m.T.Fatal(err)
	}
	// WriteFile leaves the mode of a file that exists, and minds the umask.
	if err := os.Chmod(file, mode); err != nil {
		m.T.Fatal(err)
	}
}

// Copy copies a file of this machine's into the other one.
func (m *Machine) Copy(from, path string, mode os.FileMode) {
	m.T.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		m.T.Fatal(err)
	}
	m.Write(path, string(text), mode)
}
