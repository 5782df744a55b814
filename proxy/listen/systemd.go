package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
)

// Sockets are those that systemd opened for this process (sd_listen_fds(3)), and
// keeps open while nobody serves them: what connects meanwhile waits. A listener
// takes the one at its address, whatever the socket is called: an address is
// what a caller, and the rule on who may reach it, go by. Nil: there are none.
// They are never closed, and are safe for concurrent use.
type Sockets struct{ all []socket }

type socket struct {
	file    *os.File
	address netip.AddrPort // of TCP
	path    string         // of a unix socket
}

// NewSockets takes the files over that systemd has passed. They are listening
// sockets of streams, or there is an error that says what to do.
func NewSockets(files []*os.File) (*Sockets, error) {
	if len(files) == 0 {
		return nil, nil
	}
	s := &Sockets{}
	for _, file := range files {
		one := socket{file: file}
		opened, err := net.FileListener(file)
		if err != nil {
			return nil, fmt.Errorf("the socket %s that systemd passes: %w; list streams alone in the socket unit, with Accept=no", file.Name(), cause(err))
		}
		switch a := opened.Addr().(type) {
		case *net.TCPAddr:
			one.address = unmapped(a.AddrPort())
		case *net.UnixAddr:
			one.path = a.Name
		}
		if err := errors.Join(opened.Close(), one.check()); err != nil {
			return nil, err
		}
		s.all = append(s.all, one)
	}
	return s, nil
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// check looks for a unix socket that more users than its own and its group's
// can connect to: systemd's default mode is 0666.
func (s *socket) check() error {
	if s.path == "" {
		return nil
	}
	info, err := os.Stat(s.path)
	if err != nil {
		return fmt.Errorf("the socket that systemd passes: %w", err)
	}
	if info.Mode().Perm()&^defaultMode != 0 {
		return fmt.Errorf("every user can connect to %s, which systemd opened with mode %#o; write SocketMode=0660 into the socket unit, with SocketUser= and SocketGroup=", s, info.Mode().Perm())
	}
	return nil
}

// String gives the address as the configuration writes it.
func (s *socket) String() string {
	if s.path != "" {
		return "unix:" + s.path
	}
	return s.address.String()
}

func (s *socket) isAt(address string) bool {
	if s.path != "" {
		return address == "unix:"+s.path
	}
	at, err := netip.ParseAddrPort(address)
	return err == nil && unmapped(at) == s.address
}

// Unnamed gives the sockets at none of the addresses. Who connects to one would
// wait for ever.
func (s *Sockets) Unnamed(addresses []string) (unnamed []string) {
	if s == nil {
		return nil
	}
	for _, one := range s.all {
		if !slices.ContainsFunc(addresses, one.isAt) {
			unnamed = append(unnamed, one.String())
		}
	}
	return unnamed
}

// open listens on the socket at address; nil where systemd opened none there.
func (s *Sockets) open(address string) (net.Listener, error) {
	if s == nil {
		return nil, nil
	}
	at := slices.IndexFunc(s.all, func(one socket) bool { return one.isAt(address) })
	if at < 0 {
		return nil, nil
	}
	return net.FileListener(s.all[at].file)
}
