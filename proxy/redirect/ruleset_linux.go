package redirect

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/google/nftables"
)

// Rules are what Options mean on this machine at one moment.
type Rules struct {
	chains []chain
	dead   []*DeadSelector
}

type chain struct {
	name  string
	kind  nftables.ChainType // empty: other chains lead here
	hook  *nftables.ChainHook
	order nftables.ChainPriority
	rules []*rule
}

// The chains. NAT is done where destinations are rewritten for the machine's
// own packets, and the guard stands behind it, where it is known which address a
// packet really goes to.
const (
	chainOutput       = "output_nat"
	chainSelected     = "selected"
	chainSteer        = "steer"
	chainGuardOutput  = "output_guard"
	chainGuardForward = "forward_guard"

	natOrder    = nftables.ChainPriority(-100)
	filterOrder = nftables.ChainPriority(0)
)

// Resolve looks up who Options name, and gives the rules. It takes no
// privilege. Users, groups and cgroups that are not there are left out and told
// by Dead; without the daemon's user there are no rules, for its own calls would
// go round in circles.
func Resolve(o Options) (*Rules, error) { return resolve(&resolver{o: o}) }

func resolve(r *resolver) (*Rules, error) {
	o := r.o
	own, err := r.user(o.DaemonUser)
	if err != nil {
		return nil, fmt.Errorf("looking up the user that bearerd runs as: %w; make it (useradd --system --no-create-home --shell /usr/sbin/nologin %s), or name another with redirect.daemon_user", err, o.DaemonUser)
	}
	self := selector{about: "bearerd's own calls", kind: byUser, id: own}
	rules := &Rules{}
	if len(o.Users)+len(o.Groups)+len(o.Cgroups) > 0 {
		if err := rules.redirect(o, self, r.selectors(o.Users, o.Groups, o.Cgroups)); err != nil {
			return nil, err
		}
	}
	if o.GuardIMDS {
		rules.guard(self, r.selectors(o.AllowUsers, nil, o.AllowCgroups))
	}
	if len(rules.chains) == 0 {
		return nil, errors.New("nobody is to be redirected and IMDS is not to be guarded; name users, groups or cgroups under redirect, or set guard_imds: true")
	}
	rules.dead = r.dead
	return rules, nil
}

// Dead tells which selectors were not there.
func (r *Rules) Dead() []*DeadSelector { return r.dead }

func (r *Rules) redirect(o Options, self selector, selected []selector) error {
	if !o.To.IsValid() && !o.To6.IsValid() || len(o.Ports) == 0 {
		return errors.New("no listener or no port is named; write to, to6 and ports under redirect")
	}
	for _, s := range selected {
		if s.kind == byUser && s.id == self.id {
			return fmt.Errorf("%s is what bearerd runs as, whose calls would come back to it for ever; remove it from redirect.users", s.about)
		}
	}
	first := chain{name: chainOutput, kind: nftables.ChainTypeNAT, hook: nftables.ChainHookOutput, order: natOrder}
	// Our own first: whatever selects them otherwise, they are not sent in circles.
	first.rules = append(first.rules, new(rule).by(self).leave().about(self.about))
	// To link-local addresses, of which IMDS's is one, the proxy does not connect by
	// itself, and it could not tell by which interface.
	for _, left := range []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8), single(netip.IPv6Loopback()), linkLocal4, linkLocal6, single(wireServer),
	} {
		first.rules = append(first.rules, new(rule).to(left).leave())
	}
	for _, port := range slices.Compact(slices.Sorted(slices.Values(o.Ports))) {
		first.rules = append(first.rules, new(rule).port(port).goTo(chainSelected))
	}
	second := chain{name: chainSelected}
	for _, s := range selected {
		second.rules = append(second.rules, new(rule).by(s).goTo(chainSteer).about(s.about))
	}
	last := chain{name: chainSteer}
	for _, to := range []netip.AddrPort{o.To, o.To6} {
		if !to.IsValid() {
			continue
		}
		family := familyOf(to.Addr())
		if len(o.Destinations) == 0 {
			last.rules = append(last.rules, new(rule).familyOnly(family).tcpOnly().dnat(to))
		}
		// No sets of the kernel's: a set that comes or goes with the rules
		// counts a moment before or after them, and a call in between went
		// past the proxy. NAT asks for each connection's first packet alone.
		for _, name := range slices.Sorted(maps.Keys(o.Destinations)) {
			for _, p := range o.Destinations[name] {
				if familyOf(p.Addr()) == family {
					last.rules = append(last.rules, new(rule).to(p.Masked()).tcpOnly().dnat(to).about("to "+name))
				}
			}
		}
	}
	r.chains = append(r.chains, first, second, last)
	return nil
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// guard lets root, bearerd and those allowed reach IMDS. Of the machine's own
// packets, those whose socket has an owner are judged by him, and those that
// begin a connection need one: so nothing gets through by hiding its owner, and
// a closed connection's last packets are not broken off.
func (r *Rules) guard(self selector, allowed []selector) {
	imds := func() *rule { return new(rule).to(single(imdsAddress)).port(80) }
	out := chain{name: chainGuardOutput, kind: nftables.ChainTypeFilter, hook: nftables.ChainHookOutput, order: filterOrder}
	for _, s := range append([]selector{{about: "root", kind: byUser}, self}, allowed...) {
		out.rules = append(out.rules, imds().by(s).accept().about(s.about))
	}
	out.rules = append(out.rules, imds().byOther().refuse(), imds().opening().refuse())
	forward := chain{name: chainGuardForward, kind: nftables.ChainTypeFilter, hook: nftables.ChainHookForward, order: filterOrder}
	forward.rules = append(forward.rules, imds().refuse())
	r.chains = append(r.chains, out, forward)
}

// String gives the rules as `nft -f` reads them. Loaded so, they replace what
// is there in one step too.
func (r *Rules) String() string {
	var b strings.Builder
	// Made, so that deleting it cannot fail.
	fmt.Fprintf(&b, "table inet %[1]s\ndelete table inet %[1]s\ntable inet %[1]s {\n", Table)
	// A chain stands before those that lead to it.
	for _, c := range slices.Backward(r.chains) {
		fmt.Fprintf(&b, "\tchain %s {\n", c.name)
		if c.hook != nil {
			hook := map[nftables.ChainHook]string{*nftables.ChainHookOutput: "output", *nftables.ChainHookForward: "forward"}[*c.hook]
			fmt.Fprintf(&b, "\t\ttype %s hook %s priority %d; policy accept;\n", c.kind, hook, c.order)
		}
		for _, rule := range c.rules {
			fmt.Fprintf(&b, "\t\t%s\n", rule)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// inode gives a cgroup's id, which on 64-bit systems is its folder's inode.
func inode(info fs.FileInfo) (uint64, error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, &os.PathError{Op: "stat", Path: info.Name(), Err: errors.ErrUnsupported}
	}
	return stat.Ino, nil
}
