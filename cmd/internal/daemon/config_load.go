package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/bearerd/bearerd/imds"
	identitysource "github.com/bearerd/bearerd/imds/source"
)

// maxFile bounds a configuration file: a thousand times what one needs.
const maxFile = 1 << 20

// Load reads the configuration of a file. Where explicit says that nobody asked
// for that file, which is the default path, a missing one means Default. The
// mistakes in it are joined *Mistake values, in the order of the file.
func Load(path string, explicit bool) (*Config, error) {
	text, err := readFile(path)
	c := Default()
	switch {
	case errors.Is(err, fs.ErrNotExist) && !explicit:
	case err != nil:
		return nil, fmt.Errorf("reading the configuration: %w", err)
	default:
		if c, err = read(path, text); err != nil {
			return nil, err
		}
	}
	c.resolveSources(identitysource.Detect(os.Getenv))
	return c, nil
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
// order of the text: all that can be told at once, up to a hundred. The environment is not asked:
// identities that name no source are IMDS's.
func Parse(name string, text []byte) (*Config, error) {
	c, err := read(name, text)
	if err != nil {
		return nil, err
	}
	c.resolveSources(identitysource.IMDS)
	return c, nil
}

func read(name string, text []byte) (*Config, error) {
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

// resolveSources fills in where the tokens of identities come from that do not
// say so. IMDS is written as nothing, so that one identity has one spelling.
func (c *Config) resolveSources(detected string) {
	all := []*imds.Identity{&c.Identity}
	for i := range c.routes {
		all = append(all, &c.routes[i].rule.Identity)
	}
	for _, id := range all {
		if id.Source == "" {
			id.Source = detected
		}
		if id.Source == identitysource.IMDS {
			id.Source = ""
		}
	}
}
