//go:build e2e && linux

package transparent

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/miekg/dns"

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

const inside = "BEARERD_E2E_OWN_NETWORK"

// TestMain starts the tests again in a network and with mounts of their own,
// which end with them, and in there runs them.
func TestMain(m *testing.M) {
	run := runAgain
	if os.Getenv(inside) != "" {
		run = func() (int, error) { return runTests(m) }
	}
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "transparent:", err)
		code = 1
	}
	os.Exit(code)
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

func runTests(m *testing.M) (code int, err error) {
	if interfaces, err := net.Interfaces(); err != nil || len(interfaces) != 1 || interfaces[0].Flags&net.FlagLoopback == 0 {
		return 1, fmt.Errorf("this network is not the tests' own: %v (%v)", interfaces, err)
	}
	if world, err = rig.New(".."); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	if err := os.Chmod(world.Dir, 0o755); err != nil { // bearerd runs as another user
		return 1, err
	}
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
	hosts, resolv := filepath.Join(dir, "hosts"), filepath.Join(dir, "resolv.conf")
	for path, text := range map[string]string{hosts: "127.0.0.1 localhost\n", resolv: "nameserver 127.0.0.1\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	commands := [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"mount", "--make-rprivate", "/"}, {"mount", "--bind", hosts, "/etc/hosts"}, {"mount", "--bind", resolv, "/etc/resolv.conf"},
	}
	for _, a := range []string{vaultV4 + "/32", otherV4 + "/32", "169.254.169.254/32", vaultV6 + "/128", otherV6 + "/128"} {
		commands = append(commands, []string{"ip", "address", "add", a, "dev", "lo"})
	}
	for _, c := range commands {
		if text, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%v: %w\n%s", c, err, text)
		}
	}
	return serveDNS(map[string][]string{
		vaultHost: {vaultV4, vaultV6}, otherHost: {otherV4, otherV6}, loopHost: {"127.0.0.1"},
	})
}

// serveDNS answers for the names alone.
func serveDNS(names map[string][]string) (stop func(), err error) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		return nil, err
	}
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg).SetReply(q)
		name := q.Question[0].Name
		addrs, ok := names[name[:len(name)-1]]
		if !ok {
			r.Rcode = dns.RcodeNameError
		}
		for _, text := range addrs {
			a := netip.MustParseAddr(text)
			header := dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}
			switch kind := q.Question[0].Qtype; {
			case a.Is4() && kind == dns.TypeA:
				r.Answer = append(r.Answer, &dns.A{Hdr: header, A: a.AsSlice()})
			case a.Is6() && kind == dns.TypeAAAA:
				header.Rrtype = dns.TypeAAAA
				r.Answer = append(r.Answer, &dns.AAAA{Hdr: header, AAAA: a.AsSlice()})
			}
		}
		w.WriteMsg(r)
	})}
	go server.ActivateAndServe()
	return func() { server.Shutdown() }, nil
}
