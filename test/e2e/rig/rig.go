package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// Python is Debian's interpreter, which knows Debian's python3-requests; a
// version manager's may come first in PATH.
const Python = "/usr/bin/python3"

// Rig is what all tests of a program share. New makes it and Close ends it.
type Rig struct {
	Dir    string // temporary, gone after Close
	Source string // test/e2e
	NPM    string // test/e2e/npm
	Bin    string // the bearerd under test, built as it is released
	CA     *Authority
	CAFile string

	mu    sync.Mutex // guards given
	given map[string]bool
}

// New finds every program that the tests run, before any test runs, and builds
// bearerd. source is the path of test/e2e.
func New(source string) (*Rig, error) {
	source, err := filepath.Abs(source)
	if err != nil {
		return nil, err
	}
	r := &Rig{Source: source, NPM: filepath.Join(source, "npm"), given: make(map[string]bool)}
	if err := r.checkPeers(); err != nil {
		return nil, err
	}
	if r.Dir, err = os.MkdirTemp("", "bearerd-e2e-"); err != nil {
		return nil, err
	}
	r.Bin, r.CAFile = filepath.Join(r.Dir, "bearerd"), filepath.Join(r.Dir, "upstream-root.pem")
	if r.CA, err = newAuthority(); err == nil {
		// Programs that run as other users read here.
		err = errors.Join(os.Chmod(r.Dir, 0o755), os.WriteFile(r.CAFile, r.CA.PEM(), 0o644))
	}
	if err == nil {
		err = r.build()
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Main runs a package's tests with a Rig and Azurite, which stand in *r and *a
// before the first one, and gives the exit code. dir leads to test/e2e.
func Main(m *testing.M, dir string, r **Rig, a **Azurite) int {
	code, err := runTests(m, dir, r, a)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return code
}

func runTests(m *testing.M, dir string, r **Rig, a **Azurite) (code int, err error) {
	heedSignals()
	if *r, err = New(dir); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, (*r).Close()) }()
	if *a, err = (*r).StartAzurite(); err != nil {
		return 1, fmt.Errorf("start Azurite: %w", err)
	}
	defer (*a).Stop()
	return m.Run(), nil
}

// heedSignals has the programs that tests start heed what a terminal sends. A
// shell's background jobs are born with some of it ignored, and their children
// after them; what is handled here, children have as ever.
func heedSignals() {
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// Close removes what the tests have left.
func (r *Rig) Close() error { return os.RemoveAll(r.Dir) }

// unusedAddress is a FreeAddress that it has not given before: of many at once,
// the kernel gives one twice now and then.
func (r *Rig) unusedAddress(t *testing.T) string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if address := FreeAddress(t); !r.given[address] {
			r.given[address] = true
			return address
		}
	}
}

func (r *Rig) build() error { return Build(r.Source, r.Bin) }

// Build builds bearerd as it is released. source is the path of test/e2e.
func Build(source, bin string) error {
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, "./cmd/bearerd")
	build.Dir = filepath.Join(source, "..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build bearerd: %w\n%s", err, text)
	}
	return nil
}

func (r *Rig) checkPeers() error {
	var missing []error
	for _, name := range []string{"curl", "node", "java", "openssl", "prometheus", "promtool", "rclone", "az", "chromium", Python} {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, err)
		}
	}
	if text, err := exec.Command(Python, "-c", "import grpc, requests, azure.storage.blob, azure.storage.queue, azure.data.tables").CombinedOutput(); err != nil {
		missing = append(missing, fmt.Errorf("python3-grpcio, python3-requests, python3-azure-storage: %w: %s", err, text))
	}
	if text, err := exec.Command("perl", "-MIO::Socket::SSL", "-e", "1").CombinedOutput(); err != nil {
		missing = append(missing, fmt.Errorf("libio-socket-ssl-perl: %w: %s", err, text))
	}
	for _, module := range []string{"azurite", "@azure/arm-resources", "@azure/storage-blob", "@azure/keyvault-secrets", "@azure/identity", "azure-storage", "azure-storage-legacy", "axe-core"} {
		if _, err := os.Stat(filepath.Join(r.NPM, "node_modules", module)); err != nil {
			missing = append(missing, err)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("peers are missing; run: make peers\n%w", errors.Join(missing...))
	}
	return nil
}

// BaseEnv is the environment of every program that a test starts: none of the
// machine's proxy or trust settings, which would steer a client elsewhere.
func (r *Rig) BaseEnv() []string {
	return []string{
		"PATH=" + os.Getenv("PATH") + ":/usr/sbin",
		"HOME=" + r.Dir,
		"LANG=C.UTF-8",
	}
}
