//go:build e2e && linux

package redirect

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bearerd/bearerd/proxy/redirect"
)

// reaches wants a call to be answered by who is named, and, at the proxy, to
// have kept its destination.
func (n *namespace) reaches(uid, gid int, address, who string) {
	n.t.Helper()
	said, err := n.call(uid, gid, address)
	want := who
	if who == "proxy" {
		want += " " + address
	}
	if err != nil || !strings.HasPrefix(said, want) {
		n.t.Errorf("%d:%d calls %s: %q, %v; want %q", uid, gid, address, said, err, want)
	}
}

// refused wants a call to be answered at once, and with no.
func (n *namespace) refused(uid, gid int, address string) {
	n.t.Helper()
	start := time.Now()
	if said, err := n.call(uid, gid, address); !errors.Is(err, syscall.ECONNREFUSED) || time.Since(start) > time.Second {
		n.t.Errorf("%d:%d calls %s: %q, %v after %s; want it to be refused", uid, gid, address, said, err, time.Since(start))
	}
}

func TestSelectedCallsAreRedirected(t *testing.T) {
	w := newWorld(t)
	o := options()
	o.Groups = []string{"64102"}
	w.host.apply(resolve(t, o))
	for _, address := range []string{service4, service6, "10.9.0.2:80", otherHost} {
		w.host.reaches(appUID, 0, address, "proxy")
		w.host.reaches(otherUID, appGID, address, "proxy")
		w.host.reaches(otherUID, 0, address, "azure")
		w.host.reaches(0, 0, address, "azure")
		w.host.reaches(daemonUID, 0, address, "azure")
		w.host.reaches(daemonUID, appGID, address, "azure") // its group changes nothing
	}
	w.host.reaches(appUID, 0, "10.9.0.2:22", "azure")
	w.host.reaches(appUID, 0, "127.0.0.1:443", "local")
	w.host.reaches(appUID, 0, "168.63.129.16:443", "wireserver")
	// The proxy would not connect there, and could not tell by which interface.
	w.host.reaches(appUID, 0, linkLocal4, "neighbour")
	w.host.reaches(appUID, 0, linkLocal6, "neighbour")

	if removed := w.host.remove(); !removed {
		t.Error("nothing was removed")
	}
	w.host.reaches(appUID, 0, service4, "azure")
	w.host.reaches(appUID, 0, service6, "azure")
	w.host.reaches(appUID, 0, imds, "imds")
	if left := w.host.Must("nft", "list", "ruleset"); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
	if removed := w.host.remove(); removed {
		t.Error("something was there to be removed twice")
	}
}

func (n *namespace) remove() (removed bool) {
	n.t.Helper()
	var err error
	n.As(0, 0, func() { removed, err = redirect.Remove() })
	if err != nil {
		n.t.Fatal(err)
	}
	return removed
}

// A real program, with its user, its group and its cgroup.
func TestProgramsAreRedirected(t *testing.T) {
	w := newWorld(t)
	o := options()
	group := newCgroup(t)
	o.Cgroups = []string{group}
	w.host.apply(resolve(t, o))
	folder, err := os.Open(cgroupFolder() + group)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	curl := func(attr *syscall.SysProcAttr) string {
		// The answer is no HTTP, which HTTP/0.9 was content with.
		out, err := w.host.Command(attr, "curl", "-sS", "--http0.9", "--max-time", "5", "http://10.9.0.2/")
		if err != nil {
			t.Errorf("curl: %v\n%s", err, out)
		}
		return out
	}
	if out := curl(&syscall.SysProcAttr{Credential: &syscall.Credential{Uid: appUID, Gid: appGID}}); out != "proxy 10.9.0.2:80" {
		t.Errorf("as a user: %q", out)
	}
	if out := curl(&syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(folder.Fd())}); out != "proxy 10.9.0.2:80" {
		t.Errorf("in a cgroup: %q", out)
	}
	if out := curl(nil); !strings.HasPrefix(out, "azure") {
		t.Errorf("as root: %q", out)
	}
}

func TestNamedDestinationsAloneAreRedirected(t *testing.T) {
	w := newWorld(t)
	o := options()
	o.Destinations = map[string][]netip.Prefix{"near": {netip.MustParsePrefix("10.9.0.0/24"), netip.MustParsePrefix("fd00:9::/64")}}
	w.host.apply(resolve(t, o))
	w.host.reaches(appUID, 0, service4, "proxy")
	w.host.reaches(appUID, 0, service6, "proxy")
	w.host.reaches(appUID, 0, otherHost, "azure")

	// Other addresses under the same name take the place of the first.
	o.Destinations = map[string][]netip.Prefix{"near": {netip.MustParsePrefix("10.7.0.0/24")}}
	rules := resolve(t, o)
	if !w.host.apply(rules) {
		t.Error("nothing was changed")
	}
	for _, problem := range w.host.verify(rules) {
		t.Error(problem)
	}
	w.host.reaches(appUID, 0, service4, "azure")
	w.host.reaches(appUID, 0, service6, "azure")
	w.host.reaches(appUID, 0, otherHost, "proxy")
}

func TestGuardKeepsIMDSFromEverybodyElse(t *testing.T) {
	w := newWorld(t)
	o := options()
	w.host.reaches(otherUID, 0, imds, "imds")
	w.container.reaches(0, 0, imds, "imds")
	w.host.apply(resolve(t, o))
	w.host.refused(otherUID, 0, imds)
	w.host.refused(appUID, 0, imds)
	w.host.refused(appUID, 0, "[::ffff:169.254.169.254]:80")
	w.host.reaches(0, 0, imds, "imds")
	w.host.reaches(daemonUID, 0, imds, "imds")
	w.container.refused(0, 0, imds)
	w.container.refused(daemonUID, 0, imds) // the host cannot tell who it is there
	w.container.reaches(0, 0, service4, "azure")

	group := newCgroup(t)
	o.AllowUsers, o.AllowCgroups = []string{"64003"}, []string{group}
	w.host.apply(resolve(t, o))
	w.host.reaches(otherUID, 0, imds, "imds")
	w.host.refused(appUID, 0, imds)
	folder, err := os.Open(cgroupFolder() + group)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	as := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: appUID}, UseCgroupFD: true, CgroupFD: int(folder.Fd())}
	if out, err := w.host.Command(as, "curl", "-sS", "--http0.9", "--max-time", "5", "http://"+imds); err != nil || !strings.HasPrefix(out, "imds") {
		t.Errorf("from the cgroup: %q, %v", out, err)
	}
}

// Another's NAT is looked behind: what counts is where a packet goes.
func TestGuardHoldsBehindAnotherAddress(t *testing.T) {
	w := newWorld(t)
	w.host.apply(resolve(t, options()))
	w.host.Must("nft", "add table ip other; add chain ip other out { type nat hook output priority -100; }; add rule ip other out ip daddr 10.99.0.1 tcp dport 8888 dnat to "+imds)
	w.host.refused(otherUID, 0, "10.99.0.1:8888")
	w.host.reaches(0, 0, "10.99.0.1:8888", "imds")
}

// MPTCP's sockets are the kernel's own, which hides their owner from some
// kernels' rules.
func TestGuardHoldsForMultipathTCP(t *testing.T) {
	w := newWorld(t)
	w.host.apply(resolve(t, options()))
	w.host.As(otherUID, 0, func() {
		var d net.Dialer
		d.SetMultipathTCP(true)
		if c, err := d.Dial("tcp", imds); err == nil {
			c.Close()
			t.Error("it was reached")
		}
	})
}

// A connection that was open before the guard came is of no use after it.
func TestGuardEndsOpenConnections(t *testing.T) {
	w := newWorld(t)
	var l net.Listener
	var err error
	w.azure.As(0, 0, func() { l, err = net.Listen("tcp4", ":8080") })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// The same port for IMDS, seen from the app: the guard judges port 80.
	w.azure.Must("nft", "add table ip port; add chain ip port in { type nat hook prerouting priority -100; }; add rule ip port in ip daddr 169.254.169.254 tcp dport 80 redirect to :8080")
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	var c net.Conn
	w.host.As(otherUID, 0, func() { c, err = net.Dial("tcp", imds) })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server := <-accepted
	defer server.Close()
	w.host.apply(resolve(t, options()))
	c.SetDeadline(time.Now().Add(3 * time.Second))
	_, err = c.Write([]byte("GET"))
	if err == nil {
		_, err = c.Read(make([]byte, 10))
	}
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the open connection: %v", err)
	}
	server.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if n, _ := server.Read(make([]byte, 10)); n > 0 {
		t.Errorf("%d bytes got through", n)
	}
}

// The WireServer's address serves more than tokens: load balancers probe from
// it, and it is the DNS and the DHCP server.
func TestWireServerIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.host.apply(resolve(t, everything(t)))
	w.azure.As(0, 0, func() {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(wireServer)}, Timeout: 3 * time.Second}
		c, err := d.Dial("tcp", "10.9.0.1:8080")
		if err != nil {
			t.Errorf("a load balancer's probe: %v", err)
			return
		}
		c.Close()
	})
	w.azure.echo(wireServer + ":53")
	w.azure.echo(wireServer + ":67")
	for _, uid := range []int{0, appUID, otherUID} {
		if err := w.host.ask(uid, ":0", wireServer+":53"); err != nil {
			t.Errorf("DNS as %d: %v", uid, err)
		}
	}
	if err := w.host.ask(0, ":68", wireServer+":67"); err != nil {
		t.Errorf("DHCP: %v", err)
	}
	w.host.reaches(0, 0, wireServer+":80", "wireserver")
	w.host.reaches(appUID, 0, wireServer+":80", "wireserver")
	w.container.reaches(0, 0, wireServer+":80", "wireserver")
}

// Rules are exchanged in one step: of the connections that are made meanwhile,
// none goes past the proxy, and none reaches IMDS.
func TestExchangeLetsNothingThrough(t *testing.T) {
	w := newWorld(t)
	first := options()
	second := options()
	second.Users = append(second.Users, "64010")
	second.AllowUsers = []string{"64011"}
	second.Destinations = map[string][]netip.Prefix{"near": {netip.MustParsePrefix("10.9.0.0/20")}}
	rules := []*redirect.Rules{resolve(t, first), resolve(t, second)}
	w.host.apply(rules[0])
	var calls, past, leaked atomic.Int64
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() {
			w.host.As(appUID, 0, func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					calls.Add(1)
					if said, err := call(service4); err == nil && !strings.HasPrefix(said, "proxy") {
						past.Add(1)
					}
					if _, err := call(imds); err == nil {
						leaked.Add(1)
					}
				}
			})
		})
	}
	var exchanges int
	for start := time.Now(); time.Since(start) < 3*time.Second; exchanges++ {
		if !w.host.apply(rules[(exchanges+1)%2]) {
			t.Error("nothing was exchanged")
		}
	}
	close(stop)
	callers.Wait()
	t.Logf("%d calls during %d exchanges", calls.Load(), exchanges)
	if past.Load() > 0 || leaked.Load() > 0 || calls.Load() < 100 || exchanges < 10 {
		t.Errorf("%d of %d calls went past the proxy, %d reached IMDS, during %d exchanges", past.Load(), calls.Load(), leaked.Load(), exchanges)
	}
}

func TestVerifySeesWhatIsLost(t *testing.T) {
	n := newNamespace(t)
	o := everything(t)
	uid := uint32(64005)
	o.Users = []string{"payroll"}
	o.LookupUser = func(string) (uint32, error) { return uid, nil }
	rules := resolve(t, o)
	if problems := n.verify(rules); len(problems) != 1 || !strings.Contains(problems[0], "never applied") {
		t.Errorf("before apply: %q", problems)
	}
	for _, damage := range []struct{ nft, want string }{
		{"flush ruleset", "no rule is in place"},
		{"flush table inet bearerd", "is missing"},
		{"flush chain inet bearerd forward_guard", "chain forward_guard: the rule for \"ip daddr 169.254.169.254 tcp dport 80 reject with tcp reset\" is missing"},
		{"insert rule inet bearerd output_guard accept", "chain output_guard: it has rules that are none of the configuration's"},
		{"add rule inet bearerd selected meta skuid 1 goto steer", "chain selected: it has rules"},
		{"add set inet bearerd more { type ipv4_addr; }", "the set more is none of the configuration's"},
		{"add chain inet bearerd more", "the chain more is none of the configuration's"},
		{"add table inet bearerd { flags dormant; }", "switched off"},
		{"chain inet bearerd output_guard { policy drop; }", "has another policy"},
		{"delete chain inet bearerd forward_guard", "the chain forward_guard is missing"},
	} {
		n.apply(rules)
		n.Must("nft", damage.nft)
		if problems := n.verify(rules); len(problems) == 0 || !strings.Contains(strings.Join(problems, "\n"), damage.want) {
			t.Errorf("%s: %q", damage.nft, problems)
		}
		if !n.apply(rules) {
			t.Errorf("%s: it was not mended", damage.nft)
		}
		for _, problem := range n.verify(rules) {
			t.Errorf("%s, mended: %s", damage.nft, problem)
		}
	}

	uid = 64006
	if problems := n.verify(resolve(t, o)); len(problems) != 1 || !strings.Contains(problems[0], "the rule for user payroll is an outdated one") {
		t.Errorf("another number: %q", problems)
	}
	uid = 64005
	folder := filepath.Join(cgroupFolder(), o.Cgroups[0])
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	dead, err := redirect.Resolve(o)
	if err != nil || len(dead.Dead()) == 0 || !strings.Contains(dead.Dead()[0].Error(), "is not there") {
		t.Errorf("a cgroup that is gone: %v", err)
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if problems := n.verify(resolve(t, o)); len(problems) != 2 || !strings.Contains(problems[0], "the rule for cgroup "+o.Cgroups[0]+" is an outdated one") {
		t.Errorf("made anew: %q", problems)
	}
}

// Both are promised to take less than 200 ms.
func TestApplyAndRemoveAreQuick(t *testing.T) {
	n := newNamespace(t)
	o := everything(t)
	for i := range 200 {
		o.Users = append(o.Users, "64"+string(rune('2'+i/100))+string(rune('0'+i/10%10))+string(rune('0'+i%10)))
	}
	var apply, remove time.Duration
	for range 5 {
		start := time.Now()
		n.apply(resolve(t, o))
		apply = max(apply, time.Since(start))
		start = time.Now()
		n.remove()
		remove = max(remove, time.Since(start))
	}
	t.Logf("the slowest of 5, with 200 users: apply %s, remove %s", apply, remove)
	if bound := 200 * time.Millisecond; apply > bound || remove > bound {
		t.Errorf("apply took %s and remove %s; the bound is %s", apply, remove, bound)
	}
}

// Without the privilege everything that touches the kernel says so.
func TestPrivilegeIsAskedFor(t *testing.T) {
	n := newNamespace(t)
	rules := resolve(t, options())
	n.As(0, 0, func() {
		var header = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil { // this thread's alone
			t.Error(err)
			return
		}
		_, apply := redirect.Apply(rules)
		_, verify := redirect.Verify(rules)
		_, remove := redirect.Remove()
		for what, err := range map[string]error{"apply": apply, "verify": verify, "remove": remove} {
			if !errors.Is(err, redirect.ErrPrivilege) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}
