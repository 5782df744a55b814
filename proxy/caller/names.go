package caller

import (
	"slices"
	"strings"
)

// Names are the callers that a route names. The zero value names nobody, which a
// route takes for everybody.
type Names struct {
	Users        []Account
	Groups       []Account
	Cgroups      []string // as ParseCgroup gives them; what is below one belongs to it
	Certificates []string // as ParseCertificate gives them
}

// Account is a user or a group, as the configuration names it.
type Account struct {
	Name string // what the configuration says, which may be the number
	ID   uint32
}

// Empty reports whether nobody is named.
func (n *Names) Empty() bool {
	return len(n.Users)+len(n.Groups)+len(n.Cgroups)+len(n.Certificates) == 0
}

// Match reports whether a caller is named, in any of the lists. It asks the
// system's database, or the tree of cgroups, where groups or cgroups decide and
// what they said of this caller is forgotten. It does not allocate otherwise.
func (n *Names) Match(c *Caller) bool {
	if c == nil {
		return false
	}
	for _, name := range c.Certificates {
		if slices.Contains(n.Certificates, name) {
			return true
		}
	}
	if !c.Known {
		return false
	}
	for _, u := range n.Users {
		if u.ID == c.UID {
			return true
		}
	}
	if len(n.Groups) > 0 {
		groups := c.Groups
		if groups == nil {
			groups = c.finder.groups(c.UID)
		}
		for _, g := range n.Groups {
			if slices.Contains(groups, g.ID) {
				return true
			}
		}
	}
	for _, named := range n.Cgroups {
		if c.Cgroup != "" && within(c.Cgroup, named) || c.CgroupID != 0 && c.finder.cgroupWithin(c.CgroupID, named) {
			return true
		}
	}
	return false
}

// Covers reports whether n names all whom other names, so that nobody is left to
// a route of other's behind one of n's.
func (n *Names) Covers(other *Names) bool {
	if n.Empty() {
		return true
	}
	if other.Empty() {
		return false
	}
	sameID := func(a Account) func(Account) bool { return func(b Account) bool { return a.ID == b.ID } }
	for _, a := range other.Users {
		if !slices.ContainsFunc(n.Users, sameID(a)) {
			return false
		}
	}
	for _, a := range other.Groups {
		if !slices.ContainsFunc(n.Groups, sameID(a)) {
			return false
		}
	}
	for _, path := range other.Cgroups {
		if !slices.ContainsFunc(n.Cgroups, func(named string) bool { return within(path, named) }) {
			return false
		}
	}
	for _, name := range other.Certificates {
		if !slices.Contains(n.Certificates, name) {
			return false
		}
	}
	return true
}

// String lists the names for people: users payroll, reports; groups finance.
func (n *Names) String() string {
	var parts []string
	add := func(what string, names []string) {
		if len(names) > 0 {
			parts = append(parts, what+" "+strings.Join(names, ", "))
		}
	}
	add("users", accountNames(n.Users))
	add("groups", accountNames(n.Groups))
	add("cgroups", n.Cgroups)
	add("certificates", n.Certificates)
	return strings.Join(parts, "; ")
}

func accountNames(accounts []Account) []string {
	names := make([]string, len(accounts))
	for i, a := range accounts {
		names[i] = a.Name
	}
	return names
}

// within reports whether a cgroup is another one or below it.
func within(path, named string) bool {
	rest, ok := strings.CutPrefix(path, named)
	return ok && (rest == "" || rest[0] == '/')
}
