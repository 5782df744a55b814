package caller

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
)

// This file tells where a socket's cgroup is. The kernel gives a number alone,
// which is the inode of the cgroup's folder, and turning it into a path asks for
// CAP_DAC_READ_SEARCH (open_by_handle_at(2)), which would let bearerd read every
// file. So the folders are looked at instead.

const (
	// pathsEvery bounds how often all cgroups are looked at to name one in a log,
	// and maxCgroups how many.
	pathsEvery = 10 * time.Second
	maxCgroups = 20_000
)

// placement is a cgroup, and another one's path that it may be below.
type placement struct {
	id    uint64
	named string
}

// cgroupWithin reports whether a cgroup is the named one or below it. Only the
// named one's folders are looked at, so that others who make cgroups without
// number cost nothing. What was found out holds for good: a cgroup never moves,
// its number is not used again, and it was there before it was asked about. What
// could not be looked at for want of descriptors was not found out: the attack is
// a caller that uses them up while another one's cgroup is looked for.
func (f *Finder) cgroupWithin(id uint64, named string) bool {
	if f == nil || f.root == "" {
		return false
	}
	asked := placement{id, named}
	f.mu.RLock()
	found, ok := f.within[asked]
	f.mu.RUnlock()
	if ok {
		return found
	}
	whole := f.walk(filepath.Join(f.root, named), func(_ string, inode uint64) bool {
		found = inode == id
		return !found
	})
	if !found && !whole {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	remember(f.within, asked, found)
	return found
}

// cgroupPath gives the path of a cgroup for people; false where it is not known.
// It decides nothing.
func (f *Finder) cgroupPath(id uint64) (string, bool) {
	if f == nil || f.root == "" {
		return "", false
	}
	f.mu.RLock()
	path, ok := f.paths[id]
	f.mu.RUnlock()
	if ok || !f.mayLook() {
		return path, ok
	}
	paths := make(map[uint64]string)
	f.walk(f.root, func(path string, inode uint64) bool {
		paths[inode] = path
		return len(paths) < maxCgroups
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paths = paths
	path, ok = paths[id]
	return path, ok
}

// mayLook reports whether all cgroups may be looked at now. Of many who ask at
// once, one may.
func (f *Finder) mayLook() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	due := time.Since(f.walked) >= pathsEvery
	if due {
		f.walked = time.Now()
	}
	return due
}

// walk visits the cgroups from a folder down, each with its path below the root,
// until visit gives false. Those that vanish meanwhile, or may not be entered, are
// passed over; whole is false where others could not be looked at.
func (f *Finder) walk(from string, visit func(path string, inode uint64) bool) (whole bool) {
	whole = true
	passOver := func(err error) error {
		whole = whole && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission))
		return nil
	}
	_ = filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return passOver(err)
		}
		if !entry.IsDir() {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return passOver(err)
		}
		inode, ok := inodeOf(info)
		if !ok {
			return nil
		}
		relative := strings.TrimPrefix(path, f.root)
		if relative == "" {
			relative = "/"
		}
		if !visit(relative, inode) {
			return fs.SkipAll
		}
		return nil
	})
	return whole
}
