package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	cgrouppath "path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bearerd/bearerd/metrics"
	"github.com/bearerd/bearerd/proxy/redirect"
)

// Redirect is what `bearerd redirect apply` installs. Users, groups and cgroups
// are looked up by that command, not here.
type Redirect struct {
	DaemonUser             string // what bearerd runs as; default bearerd
	Users, Groups, Cgroups []string
	Ports                  []int // default 443 and 80
	Destinations           map[string][]netip.Prefix
	To, To6                netip.AddrPort
	GuardIMDS              bool
	AllowUsers             []string
	AllowCgroups           []string
	ReportFile             string // where the outcome of the last verify is; default /run/bearerd-redirect.json
}

// selects reports whether anybody is redirected.
func (r *Redirect) selects() bool { return len(r.Users)+len(r.Groups)+len(r.Cgroups) > 0 }

// Asked reports whether any rule is wanted.
func (r *Redirect) Asked() bool { return r.selects() || r.GuardIMDS }

// Options are what package redirect takes.
func (r *Redirect) Options() redirect.Options {
	o := redirect.Options{
		DaemonUser: r.DaemonUser, Users: r.Users, Groups: r.Groups, Cgroups: r.Cgroups,
		Destinations: r.Destinations, To: r.To, To6: r.To6,
		GuardIMDS: r.GuardIMDS, AllowUsers: r.AllowUsers, AllowCgroups: r.AllowCgroups,
	}
	for _, p := range r.Ports {
		o.Ports = append(o.Ports, uint16(p))
	}
	return o
}

func (r *Redirect) keys() object {
	names := func(at *[]string) value {
		return list(at, func(s *string) value { return accountName(s) })
	}
	cgroups := func(at *[]string) value {
		return list(at, func(s *string) value { return parsed(s, "path", cgroupPath) })
	}
	return object{
		{"users", names(&r.Users), "Users whose calls are redirected. Root's may be, bearerd's own never are."},
		{"groups", names(&r.Groups), "Groups: by the one that a process runs as (its effective group), not by the others that its user is in."},
		{"cgroups", cgroups(&r.Cgroups), "Control groups, with all below them, as /proc/PID/cgroup writes them: /payroll.slice. They need the hierarchy of version 2. A service's own cgroup is made anew at each start, and the rules then applied again; a slice stays."},
		{"ports", list(&r.Ports, func(p *int) value { return number(p, 1, 65535, "") }), "Destination ports that are redirected."},
		{"destinations", table[[]netip.Prefix]{&r.Destinations, destinationName, "name", func(p *[]netip.Prefix) value {
			return list(p, func(p *netip.Prefix) value { return parsed(p, "address or prefix", destination) })
		}}, "Sets of addresses, by a name of yours, to which alone calls are redirected. Empty: all but loopback, 169.254.169.254 and 168.63.129.16, which never are."},
		{"to", shown{parsed(&r.To, "IP:PORT", redirectTo), "none"}, "The transparent listener for IPv4, on loopback. Absent: calls by IPv4 are not redirected."},
		{"to6", shown{parsed(&r.To6, "IP:PORT", redirectTo), "none"}, "The same for IPv6."},
		{"guard_imds", boolean(&r.GuardIMDS), "Let only root, bearerd's user and those of guard_allow reach IMDS (169.254.169.254, TCP port 80), from this machine and from the containers that it forwards for. It cannot hold what runs as root."},
		{"guard_allow", object{
			{"users", names(&r.AllowUsers), "Users."},
			{"cgroups", cgroups(&r.AllowCgroups), "Control groups, with all below them."},
		}, "Who else may reach IMDS while guard_imds is set."},
		{"daemon_user", accountName(&r.DaemonUser), "The user that bearerd runs as: its calls are never redirected, and it may reach IMDS."},
		{"report_file", path(&r.ReportFile), "Where bearerd redirect verify writes what it found, and the daemon's metrics read it."},
	}
}

// accountName takes the name or the number of a user or a group, which the
// command looks up.
func accountName(at *string) value {
	return scalar[string]{at, "name or number", func(n *yaml.Node) (string, error) {
		if n.Tag != "!!str" && n.Tag != "!!int" || n.Value == "" || strings.ContainsAny(n.Value, ":\"\n") {
			return "", fmt.Errorf("%q is no name or number of an account; write it like payroll or 1001", n.Value)
		}
		return n.Value, nil
	}, quote}
}

// cgroupPath takes a cgroup's path from the root of its hierarchy.
func cgroupPath(text string) (string, error) {
	switch clean := cgrouppath.Clean("/" + text); {
	case clean == "/":
		return "", fmt.Errorf("%q is the root, which holds every process; name a cgroup below it, like /payroll.slice", text)
	case strings.HasPrefix(clean, "/sys/fs/cgroup/"):
		return "", fmt.Errorf("%s is the folder of a cgroup; write its path as /proc/PID/cgroup does, without /sys/fs/cgroup", text)
	case strings.Contains(clean, `"`):
		return "", errors.New("a quotation mark in it cannot be written as a rule; rename the cgroup")
	default:
		return clean, nil
	}
}

func destinationName(text string) (string, error) {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	if text == "" || len(text) > 64 || strings.Trim(text, letters+"0123456789_-") != "" || !strings.Contains(letters, text[:1]) {
		return "", fmt.Errorf("%q is no name for a set of addresses; begin with a small letter, and use small letters, digits, - and _", text)
	}
	return text, nil
}

func destination(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if a, addrErr := netip.ParseAddr(text); addrErr == nil && a.Zone() == "" {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is no address or prefix; write it like 20.60.0.0/16 or 2603:1030::/32", text)
	case p.Addr().Is4In6():
		return p, fmt.Errorf("%s is IPv4 in IPv6's spelling; write it as IPv4", p)
	case p != p.Masked():
		return p, fmt.Errorf("%s has bits behind its length; write %s", p, p.Masked())
	case p.Bits() == 0:
		return p, fmt.Errorf("%s is every address; leave destinations out if that is meant", p)
	}
	return p, nil
}

func redirectTo(text string) (netip.AddrPort, error) {
	if text == "" {
		return netip.AddrPort{}, nil
	}
	to, err := netip.ParseAddrPort(text)
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	switch {
	case err != nil || to.Port() == 0:
		return to, fmt.Errorf("%q is no address with a port; write the transparent listener's, like 127.0.0.1:8443 or [::1]:8443", text)
	case !to.Addr().IsLoopback():
		return to, fmt.Errorf("%s is not loopback's, where others than the redirected could call; listen on 127.0.0.1 and [::1], and write that", to)
	}
	return to, nil
}

// checkRedirect finds rules that could not work.
func (c *Config) checkRedirect() {
	s, r := &c.source, &c.Redirect
	if s.failedUnder("redirect") || s.failedUnder("listen") {
		return
	}
	if r.To.IsValid() && !r.To.Addr().Is4() {
		s.fail("redirect.to", "%s is IPv6; write it as to6", r.To)
	}
	if r.To6.IsValid() && !r.To6.Addr().Is6() {
		s.fail("redirect.to6", "%s is IPv4; write it as to", r.To6)
	}
	for name, prefixes := range r.Destinations {
		if len(prefixes) == 0 {
			s.fail("redirect.destinations."+name, "it holds no address, so that it would redirect nothing; write some, or remove it")
		}
	}
	if i := slices.Index(r.Users, r.DaemonUser); i >= 0 {
		s.fail(fmt.Sprintf("redirect.users[%d]", i), "%s is what bearerd runs as (daemon_user), whose calls would come back to it for ever; remove it", r.DaemonUser)
	}
	if r.selects() && !r.To.IsValid() && !r.To6.IsValid() {
		s.fail("redirect", "it says whose calls are redirected and not where to; name the transparent listener with to and to6")
	}
	if r.selects() && len(r.Ports) == 0 {
		s.fail("redirect.ports", "no port is listed, so that nothing would be redirected; list some, or remove the key")
	}
	c.checkRedirectListeners()
}

// checkRedirectListeners compares the rules with who listens.
func (c *Config) checkRedirectListeners() {
	s, r := &c.source, &c.Redirect
	for i, l := range c.Listen {
		if r.GuardIMDS && l.Mode == ModeIMDS && l.Address.isIMDSs() {
			s.fail("redirect.guard_imds", "it keeps apps from %s, where listen[%d] is to answer them; remove one of the two", l.Address, i)
		}
	}
	if !c.listensTransparently() {
		return // which is warned about
	}
	for key, to := range map[string]netip.AddrPort{"redirect.to": r.To, "redirect.to6": r.To6} {
		if to.IsValid() && !slices.ContainsFunc(c.Listen, func(l Listener) bool { return l.Mode == ModeTransparent && l.Address.collides(Address{TCP: to}) }) {
			s.fail(key, "no listener of mode transparent has the address %s; write the address of one", to)
		}
	}
}

func (c *Config) listensTransparently() bool {
	return slices.ContainsFunc(c.Listen, func(l Listener) bool { return l.Mode == ModeTransparent })
}

// warnRedirect says what rules would leave out.
func (c *Config) warnRedirect(s *source) {
	r := &c.Redirect
	if !r.selects() {
		return
	}
	if !c.listensTransparently() {
		s.fail("redirect", "no listener is of mode transparent, so that redirected calls would be refused; add one to listen")
	}
	if !r.To6.IsValid() {
		s.fail("redirect", "calls by IPv6 go past the proxy, and get no token; name a listener for them with to6")
	}
	if !r.To.IsValid() {
		s.fail("redirect", "calls by IPv4 go past the proxy, and get no token; name a listener for them with to")
	}
	for i, name := range r.Users {
		if name == "root" || name == "0" {
			s.fail(fmt.Sprintf("redirect.users[%d]", i), "the calls of all that runs as root are redirected, package managers and agents of the machine included; name users of apps where that is not meant")
		}
	}
}

// redirectSample tells what the last look at the kernel's rules found. The
// daemon has no privilege to look itself; a report that cannot be read vouches
// for nothing.
func (d *Daemon) redirectSample() metrics.RedirectSample {
	r := &d.state.Load().config.Redirect
	if !r.Asked() {
		return metrics.RedirectSample{}
	}
	report, err := redirect.ReadReport(r.ReportFile)
	if err != nil {
		return metrics.RedirectSample{Wanted: true}
	}
	return metrics.RedirectSample{Wanted: true, InPlace: report.InPlace, Checked: report.Checked}
}
