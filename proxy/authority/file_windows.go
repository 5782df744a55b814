package authority

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// checkPrivate does nothing: a Windows file has no mode bits, and who may read
// it follows from the access control list that it inherits. Keep state_dir
// where ordinary users have no access, such as below C:\ProgramData with an
// access control list of its own.
func checkPrivate(string, fs.FileInfo, fs.FileInfo) error { return nil }

// checkDir does nothing, for the same reason.
func checkDir(string, fs.FileInfo) error { return nil }

// checkKeyMode does nothing, for the same reason.
func checkKeyMode(string, fs.FileInfo, string) error { return nil }

// tryLock takes an exclusive lock that ends with the handle or the process.
func tryLock(handle *os.File) (bool, error) {
	err := windows.LockFileEx(windows.Handle(handle.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// syncDir does nothing: Windows cannot sync a directory, so that after a power
// cut the previous file, whole, may be there again.
func syncDir(string) error { return nil }
