package listen

import (
	"net"
	"net/netip"
	"sync"

	"github.com/bearerd/bearerd/proxy/caller"
)

// Limit names one bound on connections.
type Limit string

// The bounds, as metrics name them.
const (
	LimitTotal     Limit = "total"      // a connection had to wait until another one ended
	LimitPerCaller Limit = "per_caller" // a connection was closed at once
)

// LimitOptions are what Limits are made of. The zero value is usable.
type LimitOptions struct {
	Total     int // connections at once, of all callers; 0: 10000
	PerCaller int // and of one caller; 0: 2000
	// Reached is called for each connection that meets a bound, from any
	// goroutine. Nil: nobody is told.
	Reached func(Limit)
}

// Limits bound the connections of any number of listeners together. A caller is
// a user of this machine, where the kernel tells which, else a remote address (of
// IPv6 its first 64 bits, which one host may have to itself). Where no listener
// asks the kernel, or the system is not Linux, all programs of this machine are
// one caller: over TCP by their address, and, but for Linux, over unix sockets.
type Limits struct {
	slots     chan struct{} // holds one value for each open connection
	perCaller int
	reached   func(Limit)

	mu   sync.Mutex // guards what follows
	open map[callerKey]int
}

// callerKey tells callers apart. The zero value is a caller that is not known.
type callerKey struct {
	addr  netip.Addr
	uid   uint32
	isUID bool
}

// NewLimits makes Limits, which need no closing.
func NewLimits(o LimitOptions) *Limits {
	if o.Total == 0 {
		o.Total = 10000
	}
	if o.PerCaller == 0 {
		o.PerCaller = 2000
	}
	if o.Reached == nil {
		o.Reached = func(Limit) {}
	}
	return &Limits{
		slots:     make(chan struct{}, o.Total),
		perCaller: o.PerCaller,
		reached:   o.Reached,
		open:      make(map[callerKey]int),
	}
}

// admit counts a connection of caller, waiting for a place among all until
// closing ends. It is false where the connection must be closed; otherwise
// release gives the place back. Nil Limits admit all.
//
// The place is taken after the connection was accepted: with one that waits to
// be accepted, an idle listener would hold what another one needs.
func (l *Limits) admit(caller callerKey, closing <-chan struct{}) (release func(), ok bool) {
	if l == nil {
		return func() {}, true
	}
	if !l.enter(caller) {
		l.reached(LimitPerCaller)
		return nil, false
	}
	select {
	case l.slots <- struct{}{}:
	default:
		l.reached(LimitTotal)
		select {
		case l.slots <- struct{}{}:
		case <-closing:
			l.leave(caller)
			return nil, false
		}
	}
	return func() {
		<-l.slots
		l.leave(caller)
	}, true
}

// Full reports whether the next connection has to wait for another one's end.
func (l *Limits) Full() bool { return l != nil && len(l.slots) == cap(l.slots) }

func (l *Limits) enter(caller callerKey) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[caller] >= l.perCaller {
		return false
	}
	l.open[caller]++
	return true
}

func (l *Limits) leave(caller callerKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[caller]--; l.open[caller] == 0 {
		delete(l.open, caller)
	}
}

// callerOf says whose place conn takes, of whom who is what is known.
func callerOf(conn net.Conn, who *caller.Caller) callerKey {
	if who != nil && who.Known {
		return callerKey{uid: who.UID, isUID: true}
	}
	if c, ok := conn.(*net.UnixConn); ok {
		uid, _, known := peerOf(c)
		return callerKey{uid: uid, isUID: known}
	}
	if remote, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return callerAt(remote.AddrPort().Addr())
	}
	return callerKey{}
}

func callerAt(addr netip.Addr) callerKey {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() && !addr.IsLoopback() {
		return callerKey{addr: netip.PrefixFrom(addr, 64).Masked().Addr()}
	}
	return callerKey{addr: addr}
}
