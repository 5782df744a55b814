package caller

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
