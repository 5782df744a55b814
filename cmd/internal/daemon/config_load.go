package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxFile bounds a configuration file: a thousand times what one needs.
const maxFile = 1 << 20

// Load reads the configuration of a file. Where explicit says that nobody asked
// for that file, which is the default path, a missing one means Default. The
// mistakes in it are joined *Mistake values, in the order of the file.
func Load(path string, explicit bool) (*Config, error) {
	text, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) && !explicit {
		return Default(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return Parse(path, text)
}

// readFile reads a whole regular file of a bounded size.
func readFile(path string) ([]byte, error) {
	// Asked before it is opened: opening a pipe waits for a writer.
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w; correct the path", path, fs.ErrNotExist) // in the same words on each system
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file; name a file, for it is read again at a reload", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w; let the user that bearerd runs as read it", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s is longer than %s; name the right file", path, showSize(maxFile))
	}
	return text, nil
}

// Parse reads a configuration. name is the file's, for mistakes and for the
// relative paths in it, which count from its folder. Files that it names
// (upstream.ca_file) are read. The mistakes are joined *Mistake values, in the
// order of the text: all that can be told at once, up to a hundred.
func Parse(name string, text []byte) (*Config, error) {
	c := Default()
	c.source.file = name
	root, err := parseYAML(name, text)
	if err != nil {
		return nil, err
	}
	if root != nil {
		take(&c.source, "", root, c.keys())
	}
	c.check()
	if err := c.source.err(); err != nil {
		return nil, err
	}
	return c, nil
}
