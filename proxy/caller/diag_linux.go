package caller

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// Supported reports whether this system tells who is at the other end.
const Supported = true

// This file asks the kernel's socket diagnostics (sock_diag(7)) about one socket,
// by its addresses and ports. The request goes by a hash table, so that it costs
// the same however many sockets there are. No library is used: vishvananda/netlink
// reads neither the cgroup nor IPv6 addresses mapped from IPv4.

const (
	headerSize  = 16 // struct nlmsghdr
	requestSize = headerSize + 56
	answerSize  = 72 // struct inet_diag_msg
	// attrCgroup is INET_DIAG_CGROUP_ID (linux/inet_diag.h), sent since Linux 5.8.
	attrCgroup = 21
)

// The states of a TCP socket in which its process still has it, while the other
// side has not closed (include/net/tcp_states.h).
const (
	established = 1
	finWait1    = 4
	finWait2    = 5
)

// socket is what the kernel says of one.
type socket struct {
	state  uint8
	uid    uint32
	inode  uint32
	cgroup uint64 // 0: not said
}

// findTCP asks who has the socket at the other end of a connection from client to
// server.
func (f *Finder) findTCP(client, server netip.AddrPort) *Caller {
	s, err := ask(client, server)
	switch {
	case errors.Is(err, unix.ENOENT):
		return unknown("no process of this machine has the other end of the connection, or it is closed")
	case err != nil:
		return unknown("the kernel's socket diagnostics failed: " + err.Error())
	case !s.owned():
		return unknown("the other end of the connection is closed or not yet open")
	}
	return &Caller{Known: true, UID: s.uid, CgroupID: s.cgroup}
}

// owned reports whether the user is the socket's owner. Of a socket that no
// process has any more, or that remembers a connection alone, the kernel says 0,
// which is root's number. A socket that is about to connect may belong to
// somebody who sends under another's address and will get no answer. Where a
// socket is gone, the kernel looks for one that listens on its port.
func (s socket) owned() bool {
	switch s.state {
	case established, finWait1, finWait2: // the latter two after shutdown(2) alone, if there is an inode
		return s.inode != 0
	}
	return false
}

// isOpen reports whether the other side has not broken the connection off, and
// nothing else has ended it.
func isOpen(conn *net.TCPConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	open := false
	err = raw.Control(func(fd uintptr) {
		const closed = 7 // include/net/tcp_states.h
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		open = err == nil && info.State != closed
	})
	return err == nil && open
}

// ask sends the request on a socket of its own, so that no answer can be taken
// for that to another question.
func ask(client, server netip.AddrPort) (s socket, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return s, fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	var request [requestSize]byte
	if err := fillRequest(&request, client, server); err != nil {
		return s, err
	}
	if err := unix.Sendto(fd, request[:], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return s, fmt.Errorf("send: %w", err)
	}
	// The kernel answers before send returns; what is not there by now will
	// never be.
	var answer [1024]byte
	n, from, err := unix.Recvfrom(fd, answer[:], unix.MSG_DONTWAIT)
	if err != nil {
		return s, fmt.Errorf("receive: %w", err)
	}
	if kernel, ok := from.(*unix.SockaddrNetlink); !ok || kernel.Pid != 0 {
		return s, errors.New("the answer is not the kernel's")
	}
	return parseAnswer(answer[:n], client.Port(), server.Port())
}

// fillRequest writes the request for one socket: that of the caller, for which
// client is its own address and server the other one (struct inet_diag_req_v2).
func fillRequest(b *[requestSize]byte, client, server netip.AddrPort) error {
	// Of a socket for IPv6 that is connected over IPv4 the kernel keeps both
	// forms, and finds it by the IPv4 one.
	from, to := client.Addr().Unmap(), server.Addr().Unmap()
	if from.Is4() != to.Is4() {
		return errors.New("the two addresses are of different families")
	}
	native := binary.NativeEndian
	native.PutUint32(b[0:], requestSize)
	native.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	native.PutUint16(b[6:], unix.NLM_F_REQUEST)
	native.PutUint32(b[8:], 1) // sequence
	r := b[headerSize:]
	r[0], r[1] = unix.AF_INET6, unix.IPPROTO_TCP
	if from.Is4() {
		r[0] = unix.AF_INET
	}
	native.PutUint32(r[4:], ^uint32(0)) // any state, which is judged here
	id := r[8:]
	binary.BigEndian.PutUint16(id[0:], client.Port())
	binary.BigEndian.PutUint16(id[2:], server.Port())
	copy(id[4:20], from.AsSlice())
	copy(id[20:36], to.AsSlice())
	native.PutUint32(id[36:], interfaceOf(from))
	native.PutUint64(id[40:], ^uint64(0)) // any cookie
	return nil
}

// interfaceOf gives the interface of an address with a zone, to which a socket
// that has it is bound; 0 for any.
func interfaceOf(a netip.Addr) uint32 {
	zone := a.Zone()
	if zone == "" {
		return 0
	}
	if index, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(index)
	}
	link, err := net.InterfaceByName(zone)
	if err != nil {
		return 0
	}
	return uint32(link.Index)
}

// parseAnswer reads the kernel's answer about a socket between two ports.
func parseAnswer(b []byte, own, other uint16) (s socket, err error) {
	native := binary.NativeEndian
	if len(b) < headerSize+4 {
		return s, errors.New("the answer is cut off")
	}
	switch kind := native.Uint16(b[4:]); kind {
	case unix.NLMSG_ERROR:
		if errno := -int32(native.Uint32(b[headerSize:])); errno > 0 {
			return s, unix.Errno(errno)
		}
		return s, errors.New("the answer says nothing")
	case unix.SOCK_DIAG_BY_FAMILY:
	default:
		return s, fmt.Errorf("the answer is of type %d", kind)
	}
	size := int(native.Uint32(b))
	if size > len(b) || size < headerSize+answerSize {
		return s, errors.New("the answer is cut off")
	}
	m, attributes := b[headerSize:size], b[headerSize+answerSize:size]
	if binary.BigEndian.Uint16(m[4:]) != own || binary.BigEndian.Uint16(m[6:]) != other {
		return s, unix.ENOENT // a listener, at best
	}
	s = socket{state: m[1], uid: native.Uint32(m[64:]), inode: native.Uint32(m[68:])}
	for len(attributes) >= 4 {
		length := int(native.Uint16(attributes))
		if length < 4 || length > len(attributes) {
			break
		}
		if native.Uint16(attributes[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == attrCgroup && length == 12 {
			s.cgroup = native.Uint64(attributes[4:])
		}
		attributes = attributes[min((length+3)&^3, len(attributes)):]
	}
	return s, nil
}
