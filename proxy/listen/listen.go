// Package listen opens the sockets that callers come in by, and bounds how many
// connections they may hold.
//
// Whoever can connect can use the machine's identity, so an address that the
// network reaches is refused unless the configuration insists, and a unix
// socket is never open to more users than its mode says, not even for a moment.
package listen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/bearerd/bearerd/proxy/caller"
)

// Options say what to listen on.
type Options struct {
	// Address is "127.0.0.1:8180", "[::1]:8180", "localhost:8180" (which is
	// 127.0.0.1, or ::1 on a machine without IPv4) or "unix:/run/bearerd/proxy.sock".
	// Port 0 takes any free one.
	Address string
	// Sockets are those that systemd opened; the one at Address is taken, and its
	// mode left as it is.
	Sockets *Sockets
	// InsecureAllowNetwork permits a TCP address that other machines can reach.
	InsecureAllowNetwork bool
	Mode                 fs.FileMode // of a unix socket's file; 0: 0660
	Limits               *Limits     // nil: none
	Observer             Observer    // nil: nobody is told of connections
	// Callers finds out who connected, for caller.Of to tell; nil: nobody looks.
	Callers *caller.Finder
	// HeaderFrom are the load balancers whose TCP connections must begin with the
	// PROXY protocol's header, version 2, and have the remote address that it
	// tells. Empty: nobody's.
	HeaderFrom []netip.Prefix
	// HeaderRefused is told of each connection that was closed because its header
	// is missing or wrong, from any goroutine. Nil: nobody is told.
	HeaderRefused func(balancer netip.Addr, err error)
	// AcceptFailed is told of each failure to accept a connection, from the
	// goroutine that calls Accept. The listener goes on by itself. Nil: nobody is told.
	AcceptFailed func(error)
}

// Observer counts connections. It must be safe for concurrent use.
type Observer interface {
	Accepted() // one more is open
	Closed()   // and one less
}

const defaultMode fs.FileMode = 0o660

// Listener is an open socket. Its connections are *net.TCPConn or *net.UnixConn
// in all that they can do, and tell their caller (caller.Of). It is safe for concurrent use; Close ends it.
type Listener struct {
	inner        net.Listener
	limits       *Limits
	observer     Observer
	callers      *caller.Finder
	acceptFailed func(error)
	closing      chan struct{} // closed by Close
	close        func() error
}

// Open opens the socket that o describes. Errors say what to do.
func Open(ctx context.Context, o Options) (*Listener, error) {
	inner, remove, err := openInner(ctx, &o)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", o.Address, err)
	}
	if _, ok := inner.(*net.TCPListener); ok && len(o.HeaderFrom) > 0 {
		if o.HeaderRefused == nil {
			o.HeaderRefused = func(netip.Addr, error) {}
		}
		inner = newHeaders(inner, o.HeaderFrom, o.HeaderRefused)
	}
	return newListener(inner, o, remove), nil
}

// openInner takes the socket over that is open already, or opens one. What remove
// gives must run after it is closed.
func openInner(ctx context.Context, o *Options) (inner net.Listener, remove func() error, err error) {
	remove = func() error { return nil }
	if inner, err = o.Sockets.open(o.Address); inner != nil || err != nil {
		return inner, remove, err
	}
	if path, ok := strings.CutPrefix(o.Address, "unix:"); ok {
		return openUnix(ctx, path, cmp.Or(o.Mode, defaultMode))
	}
	inner, err = openTCP(ctx, o.Address, o.InsecureAllowNetwork)
	return inner, remove, err
}

// newListener wraps inner; cleanUp runs once, after inner is closed.
func newListener(inner net.Listener, o Options, cleanUp func() error) *Listener {
	l := &Listener{inner: inner, limits: o.Limits, observer: o.Observer, callers: o.Callers, acceptFailed: o.AcceptFailed, closing: make(chan struct{})}
	if l.acceptFailed == nil {
		l.acceptFailed = func(error) {}
	}
	if l.observer == nil {
		l.observer = unobserved{}
	}
	l.close = sync.OnceValue(func() error {
		close(l.closing)
		return errors.Join(inner.Close(), cleanUp())
	})
	return l
}

// unobserved is the Observer that nobody asked for.
type unobserved struct{}

func (unobserved) Accepted() {}
func (unobserved) Closed()   {}

// Addr gives the address that the socket really has, as a *net.TCPAddr or a
// *net.UnixAddr.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Close stops accepting and removes a unix socket's file. Connections live on.
func (l *Listener) Close() error { return l.close() }

const addressHint = "write an address and a port like 127.0.0.1:8180, or unix: and a path"

// openTCP listens on address, which must be of this machine alone unless
// allowNetwork is set.
func openTCP(ctx context.Context, address string, allowNetwork bool) (net.Listener, error) {
	candidates, port, err := parseTCP(address)
	if err != nil {
		return nil, err
	}
	if !allowNetwork && !candidates[0].IsLoopback() {
		return nil, errors.New("other machines can reach that address, and with it this machine's identity; " +
			"listen on 127.0.0.1 or a unix socket, or set insecure_allow_network: true where a firewall keeps strangers out")
	}
	config := net.ListenConfig{
		// A caller that died without a word must not hold its place for good.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true},
	}
	// A caller is looked up by its TCP socket, which Multipath TCP would hide.
	config.SetMultipathTCP(false)
	for _, a := range candidates {
		var inner net.Listener
		inner, err = config.Listen(ctx, tcpNetwork(a), net.JoinHostPort(a.String(), strconv.Itoa(int(port))))
		if err == nil {
			return inner, nil
		}
		if !errors.Is(err, syscall.EADDRNOTAVAIL) && !errors.Is(err, syscall.EAFNOSUPPORT) {
			break // the machine has the family
		}
	}
	err = cause(err)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%w; stop the program that has it (`ss -ltnp` names it), or choose another port", err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%w; choose a port above 1023, or give the process CAP_NET_BIND_SERVICE", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%w; choose an address of this machine (`ip address` lists them)", err)
	}
	return nil, err
}

// cause takes the operation and the address off an error of package net; ours
// tell them already.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// parseTCP gives the addresses to try for address, and its port.
func parseTCP(address string) ([]netip.Addr, uint16, error) {
	host, digits, err := net.SplitHostPort(address)
	if err != nil {
		return nil, 0, errors.New("it is no address and port; " + addressHint)
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return nil, 0, errors.New("the port is not between 0 and 65535; " + addressHint)
	}
	switch {
	case host == "":
		return []netip.Addr{netip.IPv6Unspecified()}, uint16(port), nil
	case strings.EqualFold(host, "localhost"):
		// Not asked of a resolver: it could be made to say something else.
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, uint16(port), nil
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return nil, 0, errors.New("a name may mean several addresses, or others tomorrow; " + addressHint)
	}
	return []netip.Addr{a.Unmap()}, uint16(port), nil
}

// tcpNetwork keeps package net from listening on more than was asked: "tcp"
// makes both families of 0.0.0.0. [::] is both, as everywhere on Linux.
func tcpNetwork(a netip.Addr) string {
	switch {
	case a.Is4():
		return "tcp4"
	case a.IsUnspecified():
		return "tcp"
	default:
		return "tcp6"
	}
}
