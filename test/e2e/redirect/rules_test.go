//go:build e2e && linux

package redirect

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/bearerd/bearerd/proxy/redirect"
)

// The uids of the tests. No name is needed for them.
const (
	daemonUID = 64001
	appUID    = 64002
	otherUID  = 64003
	appGID    = 64102
)

func options() redirect.Options {
	return redirect.Options{
		DaemonUser: "64001",
		Users:      []string{"64002"},
		Ports:      []uint16{443, 80},
		To:         netip.MustParseAddrPort("127.0.0.1:8443"),
		To6:        netip.MustParseAddrPort("[::1]:8443"),
		GuardIMDS:  true,
	}
}

func everything(t *testing.T) redirect.Options {
	o := options()
	o.Groups = []string{"64102"}
	o.Cgroups = []string{newCgroup(t)}
	o.AllowUsers = []string{"64003"}
	o.AllowCgroups = o.Cgroups
	o.Destinations = map[string][]netip.Prefix{
		"storage": {netip.MustParsePrefix("10.9.0.0/24"), netip.MustParsePrefix("10.9.0.7/32"), netip.MustParsePrefix("10.9.1.0/28"), netip.MustParsePrefix("fd00:9::/64"), netip.MustParsePrefix("fd00:9:8::/45")},
		"vaults":  {netip.MustParsePrefix("10.8.0.1/32")},
	}
	return o
}

// cgroupFolder finds the version 2 hierarchy, which stands in either place.
func cgroupFolder() string {
	const hybrid = "/sys/fs/cgroup/unified"
	if _, err := os.Stat(filepath.Join(hybrid, "cgroup.procs")); err == nil {
		return hybrid
	}
	return "/sys/fs/cgroup"
}

// newCgroup makes a cgroup for the test, and gives its path in the hierarchy.
func newCgroup(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp(cgroupFolder(), "bearerd-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(folder) })
	return "/" + filepath.Base(folder)
}

func resolve(t *testing.T, o redirect.Options) *redirect.Rules {
	t.Helper()
	rules, err := redirect.Resolve(o)
	if err != nil {
		t.Fatal(err)
	}
	if dead := rules.Dead(); len(dead) > 0 {
		t.Fatal(dead[0])
	}
	return rules
}

func (n *namespace) apply(rules *redirect.Rules) (changed bool) {
	n.t.Helper()
	var err error
	n.As(0, 0, func() { changed, err = redirect.Apply(rules) })
	if err != nil {
		n.t.Fatal(err)
	}
	return changed
}

func (n *namespace) verify(rules *redirect.Rules) (problems []string) {
	n.t.Helper()
	var err error
	n.As(0, 0, func() { problems, err = redirect.Verify(rules) })
	if err != nil {
		n.t.Fatal(err)
	}
	return problems
}

// What is printed is what nft makes of it, to the last expression: loaded by
// nft it lists as what netlink has installed, and verifies.
func TestTextIsWhatIsInstalled(t *testing.T) {
	for name, o := range map[string]redirect.Options{"everything": everything(t), "plain": options(), "guard": {DaemonUser: "64001", GuardIMDS: true}} {
		rules := resolve(t, o)
		file := filepath.Join(t.TempDir(), "rules.nft")
		if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		installed, loaded := newNamespace(t), newNamespace(t)
		if !installed.apply(rules) {
			t.Errorf("%s: the first apply changed nothing", name)
		}
		loaded.Must("nft", "-c", "-f", file)
		loaded.Must("nft", "-f", file)
		have, want := installed.Must("nft", "list", "ruleset"), loaded.Must("nft", "list", "ruleset")
		if have != want {
			t.Errorf("%s: installed:\n%s\nloaded by nft:\n%s", name, have, want)
		}
		for _, n := range []*namespace{installed, loaded} {
			for _, problem := range n.verify(rules) {
				t.Errorf("%s: %s", name, problem)
			}
		}
		if installed.apply(rules) {
			t.Errorf("%s: the second apply changed something", name)
		}
		if t.Failed() {
			t.Logf("%s", rules)
		}
	}
}
