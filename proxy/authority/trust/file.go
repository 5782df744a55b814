package trust

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// WriteFile writes a file whole or not at all, readable by everybody: what is
// exported is public, and an app that cannot read it does not trust us. A file
// that has the content already is left alone.
func WriteFile(file string, data []byte) error {
	if err := write(file, data); err != nil {
		return fmt.Errorf("writing %s: %w; name a file in a folder that exists and that you may write to", file, err)
	}
	return nil
}

func write(file string, data []byte) error {
	old, err := os.ReadFile(file)
	if err == nil && bytes.Equal(old, data) {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".bearerd-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // a failure leaves nothing; after the rename there is nothing
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
