// Package redirect installs the nftables rules that lead the calls of chosen
// users, groups and cgroups to a transparent listener, and that keep IMDS from
// everybody who is not to ask it. It speaks netlink itself: no nft program is
// needed, and CAP_NET_ADMIN is (except for Resolve and its text).
//
// All rules stand in one table of our own, inet bearerd. Nothing else on the
// machine is touched, and Remove leaves nothing.
package redirect

import (
	"errors"
	"net/netip"
)

// Table is the name of the table, of the family inet.
const Table = "bearerd"

// The addresses that are Azure's on every machine of its own.
var (
	imdsAddress = netip.AddrFrom4([4]byte{169, 254, 169, 254})
	wireServer  = netip.AddrFrom4([4]byte{168, 63, 129, 16})
)

// The addresses that mean something on one link alone (RFC 3927, RFC 4291).
var (
	linkLocal4 = netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254}), 16)
	linkLocal6 = netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfe, 0x80}), 10)
)

// Options say who is redirected where, and who may reach IMDS. Users and groups
// are names or numbers, and cgroups paths as /proc/PID/cgroup writes them; all
// are looked up by Resolve.
type Options struct {
	// DaemonUser is what bearerd runs as. Its calls are never redirected, for
	// they would come back for ever, and it may reach IMDS. Needed.
	DaemonUser string

	Users   []string // whose calls are redirected
	Groups  []string // by the group that a process runs as, not by its others
	Cgroups []string // with all below them
	Ports   []uint16 // which destination ports; needed where anybody is redirected
	// Destinations are sets of addresses by name, to which alone calls are
	// redirected. None: all but loopback, IMDS and the WireServer.
	Destinations map[string][]netip.Prefix
	To, To6      netip.AddrPort // the transparent listeners, on loopback; the zero value: that family is not redirected

	GuardIMDS    bool     // only DaemonUser, root and those allowed reach IMDS
	AllowUsers   []string // who else may
	AllowCgroups []string

	// LookupUser and LookupGroup give the number of a name; nil: the system's.
	LookupUser, LookupGroup func(name string) (uint32, error)
}

// Errors that Resolve, Apply, Verify and Remove give, wrapped with what to do.
var (
	ErrUnsupported = errors.New("nftables is Linux's alone; run this on the Linux machine that the calls leave from")
	ErrPrivilege   = errors.New("it takes the capability CAP_NET_ADMIN; run it as root")
)

// A DeadSelector is a user, group or cgroup that is not there now, so that no
// rule could be made for it.
type DeadSelector struct {
	What string // "user payroll"
	Err  error  // ends with what to do
}

// Error implements error.
func (d *DeadSelector) Error() string { return d.What + ": " + d.Err.Error() }

// Unwrap gives why it is dead.
func (d *DeadSelector) Unwrap() error { return d.Err }
