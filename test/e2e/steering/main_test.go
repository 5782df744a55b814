//go:build e2e && linux

package steering

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

// The users of the tests; no name is needed for them.
const (
	daemonUID   = 64001
	payrollUID  = 64002
	reportsUID  = 64003
	strangerUID = 64004 // redirected, and no route's caller
	otherUID    = 64005 // nobody's concern
)

// What TestMain makes.
var (
	host      *rig.Rig // of the apps
	authority string   // the file of bearerd's own
)

// TestMain makes the app host, whose network the tests run in, and has it trust
// bearerd as an administrator does.
func TestMain(m *testing.M) {
	code, err := rig.InOwnNetwork(func() (code int, err error) {
		if host, err = rig.New(".."); err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, host.Close()) }()
		if err := setUp(); err != nil {
			return 1, err
		}
		return m.Run(), nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "steering:", err)
		code = 1
	}
	os.Exit(code)
}

func setUp() error {
	for name, text := range map[string]string{"hosts": localhost, "resolv.conf": "nameserver " + dnsAddress + "\n"} {
		file := inHost(name)
		if err := errors.Join(os.WriteFile(file, []byte(text), 0o644), rig.Cover("/etc/"+name, file)); err != nil {
			return err
		}
	}
	if err := do("cp", "-r", "testdata", host.Dir); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-o", inHost("app"), "./app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := run(build); err != nil {
		return err
	}
	return trust()
}

const localhost = "127.0.0.1 localhost\n::1 localhost\n"

// inHost is a path in the folder that every user of the app host can read.
func inHost(name string) string { return filepath.Join(host.Dir, name) }

func do(name string, args ...string) error { return run(exec.Command(name, args...)) }

func run(cmd *exec.Cmd) error {
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, text)
	}
	return nil
}

// trust makes bearerd's authority, and has the system's stores trust its root,
// and the one that the unrouted services are under.
func trust() error {
	state, config, root := inHost("state"), inHost("authority.yaml"), inHost("local/bearerd.crt")
	authority = filepath.Join(state, "authority.pem")
	text := "cloud: public\nimds: {endpoint: \"http://127.0.0.1:9\"}\nstate_dir: " + state + "\nroutes:\n" + routes
	if err := errors.Join(os.WriteFile(config, []byte(text), 0o600), os.Mkdir(inHost("local"), 0o755), os.Mkdir(inHost("hooks"), 0o755)); err != nil {
		return err
	}
	cacerts, err := javaStore()
	if err != nil {
		return err
	}
	return inTurn(
		func() error { return do(host.Bin, "ca", "init", "--config", config) },
		func() error { return do(host.Bin, "ca", "export", "--config", config, "--out", root) },
		func() error { return do("cp", host.CAFile, inHost("local/tests.crt")) },
		func() error { return cover("/usr/local/share/ca-certificates", inHost("local")) },
		func() error { return cover(cacerts, "") },
		func() error {
			return do("keytool", "-importcert", "-noprompt", "-trustcacerts", "-alias", "bearerd", "-file", root, "-keystore", cacerts, "-storepass", "changeit")
		},
		func() error { return cover("/etc/ssl/certs", "") }, // Debian's cacerts are in it
		func() error { return do("update-ca-certificates", "--hooksdir", inHost("hooks")) },
	)
}

// cover puts another folder or file in the place of one of the machine's; empty
// is a copy of it.
func cover(path, by string) error {
	if by == "" {
		by = inHost("copy-of-" + filepath.Base(path))
		if err := do("cp", "-aT", path, by); err != nil {
			return err
		}
	}
	return rig.Cover(path, by)
}

// javaStore finds the file that Java trusts unless told otherwise.
func javaStore() (string, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return "", err
	}
	if java, err = filepath.EvalSymlinks(java); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(filepath.Join(filepath.Dir(java), "..", "lib", "security", "cacerts"))
}

func inTurn(steps ...func() error) error {
	for _, step := range steps {

		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
