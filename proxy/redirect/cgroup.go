package redirect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// cgroupRoots is where the version 2 hierarchy is mounted. The zero value has
// not been looked for.
type cgroupRoots struct {
	mountinfo string // the kernel's list; empty: /proc/self/mountinfo
	mount     string
}

// nftRoot is where nft looks for the cgroups that rules name.
const nftRoot = "/sys/fs/cgroup"

// find gives the cgroup of a path like /system.slice/payroll.service.
func (c *cgroupRoots) find(name string) (cgroup, error) {
	clean := path.Clean("/" + name)
	if clean == "/" {
		return cgroup{}, errors.New("the root of the hierarchy holds every process; name a cgroup below it")
	}
	if strings.ContainsAny(clean, "\"\n") {
		return cgroup{}, errors.New("a quotation mark or line break in its path cannot be written as a rule; rename the cgroup")
	}
	if err := c.look(); err != nil {
		return cgroup{}, err
	}
	folder := c.mount + clean
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cgroup{}, fmt.Errorf("%s is not there; start what runs in it and apply again, or name its slice, which outlives a restart", folder)
	case err != nil:
		return cgroup{}, fmt.Errorf("looking the cgroup up: %w; name one that this process sees", err)
	case !info.IsDir():
		return cgroup{}, fmt.Errorf("%s is no cgroup; name its folder", folder)
	}
	id, err := inode(info)
	if err != nil {
		return cgroup{}, err
	}
	return cgroup{id: id, level: uint32(strings.Count(clean, "/")), text: c.text(clean)}, nil
}

// text names a cgroup as nft does. It counts from where the kernel's cgroups
// are mounted, which is above those of version 2 where both versions are.
func (c *cgroupRoots) text(clean string) string {
	return strings.TrimPrefix(strings.TrimPrefix(c.mount+clean, nftRoot), "/")
}

// look finds the mount, once.
func (c *cgroupRoots) look() error {
	if c.mount != "" {
		return nil
	}
	file := c.mountinfo
	if file == "" {
		file = "/proc/self/mountinfo"
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("looking for the cgroup hierarchy: %w; mount /proc", err)
	}
	// Each line: ... root mount options - type source options (proc(5)).
	for line := range strings.Lines(string(text)) {
		before, after, ok := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if !ok || len(fields) < 5 || !strings.HasPrefix(after, "cgroup2 ") || fields[3] != "/" {
			continue
		}
		c.mount = unescapeMount(fields[4])
		return nil
	}
	return errors.New("the kernel's rules know cgroups of version 2 alone, and no such hierarchy is mounted; boot with systemd.unified_cgroup_hierarchy=1, or select by user or group")
}

// unescapeMount undoes what the kernel does to blanks and backslashes.
func unescapeMount(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}
