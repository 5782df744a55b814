package learn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write writes a report whole or not at all, for its owner alone: routes may
// require a field's value.
func Write(file string, report []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".bearerd-learn-*") // mode 0600
	if err == nil {
		defer os.Remove(tmp.Name()) // a failure leaves nothing; after the rename there is nothing
		_, err = tmp.Write(report)
		err = errors.Join(err, tmp.Sync(), tmp.Close())
	}
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("writing what was learned: %w; name a file in a folder that bearerd may write to with --learn", err)
	}
	return nil
}

// KeepEarlier moves a report of an earlier run out of the way, to its name and
// the time when it was written; "" where there is none. What a machine learned
// before it was restarted is no less true.
func KeepEarlier(file string) (kept string, err error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err == nil {
		kept = file + "." + info.ModTime().UTC().Format("20060102T150405Z")
		err = os.Rename(file, kept)
	}
	if err != nil {
		return "", fmt.Errorf("keeping what %s says from before: %w; name another file with --learn", file, err)
	}
	return kept, nil
}
