package redirect

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/nftables"
)

var update = flag.Bool("update", false, "write testdata/rules.nft")

func options() Options {
	return Options{
		DaemonUser:   "998",
		Users:        []string{"payroll", "1002"},
		Groups:       []string{"reports"},
		Cgroups:      []string{"/system.slice/payroll.service"},
		Ports:        []uint16{443, 80, 443},
		Destinations: map[string][]netip.Prefix{"vaults": {netip.MustParsePrefix("10.1.0.0/20"), netip.MustParsePrefix("fd00:1::/32")}},
		To:           netip.MustParseAddrPort("127.0.0.1:8443"),
		To6:          netip.MustParseAddrPort("[::1]:8443"),
		GuardIMDS:    true,
		AllowUsers:   []string{"monitor"},
		AllowCgroups: []string{"agents.slice"},
		LookupUser: func(name string) (uint32, error) {
			return map[string]uint32{"payroll": 1001, "monitor": 1003}[name], nil
		},
		LookupGroup: func(string) (uint32, error) { return 2001, nil },
	}
}

// hierarchy makes folders in place of cgroups.
func hierarchy(t *testing.T, cgroups ...string) cgroupRoots {
	t.Helper()
	mount := filepath.Join(t.TempDir(), "a mount")
	for _, c := range cgroups {
		if err := os.MkdirAll(filepath.Join(mount, c), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return cgroupRoots{mountinfo: mountinfo(t, strings.ReplaceAll(mount, " ", `\040`), "cgroup2"), mount: ""}
}

func mountinfo(t *testing.T, mount, kind string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mountinfo")
	text := "24 1 0:22 / /proc rw shared:1 - proc proc rw\n" + fmt.Sprintf("31 24 0:27 / %s rw shared:9 - %s %s rw\n", mount, kind, kind)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestText(t *testing.T) {
	roots := hierarchy(t, "system.slice/payroll.service", "agents.slice")
	rules, err := resolve(&resolver{o: options(), roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	if dead := rules.Dead(); len(dead) > 0 {
		t.Error(dead[0])
	}
	if err := roots.look(); err != nil {
		t.Fatal(err)
	}
	have := strings.ReplaceAll(rules.String(), strings.TrimPrefix(roots.mount, "/")+"/", "")
	const file = "testdata/rules.nft"
	if *update {
		if err := os.WriteFile(file, []byte(have), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if have != string(want) {
		t.Errorf("%s differs; run: go test ./proxy/redirect -run TestText -update\n%s", file, have)
	}
}

func TestResolveRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"nothing":               {func(o *Options) { *o = Options{DaemonUser: "998"} }, "nobody is to be redirected"},
		"no listener":           {func(o *Options) { o.To, o.To6 = netip.AddrPort{}, netip.AddrPort{} }, "no listener or no port is named"},
		"no port":               {func(o *Options) { o.Ports = nil }, "no listener or no port is named"},
		"our own user":          {func(o *Options) { o.Users = []string{"998"} }, "would come back to it for ever"},
		"our own user, by name": {func(o *Options) { o.DaemonUser = "1001" }, "user payroll is what bearerd runs as"},
		"no such daemon": {func(o *Options) {
			o.DaemonUser, o.LookupUser = "bearerd", func(string) (uint32, error) { return 0, errors.New("unknown user bearerd") }
		}, "looking up the user that bearerd runs as: unknown user bearerd; make it (useradd"},
	} {
		o := options()
		test.change(&o)
		if _, err := resolve(&resolver{o: o, roots: hierarchy(t)}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Who is not there is told and left out, and the others' rules are made: the
// guard does not wait for an app to be started.
func TestDeadSelectorsAreTold(t *testing.T) {
	o := options()
	o.LookupUser = func(string) (uint32, error) { return 0, errors.New("unknown user") }
	o.LookupGroup = func(string) (uint32, error) { return 0, errors.New("unknown group") }
	rules, err := resolve(&resolver{o: o, roots: hierarchy(t)})
	if err != nil {
		t.Fatal(err)
	}
	var dead []string
	for _, d := range rules.Dead() {
		dead = append(dead, d.What)
	}
	if want := []string{"user payroll", "group reports", "cgroup /system.slice/payroll.service", "user monitor", "cgroup agents.slice"}; !slices.Equal(dead, want) {
		t.Errorf("dead: %q", dead)
	}
	if text := rules.String(); !strings.Contains(text, "meta skuid 1002 goto steer") || strings.Contains(text, "socket cgroupv2") || !strings.Contains(text, "reject") {
		t.Error(text)
	}
}

func TestCgroupIsFound(t *testing.T) {
	roots := hierarchy(t, "system.slice/payroll.service")
	g, err := roots.find("system.slice/payroll.service/")
	if err != nil || g.level != 2 || g.id == 0 {
		t.Errorf("%+v, %v", g, err)
	}
	for name, want := range map[string]string{
		"/":           "holds every process",
		"/../..":      "holds every process",
		"/gone.slice": "is not there; start what runs in it and apply again",
		`/a"b`:        "quotation mark",
	} {
		if _, err := roots.find(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	only1 := cgroupRoots{mountinfo: mountinfo(t, "/sys/fs/cgroup/memory", "cgroup")}
	if _, err := only1.find("/a"); err == nil || !strings.Contains(err.Error(), "boot with systemd.unified_cgroup_hierarchy=1, or select by user or group") {
		t.Errorf("version 1 alone: %v", err)
	}
}

// A cgroup's folder on a real machine: nft's text counts from its own root.
func TestCgroupTextIsAsNftWritesIt(t *testing.T) {
	roots := cgroupRoots{mount: nftRoot + "/unified"}
	if got := roots.text("/payroll.slice"); got != "unified/payroll.slice" {
		t.Errorf("hybrid: %s", got)
	}
	roots = cgroupRoots{mount: nftRoot}
	if got := roots.text("/payroll.slice"); got != "payroll.slice" {
		t.Errorf("unified: %s", got)
	}
}

// The kernel's answers are told apart by what is to be done about them.
func TestKernelErrorsSayWhatToDo(t *testing.T) {
	for want, err := range map[string]error{
		"run it as root":                os.ErrPermission,
		"modprobe nf_tables":            fmt.Errorf("netlink receive: %w", syscall.EINVAL),
		"nft_socket for cgroups":        syscall.ENOENT,
		"what the kernel says about it": errors.New("strange"),
	} {
		if got := explained("installing the rules", err).Error(); !strings.HasPrefix(got, "installing the rules: ") || !strings.Contains(got, want) {
			t.Errorf("%v: %s", err, got)
		}
	}
}

// What the kernel has, if it is what was asked for, differs in nothing.
func TestCompareWithItself(t *testing.T) {
	rules, err := resolve(&resolver{o: options(), roots: hierarchy(t, "system.slice/payroll.service", "agents.slice")})
	if err != nil {
		t.Fatal(err)
	}
	have := &inPlace{table: ours(), rules: make(map[string][]kernelRule)}
	for _, c := range rules.chains {
		k := c.kernel(ours())
		have.chains = append(have.chains, k)
		for _, r := range c.rules {
			code, err := r.code()
			if err != nil {
				t.Fatal(err)
			}
			have.rules[c.name] = append(have.rules[c.name], kernelRule{code, r.comment})
		}
	}
	if problems := rules.compare(have); len(problems) > 0 {
		t.Errorf("%q", problems)
	}
	steer := have.rules[chainSteer]
	slices.Reverse(steer)
	if problems := rules.compare(have); len(problems) != 1 || !strings.Contains(problems[0], "in another order") {
		t.Errorf("reversed: %q", problems)
	}
	slices.Reverse(steer)
	have.chains[0].Priority = nftables.ChainPriorityFilter
	if problems := rules.compare(have); len(problems) != 1 || !strings.Contains(problems[0], "not where it belongs") {
		t.Errorf("moved: %q", problems)
	}
}
