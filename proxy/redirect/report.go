package redirect

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Report is what a look at the kernel's rules found. It is a file that whoever
// may look writes, for the daemon, which may not.
type Report struct {
	Checked  time.Time `json:"checked"`
	InPlace  bool      `json:"in_place"`
	Problems []string  `json:"problems,omitempty"`
}

// maxReport bounds the file.
const maxReport = 1 << 20

// ReadReport reads the file; the zero Report where there is none.
func ReadReport(file string) (Report, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Report{}, nil
	}
	if err != nil {
		return Report{}, err
	}
	defer f.Close()
	var r Report
	if err := json.NewDecoder(io.LimitReader(f, maxReport)).Decode(&r); err != nil {
		return Report{}, fmt.Errorf("reading %s: %w; run `bearerd redirect verify`, which writes it anew", file, err)
	}
	return r, nil
}

// Write writes the file whole or not at all, readable by everybody.
func (r Report) Write(file string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".bearerd-redirect-*")
	if err == nil {
		defer os.Remove(tmp.Name()) // a failure leaves nothing; after the rename there is nothing
		_, err = tmp.Write(append(text, '\n'))
		err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	}
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("writing the report: %w; name a file in a folder that exists with redirect.report_file", err)
	}
	return nil
}

// RemoveReport removes the file, if it is there.
func RemoveReport(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the report: %w; remove it by hand", err)
	}
	return nil
}
