//go:build linux

package unchanged

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

// env is what all tests share. TestMain makes it before the first one.
var env environment

type environment struct {
	*rig.Rig
	app string // built from app
}

// inside is set in the environment of the tests that have a network of their
// own.
const inside = "BEARERD_E2E_OWN_NETWORK"

// TestMain starts the tests again in a network of their own, which ends with
// them, and in there runs them.
func TestMain(m *testing.M) {
	run := runAgain
	if os.Getenv(inside) != "" {
		run = func() (int, error) { return runTests(m) }
	}
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "unchanged:", err)
		code = 1
	}
	os.Exit(code)
}

func runAgain() (code int, err error) {
	// The kernel ends the child with the thread that started it.
	runtime.LockOSThread()
	again := exec.Command("/proc/self/exe", os.Args[1:]...)
	again.Env = append(os.Environ(), inside+"=1")
	again.Stdout, again.Stderr = os.Stdout, os.Stderr
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 { // root over the new network alone
		again.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		again.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		again.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	err = again.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	if err != nil {
		err = fmt.Errorf("start the tests in a network namespace, which takes root or kernel.unprivileged_userns_clone: %w", err)
	}
	return 0, err
}

func runTests(m *testing.M) (code int, err error) {
	if err := becomeIMDSsAddress(); err != nil {
		return 1, err
	}
	if env.Rig, err = rig.New(filepath.Join("..", "..")); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, env.Close()) }()
	env.app = filepath.Join(env.Dir, "app")
	if text, err := exec.Command("go", "build", "-o", env.app, "./app").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build the app: %w\n%s", err, text)
	}
	return m.Run(), nil
}

// becomeIMDSsAddress gives loopback the address of IMDS, after it has made sure
// that there is nothing else than loopback.
func becomeIMDSsAddress() error {
	interfaces, err := net.Interfaces()
	if err != nil || len(interfaces) != 1 || interfaces[0].Flags&net.FlagLoopback == 0 {
		return fmt.Errorf("this network is not the tests' own: %v (%v)", interfaces, err)
	}
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"address", "add", "169.254.169.254/32", "dev", "lo"}} {
		command := exec.Command("ip", args...)
		command.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
		if text, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w\n%s", args, err, text)
		}
	}
	return nil
}
