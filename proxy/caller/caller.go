// Package caller answers who is at the other end of a connection, and whether a
// route names them.
//
// It hides how the kernel is asked: for a unix socket by the credentials that it
// noted when the peer connected, for TCP within this machine by the owner of the
// socket at the other end. Only what the kernel says for certain counts. Where it
// does not, the caller is unknown, and an unknown caller is nobody: no route that
// names callers takes its calls.
package caller

import (
	"crypto/x509"
	"fmt"
	"strconv"
	"strings"
)

// Caller is who is at the other end of a connection. It is not to be changed
// once it is used, and then safe for concurrent use. The zero value, and nil, are
// a caller of whom nothing is known.
type Caller struct {
	// Known is set where UID is the user for certain. Otherwise Unknown tells
	// why not, for people.
	Known   bool
	Unknown string
	UID     uint32
	// Groups are those of the process that connected, which the kernel tells for
	// unix sockets. Nil: those that the system's database has for the user.
	Groups   []uint32
	PID      int    // of the process that connected; 0: not known, as for TCP
	Cgroup   string // path below the root of cgroup v2, where the process tells it
	CgroupID uint64 // of the socket, which TCP has in place of Cgroup; 0: not known
	// Certificates are the names in a client certificate that was verified.
	Certificates []string

	finder *Finder // what was asked, and can be asked more; nil: nothing
}

// unknown is a caller of whom no more is known than why.
func unknown(why string) *Caller { return &Caller{Unknown: why} }

// WithCertificate gives the same caller with the names of a client certificate,
// whose chain the listener has verified.
func (c *Caller) WithCertificate(leaf *x509.Certificate) *Caller {
	with := Caller{Unknown: "nobody looked"}
	if c != nil {
		with = *c
	}
	with.Certificates = namesOf(leaf)
	return &with
}

// namesOf lists the names that a certificate vouches for. The common name counts
// where it has no other, as in old authorities' certificates.
func namesOf(leaf *x509.Certificate) []string {
	names := make([]string, 0, len(leaf.DNSNames)+len(leaf.URIs)+len(leaf.EmailAddresses))
	for _, name := range leaf.DNSNames {
		names = append(names, strings.ToLower(name))
	}
	for _, uri := range leaf.URIs {
		names = append(names, uri.String())
	}
	names = append(names, leaf.EmailAddresses...)
	if len(names) == 0 && len(leaf.IPAddresses) == 0 && leaf.Subject.CommonName != "" {
		names = append(names, leaf.Subject.CommonName)
	}
	return names
}

// String tells who it is, for logs and reasons:
// user=payroll(1001) cgroup=/system.slice/payroll.service pid=4711.
func (c *Caller) String() string {
	if c == nil {
		return "unknown (nobody looked)"
	}
	var parts []string
	switch {
	case c.Known:
		parts = append(parts, "user="+c.finder.userName(c.UID))
	case c.Unknown == "":
		parts = append(parts, "unknown (nobody looked)")
	default:
		parts = append(parts, "unknown ("+c.Unknown+")")
	}
	if path := c.cgroup(); path != "" {
		parts = append(parts, "cgroup="+printable(path))
	}
	if c.PID != 0 {
		parts = append(parts, "pid="+strconv.Itoa(c.PID))
	}
	for _, name := range c.Certificates {
		parts = append(parts, "certificate="+printable(name))
	}
	return strings.Join(parts, " ")
}

// Names tells by which names people know the caller: its user's, without the
// number, and its cgroup's path. Either is empty where it is not known.
func (c *Caller) Names() (user, cgroup string) {
	if c == nil {
		return "", ""
	}
	if c.Known {
		user = c.finder.account(c.UID).name
	}
	return user, c.cgroup()
}

// Name tells who it is in the fewest words: the user, else what a client
// certificate says, else "unknown".
func (c *Caller) Name() string {
	switch {
	case c == nil:
	case c.Known:
		return c.finder.userName(c.UID)
	case len(c.Certificates) > 0:
		return printable(c.Certificates[0])
	}
	return "unknown"
}

// Account gives the user as a route would name it: by the name that the system's
// database has, else by the number. false: it is not known for certain.
func (c *Caller) Account() (Account, bool) {
	if c == nil || !c.Known {
		return Account{}, false
	}
	if name := c.finder.account(c.UID).name; name != "" {
		// It must lead back to the same user.
		if a, err := ParseUser(name); err == nil && a.ID == c.UID {
			return a, true
		}
	}
	return Account{Name: strconv.FormatUint(uint64(c.UID), 10), ID: c.UID}, true
}

// printable quotes what a log's reader could take for something else: users name
// their own cgroups, and authorities certificates.
func printable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' }) {
		return fmt.Sprintf("%+q", text)
	}
	return text
}

// cgroup gives the path of the caller's cgroup for people: empty where it is not
// known, and the kernel's number where the path cannot be found.
func (c *Caller) cgroup() string {
	if c.Cgroup != "" || c.CgroupID == 0 {
		return c.Cgroup
	}
	if path, ok := c.finder.cgroupPath(c.CgroupID); ok {
		return path
	}
	return "#" + strconv.FormatUint(c.CgroupID, 10)
}
