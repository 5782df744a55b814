package caller

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// makeCgroup makes a cgroup of the test's own.
func makeCgroup(t *testing.T, root string, path ...string) string {
	t.Helper()
	made := filepath.Join(append([]string{root}, path...)...)
	if err := os.Mkdir(made, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(made); err != nil {
			t.Error(err)
		}
	})
	return made
}

// connectFrom has a process in a cgroup connect.
func connectFrom(t *testing.T, cgroup string, l net.Listener) (net.Conn, func()) {
	t.Helper()
	folder, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	cmd := exec.Command("/proc/self/exe", l.Addr().String())
	cmd.Env = append(os.Environ(), roleVariable+"="+l.Addr().Network())
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(folder.Fd())}
	conn, _, end := connectBy(t, cmd, l)
	return conn, end
}

func TestCgroupsAndWhatIsBelowThem(t *testing.T) {
	f := stranger()
	if os.Geteuid() != 0 || f.root == "" { // nobody else can make one
		return
	}
	name := "caller-test-" + strconv.Itoa(os.Getpid())
	service := makeCgroup(t, f.root, name)
	below := makeCgroup(t, f.root, name, "below")
	neighbour := makeCgroup(t, f.root, name+"2") // whose name begins alike
	named := &Names{Cgroups: []string{"/" + name}}
	for _, network := range []string{"tcp4", "unix"} {
		address := "127.0.0.1:0"
		if network == "unix" {
			address = filepath.Join(t.TempDir(), "s")
		}
		l := listenOn(t, network, address)
		for cgroup, want := range map[string]bool{service: true, below: true, neighbour: false} {
			conn, end := connectFrom(t, cgroup, l)
			c := f.Find(conn, netip.AddrPort{})
			if got := named.Match(c); got != want {
				t.Errorf("%s, %s: %v, want %v: %v", network, cgroup, got, want, c)
			}
			if got, want := c.cgroup(), cgroup[len(f.root):]; got != want {
				t.Errorf("%s: %s, want %s", network, got, want)
			}
			end()
		}
		if named.Match(f.Find(pairOn(t, l), netip.AddrPort{})) {
			t.Errorf("%s: a process outside was taken", network)
		}
	}
}

// A cgroup may be made after the file was read, and another of its name later.
func TestCgroupNeedNotBeThereYet(t *testing.T) {
	f := stranger()
	if os.Geteuid() != 0 || f.root == "" {
		return
	}
	name := "caller-later-" + strconv.Itoa(os.Getpid())
	named := &Names{Cgroups: []string{"/" + name}}
	l := listenOn(t, "tcp4", "127.0.0.1:0")
	if named.Match(f.Find(pairOn(t, l), netip.AddrPort{})) {
		t.Error("taken before the cgroup was made")
	}
	for range 2 {
		cgroup := filepath.Join(f.root, name)
		if err := os.Mkdir(cgroup, 0o755); err != nil {
			t.Fatal(err)
		}
		conn, end := connectFrom(t, cgroup, l)
		if c := f.Find(conn, netip.AddrPort{}); !named.Match(c) {
			t.Error(c)
		}
		end()
		if err := os.Remove(cgroup); err != nil {
			t.Fatal(err)
		}
	}
}

// The attack is a caller that uses up the descriptors while another one is looked
// for in the cgroup that a route names, so that the other is refused for good.
func TestCgroupOfCallerInShortageOfDescriptors(t *testing.T) {
	f := &Finder{root: t.TempDir(), within: make(map[placement]bool)}
	below := filepath.Join(f.root, "named", "below")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(below)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := inodeOf(info)
	var usual syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &usual); err != nil {
		t.Fatal(err)
	}
	none := syscall.Rlimit{Max: usual.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	within := f.cgroupWithin(id, "/named")
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &usual); err != nil {
		t.Fatal(err)
	}
	if within {
		t.Fatal("it was found without a descriptor: nothing is tested")
	}
	if !f.cgroupWithin(id, "/named") {
		t.Error("the caller is refused although there are descriptors again")
	}
}

// The attack is memory and time: each of many callers in cgroups without a name
// has all cgroups looked at, to name its own in the log.
func TestManyCallersHaveCgroupsLookedAtOnce(t *testing.T) {
	f := &Finder{}
	var looked atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if f.mayLook() {
				looked.Add(1)
			}
		})
	}
	all.Wait()
	if n := looked.Load(); n != 1 {
		t.Errorf("%d looked", n)
	}
}
