package redirect

import (
	"fmt"
	"os/user"
	"strconv"
)

// selector is one user, group or cgroup, found on this machine.
type selector struct {
	about string // "user payroll", for the rule's comment
	kind  kind
	id    uint32 // of a user or group
	group cgroup
}

type kind uint8

const (
	byUser kind = iota
	byGroup
	byCgroup
)

// cgroup is a control group as the kernel knows it now: one that is removed and
// made again has another id.
type cgroup struct {
	id    uint64
	level uint32 // how deep below the root of the hierarchy
	text  string // as nft writes it, from /sys/fs/cgroup on
}

// resolver looks names up, and collects the dead.
type resolver struct {
	o     Options
	roots cgroupRoots
	dead  []*DeadSelector
}

func (r *resolver) user(name string) (uint32, error) {
	return number(name, r.o.LookupUser, func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
}

func (r *resolver) group(name string) (uint32, error) {
	return number(name, r.o.LookupGroup, func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
}

// number takes a number as it is, and looks a name up. The highest number means
// "none" to the kernel.
func number(name string, lookup func(string) (uint32, error), system func(string) (string, error)) (uint32, error) {
	if id, err := strconv.ParseUint(name, 10, 32); err == nil && id != 1<<32-1 {
		return uint32(id), nil
	}
	if lookup != nil {
		return lookup(name)
	}
	text, err := system(name)
	if err != nil {
		return 0, err
	}
	id, err := strconv.ParseUint(text, 10, 32)
	return uint32(id), err
}

// selectors gives those of a list that are there.
func (r *resolver) selectors(users, groups, cgroups []string) (found []selector) {
	for _, name := range users {
		about := "user " + name
		id, err := r.user(name)
		if err != nil {
			r.dead = append(r.dead, &DeadSelector{about, fmt.Errorf("%w; make the user, correct the name, or write the number of one that a directory service knows", err)})
			continue
		}
		found = append(found, selector{about: about, kind: byUser, id: id})
	}
	for _, name := range groups {
		about := "group " + name
		id, err := r.group(name)
		if err != nil {
			r.dead = append(r.dead, &DeadSelector{about, fmt.Errorf("%w; make the group, correct the name, or write the number of one that a directory service knows", err)})
			continue
		}
		found = append(found, selector{about: about, kind: byGroup, id: id})
	}
	for _, path := range cgroups {
		about := "cgroup " + path
		group, err := r.roots.find(path)
		if err != nil {
			r.dead = append(r.dead, &DeadSelector{about, err})
			continue
		}
		found = append(found, selector{about: about, kind: byCgroup, group: group})
	}
	return found
}
