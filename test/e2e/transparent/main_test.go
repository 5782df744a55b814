//go:build e2e && linux

package transparent

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

// Where the emulated Internet is, of addresses that are nobody's (RFC 5737, RFC
// 3849).
const (
	vaultV4, vaultV6 = "203.0.113.7", "2001:db8::7"
	otherV4, otherV6 = "203.0.113.8", "2001:db8::8"

	vaultHost = "payroll.vault.azure.net"
	loopHost  = "loop.vault.azure.net" // whose DNS record leads to bearerd
	otherHost = "other.example"
)

// The users of the tests; no name is needed for them.
const (
	daemonUID   = 64001
	appUID      = 64002
	strangerUID = 64003
)

var world *rig.Rig // TestMain makes it

// TestMain runs the tests in a network and with mounts of their own.
func TestMain(m *testing.M) {
	code, err := rig.InOwnNetwork(func() (int, error) { return runTests(m) })
	if err != nil {
		fmt.Fprintln(os.Stderr, "transparent:", err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	if world, err = rig.New(".."); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	stop, err := setUp(world.Dir)
	if err != nil {
		return 1, err
	}
	defer stop()
	return m.Run(), nil
}

// setUp gives the network its addresses and its DNS, and the files that lead
// there.
func setUp(dir string) (stop func(), err error) {
	for name, text := range map[string]string{"hosts": "127.0.0.1 localhost\n", "resolv.conf": "nameserver 127.0.0.1\n"} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(file, []byte(text), 0o644), rig.Cover("/etc/"+name, file)); err != nil {
			return nil, err
		}
	}
	for _, a := range []string{vaultV4 + "/32", otherV4 + "/32", "169.254.169.254/32", vaultV6 + "/128", otherV6 + "/128"} {
		if text, err := exec.Command("ip", "address", "add", a, "dev", "lo").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("give loopback %s: %w\n%s", a, err, text)
		}
	}
	packets, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		return nil, err
	}
	return rig.Names(map[string][]string{
		vaultHost: {vaultV4, vaultV6}, otherHost: {otherV4, otherV6}, loopHost: {"127.0.0.1"},
	}).ServeDNS(packets), nil
}
