package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// extension is that of the roots' files in a system's folder: Debian's and
// Alpine's tools pass over others, and want one certificate in each file.
const extension = ".crt"

// System is the trust store that all programs of a system share. Its zero value
// is this machine's.
type System struct {
	Dir string // where the file system's root is; empty: "/"
	// Run runs a tool of the system's; nil: as a process. The error tells what
	// the tool said.
	Run func(ctx context.Context, name string, args ...string) error
}

// maxRoots bounds how many roots are installed: the authority's and the RSA
// one's, each with those of before and after its renewal.
const maxRoots = 8

// family is a way in which distributions take in roots: as files in a folder,
// from which a tool makes the store.
type family struct {
	folder string
	sign   string // a folder that only such systems have
	tool   []string
	// conf is the tool's configuration, where it keeps what it has made of a file
	// that is gone unless it is told so there; empty: it does not.
	conf string
}

// families are told apart by their folders rather than by the name of the
// distribution, which has more values than anybody lists. The order counts:
// openSUSE has a tool of Debian's name, and reads another folder.
var families = []family{
	// RHEL, Fedora, Amazon Linux, Azure Linux
	{folder: "/etc/pki/ca-trust/source/anchors", sign: "/etc/pki/ca-trust/source", tool: []string{"update-ca-trust", "extract"}},
	// SUSE
	{folder: "/etc/pki/trust/anchors", sign: "/etc/pki/trust", tool: []string{"update-ca-certificates"}},
	// Arch
	{folder: "/etc/ca-certificates/trust-source/anchors", sign: "/etc/ca-certificates/trust-source", tool: []string{"update-ca-trust"}},
	// Debian, Ubuntu, and Alpine, whose tool looks at no argument and needs none
	{folder: "/usr/local/share/ca-certificates", sign: "/usr/share/ca-certificates", tool: []string{"update-ca-certificates"}, conf: "/etc/ca-certificates.conf"},
}

// Install has the system trust the roots, in place of those that were installed
// before, and gives the files that they are in. To install what is there already
// brings the store up to date.
func (s *System) Install(ctx context.Context, roots Roots) (files []string, err error) {
	if len(roots.certs) > maxRoots {
		return nil, fmt.Errorf("%d roots are too many to install; %d are the most", len(roots.certs), maxRoots)
	}
	f, err := s.family()
	if err != nil {
		return nil, err
	}
	if s.outdated(f, roots) {
		if _, err := s.Uninstall(ctx); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(s.path(f.folder), 0o755); err != nil {
		return nil, asRoot(err)
	}
	for i, cert := range roots.certs {
		if err := write(s.file(f, i), encode(cert)); err != nil {
			return nil, asRoot(err)
		}
		files = append(files, s.file(f, i))
	}
	if err := s.run(ctx, f.tool...); err != nil {
		return nil, fmt.Errorf("%s is there, and the store does not have it yet: %w; mend that, then install it again", strings.Join(files, ", "), err)
	}
	return files, nil
}

// outdated says whether others than roots are installed. Debian's tool takes a
// file of the same name for the same root, so that those must go first.
func (s *System) outdated(f *family, roots Roots) bool {
	for i := range maxRoots {
		have, err := os.ReadFile(s.file(f, i))
		if err == nil && (i >= len(roots.certs) || !bytes.Equal(have, encode(roots.certs[i]))) {
			return true
		}
	}
	return false
}

// Uninstall has the system trust no root that Install installed, and gives the
// files that they were in. The store is brought up to date even if there were
// none.
func (s *System) Uninstall(ctx context.Context) (files []string, err error) {
	f, err := s.family()
	if err != nil {
		return nil, err
	}
	for i := range maxRoots {
		switch err := os.Remove(s.file(f, i)); {
		case err == nil:
			files = append(files, s.file(f, i))
		case !errors.Is(err, fs.ErrNotExist):
			return nil, asRoot(err)
		}
	}
	if err := s.forget(ctx, f); err != nil {
		return nil, fmt.Errorf("the root's file is removed, and the store may still have it: %w; mend that, then uninstall it again", err)
	}
	return files, nil
}

// forget brings the store up to date where files are gone. Debian's tool leaves
// their links, and Java's store untold, unless its configuration strikes them out.
func (s *System) forget(ctx context.Context, f *family) error {
	if f.conf == "" {
		return s.run(ctx, f.tool...)
	}
	lines, err := os.ReadFile(s.path(f.conf))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	lines = append(lines, '\n')
	for i := range maxRoots {
		lines = append(lines, "!"+alias(i)+extension+"\n"...)
	}
	conf, err := os.CreateTemp("", "bearerd-ca-certificates-*.conf")
	if err != nil {
		return err
	}
	defer os.Remove(conf.Name())
	_, err = conf.Write(lines)
	if err := errors.Join(err, conf.Close()); err != nil {
		return err
	}
	return s.run(ctx, append(slices.Clone(f.tool), "--certsconf", conf.Name())...)
}

func (s *System) family() (*family, error) {
	for i, f := range families {
		for _, folder := range []string{f.folder, f.sign} {
			if info, err := os.Stat(s.path(folder)); err == nil && info.IsDir() {
				return &families[i], nil
			}
		}
	}
	return nil, errors.New("no trust store of a known kind is on this system (Debian, Alpine, RHEL, SUSE and Arch are known); install the package ca-certificates, or write the root with `bearerd ca export --out FILE` and install it with the system's own means")
}

// file is where the root at i is installed.
func (s *System) file(f *family, i int) string { return s.path(f.folder, alias(i)+extension) }

func (s *System) path(parts ...string) string {
	return filepath.Join(append([]string{s.Dir, "/"}, parts...)...)
}

func (s *System) run(ctx context.Context, tool ...string) error {
	run := s.Run
	if run == nil {
		run = runTool
	}
	return run(ctx, tool[0], tool[1:]...)
}

// runTool keeps what the tool prints for the error: it says "1 added" where all
// is well, and that is told better.
func runTool(ctx context.Context, name string, args ...string) error {
	said, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(said)))
	}
	return nil
}

func asRoot(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; run this as root", err)
	}
	return err
}
