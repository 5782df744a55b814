package caller

import (
	"net"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"sync"
	"time"
)

const (
	// accountsFor is how long the database's word on a user holds. It bounds how
	// long somebody who has left a group can still call.
	accountsFor = time.Minute
	// maxRemembered bounds each memory below; a full one starts anew.
	maxRemembered = 4096
)

// Finder finds callers out. New makes one, which needs no closing; it is safe
// for concurrent use. A nil Finder knows nobody.
type Finder struct {
	own      uint32 // bearerd's user
	overflow int64  // the user that stands for all who have no number here; -1: none
	root     string // where cgroup v2 is mounted; empty: nowhere

	mu       sync.RWMutex // guards what follows
	accounts map[uint32]account
	within   map[placement]bool
	paths    map[uint64]string // of cgroups, for people
	walked   time.Time         // when all of them were last looked at
}

// account is what the system's database says of a user.
type account struct {
	name   string
	groups []uint32
	until  time.Time
}

// New makes a Finder.
func New() *Finder {
	return &Finder{
		own: uint32(os.Geteuid()), overflow: overflowUser(), root: cgroupRoot(),
		accounts: make(map[uint32]account), within: make(map[placement]bool), paths: make(map[uint64]string),
	}
}

// Find tells who is at the other end of a connection that was just accepted: a
// *net.UnixConn or a *net.TCPConn. Where the connection was redirected,
// destination is where its caller believes to be connected to, for so the kernel
// knows the caller's socket; else it is the zero value. It takes some
// microseconds, and waits for nothing.
//
// A TCP socket belongs to the user and the cgroup that made it, whoever has been
// handed it since.
func (f *Finder) Find(conn net.Conn, destination netip.AddrPort) *Caller {
	if f == nil {
		return unknown("nobody looked")
	}
	var c *Caller
	switch conn := conn.(type) {
	case *net.UnixConn:
		c = f.findUnix(conn)
	case *net.TCPConn:
		client, okClient := addrPortOf(conn.RemoteAddr())
		server, okServer := addrPortOf(conn.LocalAddr())
		if destination.IsValid() {
			server = destination
		}
		if !okClient || !okServer {
			return unknown("the connection has no address")
		}
		c = f.findTCP(client, server)
		// Last: who sends a request and breaks the connection off, for another to come
		// by the same port, must not be taken for the other. While this end is open,
		// nobody else is at its other end.
		if c.Known && !isOpen(conn) {
			c = unknown("the connection is broken off")
		}
	default:
		return unknown("it came by a connection that the kernel tells nothing of")
	}
	switch {
	case !c.Known:
	case c.UID == f.own:
		// A call of our own is a loop, or made by somebody who could as well read
		// our memory; neither may have what a route gives to others.
		c.Known, c.Unknown = false, "bearerd's own user "+f.userName(c.UID)+" is never a caller"
	case int64(c.UID) == f.overflow:
		c.Known, c.Unknown = false, "its user has no number in bearerd's user namespace"
	}
	c.finder = f
	return c
}

// Assume gives a caller as if it had been found. Nil groups are those that the
// database has for the user.
func (f *Finder) Assume(uid uint32, groups []uint32, cgroup string) *Caller {
	return &Caller{Known: true, UID: uid, Groups: groups, Cgroup: cgroup, finder: f}
}

func addrPortOf(a net.Addr) (netip.AddrPort, bool) {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	return tcp.AddrPort(), tcp.AddrPort().IsValid()
}

// userName gives a user's name and number for people: payroll(1001).
func (f *Finder) userName(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if a := f.account(uid); a.name != "" {
		return printable(a.name) + "(" + number + ")"
	}
	return number
}

// groups gives the groups that the database has for a user. Those of one process
// alone (newgrp, SupplementaryGroups=) a TCP socket does not tell.
func (f *Finder) groups(uid uint32) []uint32 { return f.account(uid).groups }

// account asks the system's database about a user, or remembers what it said.
func (f *Finder) account(uid uint32) account {
	if f == nil {
		return account{}
	}
	now := time.Now()
	f.mu.RLock()
	a, ok := f.accounts[uid]
	f.mu.RUnlock()
	if ok && now.Before(a.until) {
		return a
	}
	a = lookUp(uid)
	a.until = now.Add(accountsFor)
	f.mu.Lock()
	defer f.mu.Unlock()
	remember(f.accounts, uid, a)
	return a
}

// lookUp gives nothing for a user that the database does not have, or while it
// cannot be read: such a user is in no group.
func lookUp(uid uint32) (a account) {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return a
	}
	a.name = u.Username
	ids, err := u.GroupIds()
	if err != nil {
		return a
	}
	for _, text := range ids {
		if id, err := strconv.ParseUint(text, 10, 32); err == nil {
			a.groups = append(a.groups, uint32(id))
		}
	}
	return a
}

// remember puts a value into a bounded memory.
func remember[K comparable, V any](memory map[K]V, k K, v V) {
	if len(memory) >= maxRemembered {
		clear(memory)
	}
	memory[k] = v
}
