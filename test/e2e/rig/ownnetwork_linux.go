package rig

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// inside marks the test process that has a network of its own.
const inside = "BEARERD_E2E_OWN_NETWORK"

// InOwnNetwork is for TestMain: it starts the test binary again in a network
// with nothing but loopback, and with mounts of its own, which end with it; in
// there it calls run. It takes root.
func InOwnNetwork(run func() (code int, err error)) (code int, err error) {
	if os.Getenv(inside) == "" {
		return runAgain()
	}
	if interfaces, err := net.Interfaces(); err != nil || len(interfaces) != 1 || interfaces[0].Flags&net.FlagLoopback == 0 {
		return 1, fmt.Errorf("this network is not the tests' own: %v (%v)", interfaces, err)
	}
	if text, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("ip link set lo up: %w\n%s", err, text)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return 1, fmt.Errorf("keep the tests' mounts to themselves: %w", err)
	}
	return run()
}

func runAgain() (code int, err error) {
	runtime.LockOSThread() // the kernel ends the child with the thread that started it
	again := exec.Command("/proc/self/exe", os.Args[1:]...)
	again.Env = append(os.Environ(), inside+"=1", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	again.Stdout, again.Stderr = os.Stdout, os.Stderr
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err = again.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	if err != nil {
		err = fmt.Errorf("start the tests in namespaces, which takes root: %w", err)
	}
	return 0, err
}

// Cover has the file or folder at path be the one at by. It is for processes
// with mounts of their own.
func Cover(path, by string) error {
	if os.Getenv(inside) == "" {
		return fmt.Errorf("cover %s: these mounts are the machine's", path)
	}
	if err := unix.Mount(by, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cover %s: %w", path, err)
	}
	return nil
}
