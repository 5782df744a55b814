package caller

import (
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// cgroupRoot finds where cgroup v2 is mounted whole: /sys/fs/cgroup, or beside
// version 1 /sys/fs/cgroup/unified. Empty: nowhere.
func cgroupRoot() string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		mount, kind, ok := strings.Cut(line, " - ") // proc_pid_mountinfo(5)
		fields := strings.Fields(mount)
		if ok && strings.HasPrefix(kind, "cgroup2 ") && len(fields) > 4 && fields[3] == "/" {
			return fields[4]
		}
	}
	return ""
}

func inodeOf(info fs.FileInfo) (uint64, bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return uint64(stat.Ino), true
}
