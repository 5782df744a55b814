//go:build unix

package authority

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// checkPrivate says why a file cannot be ours alone: others can read it, or
// somebody else made it.
func checkPrivate(path string, file, dir fs.FileInfo) error {
	if !file.Mode().IsRegular() {
		return fmt.Errorf("authority: %s is not a regular file; remove it and %s", path, renewHint)
	}
	if mode := file.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("authority: %s has mode %04o, so that others may have its key; run `chmod 600 %[1]s`, and if a stranger can have read it, %[3]s", path, mode, renewHint)
	}
	owner, ok := ownerOf(file)
	dirOwner, dirOK := ownerOf(dir)
	if ok && dirOK && !trustedOwner(owner, os.Geteuid(), dirOwner) {
		return fmt.Errorf("authority: %s belongs to user %d, who could have put it there; if that is right, run `chown %[3]d %[1]s`, else %[4]s", path, owner, os.Geteuid(), renewHint)
	}
	return checkDir(filepath.Dir(path), dir)
}

// checkDir says why others could replace files in a directory.
func checkDir(path string, dir fs.FileInfo) error {
	if mode := dir.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("authority: the directory %s has mode %04o, so that others can replace what is in it; run `chmod go-w %[1]s`, or set state_dir to a directory below it that is still to be made", path, mode)
	}
	return nil
}

// checkKeyMode says why strangers can have a key that the operator provides. A
// group may read it, as ssl-cert does on Debian and fsGroup on Kubernetes. hint is
// what to do where a stranger has read it.
func checkKeyMode(path string, key fs.FileInfo, hint string) error {
	if mode := key.Mode().Perm(); mode&0o027 != 0 {
		return fmt.Errorf("%s has mode %04o, so that others have the key; run `chmod 600 %[1]s` (or 640), and if a stranger can have read it, %[3]s", path, mode, hint)
	}
	return nil
}

// trustedOwner says whether a file of owner may be our authority: our own and
// root's, and for root, who runs `ca export` for the daemon, also that of the
// user whom the directory belongs to.
func trustedOwner(owner, self, dirOwner int) bool {
	return owner == self || owner == 0 || (self == 0 && owner == dirOwner)
}

func ownerOf(info fs.FileInfo) (uid int, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

// tryLock takes an exclusive lock that ends with the handle or the process.
func tryLock(handle *os.File) (bool, error) {
	for {
		err := syscall.Flock(int(handle.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, err
		}
	}
}

// syncDir makes a rename survive a power cut.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	// Some network file systems have no such operation, and write at once.
	if err := dir.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}
