//go:build e2e && linux

package transparent

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// serve answers each connection to an address by handle, and counts them.
func serve(t *testing.T, address string, handle func(net.Conn)) (count func() int) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return rig.Serve(t, l, handle)
}

// relay passes connections on to where a fake service really is.
func relay(to string) func(net.Conn) {
	return rig.Relay(func(address string) (net.Conn, error) { return net.Dial("tcp", address) }, to)
}

// azure is the vault where its DNS record says, and the IMDS whose tokens it
// takes.
type azure struct {
	imds  *rig.IMDS
	cloud *azuretest.Cloud
}

func startAzure(t *testing.T) *azure {
	t.Helper()
	imds := rig.StartIMDS(t, imdstest.Options{})
	a := &azure{imds: imds, cloud: imds.StartCloud(t, azuretest.Options{Hosts: []string{vaultHost}})}
	at := a.cloud.ConnectTo()[vaultHost]
	serve(t, vaultV4+":443", relay(at))
	serve(t, "["+vaultV6+"]:443", relay(at))
	return a
}

const routes = `
  - {service: keyvault, hosts: [` + vaultHost + `, ` + loopHost + `]}
`

// asApp runs a program as the user whose calls are redirected.
func asApp(t *testing.T, d *rig.Daemon, name string, args ...string) (string, error) {
	t.Helper()
	return asUser(t, d, appUID, name, args...)
}

func asUser(t *testing.T, d *rig.Daemon, uid int, name string, args ...string) (string, error) {
	t.Helper()
	env := append(world.BaseEnv(), "HOME=/tmp", "SSL_CERT_FILE="+roots(t, d), "CURL_CA_BUNDLE="+roots(t, d), "REQUESTS_CA_BUNDLE="+roots(t, d))
	argv := append(rig.AsUser(uid, name), args...)
	return rig.Try(t, env, "/", argv[0], argv[1:]...)
}

// roots is a file that the app can read, with the authority's root and that of
// the tests' own servers.
func roots(t *testing.T, d *rig.Daemon) string {
	t.Helper()
	root, err := os.ReadFile(d.Root)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(world.Dir, "roots.pem")
	if err := os.WriteFile(path, append(root, world.CA.PEM()...), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// rules loads rules in nft's language, which are gone after the test.
func rules(t *testing.T, text string) {
	t.Helper()
	nft := exec.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader(text)
	if out, err := nft.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("nft", "flush", "ruleset").CombinedOutput(); err != nil {
			t.Errorf("nft flush ruleset: %v\n%s", err, out)
		}
	})
}

// redirectApp is what docs/operations.md shows, for the users of the tests.
func redirectApp(t *testing.T) {
	t.Helper()
	rules(t, fmt.Sprintf(`
table inet bearerd {
	chain output {
		type nat hook output priority -100; policy accept;
		meta skuid { %d, %d } tcp dport { 80, 443 } redirect to :8443
	}
}`, appUID, strangerUID))
}

const transparentListeners = `
  - {address: "127.0.0.1:8443", mode: transparent}
  - {address: "[::1]:8443", mode: transparent}
`
