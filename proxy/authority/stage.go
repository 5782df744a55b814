package authority

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// This file changes an authority that apps trust for another one without a
// moment at which an app does not trust the one that signs: the next one is made,
// its root is exported beside today's until every app has both, and then it
// signs. The former root stays exported, for a daemon that runs still signs by it.

// Stage makes the authority that is to come after the one in o.Dir, for
// o.Permit, o.Also and o.Wildcards. It signs nothing until Promote; from now on
// what Load and Open give exports both roots.
//
// One that is staged already is kept (the error wraps fs.ErrExist) unless again
// is set.
func Stage(ctx context.Context, o Options, again bool) (*Root, error) {
	f, err := o.ownFile()
	if err != nil {
		return nil, err
	}
	permit, err := permits(o.offered())
	if err != nil {
		return nil, err
	}
	unlock, err := f.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := f.load(); err != nil {
		return nil, err
	}
	next := f.next()
	if _, err := os.Lstat(next.path); !again && !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, fmt.Errorf("authority: %w; check state_dir", err)
		}
		return nil, fmt.Errorf("authority: %s: %w; apps may trust its root already: run `bearerd ca promote` once all do, or to make another one `bearerd ca stage --again`", next.path, fs.ErrExist)
	}
	keys, err := next.create(permit)
	if err != nil {
		return nil, err
	}
	return &Root{keys: keys, path: next.path, hint: next.hint}, nil
}

// stageHint ends what an operator reads where a staged authority cannot be used.
const stageHint = "run `bearerd ca stage --again` and make every app trust the new root"

// Staged reads the authority that Stage made; the error wraps fs.ErrNotExist if
// there is none, and says so if it cannot take the place of the one in o.Dir.
func Staged(o Options) (*Root, error) {
	f, err := o.ownFile()
	if err != nil {
		return nil, err
	}
	root, err := f.staged()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("authority: none is staged: %w; run `bearerd ca stage`, and have apps trust its root", fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	if err := errors.Join(root.checkDates(), root.Covers(o.needed()...)); err != nil {
		return nil, err
	}
	return root, nil
}

// Promote puts the staged authority in the place of the one in o.Dir, of which
// the root's certificate alone is kept. A daemon that runs signs with it once it
// is started again.
func Promote(ctx context.Context, o Options) (*Root, error) {
	f, err := o.ownFile()
	if err != nil {
		return nil, err
	}
	unlock, err := f.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	root, err := Staged(o)
	if err != nil {
		return nil, err
	}
	current, err := f.load()
	if err != nil {
		return nil, err
	}
	err = f.beside("former").write(encodeCertificates(current.root()))
	if err == nil {
		err = f.rename(root.path, f.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(f.path))
	}
	if err != nil {
		return nil, fmt.Errorf("authority: promoting %s: %w; state_dir must be on a disk that bearerd's user can write to", root.path, err)
	}
	root.path, root.hint = f.path, renewHint
	return root, nil
}

// ownFile gives the file of an authority that bearerd makes by itself.
func (o *Options) ownFile() (*file, error) {
	if o.CertFile != "" || o.KeyFile != "" {
		return nil, errors.New("authority: cert_file and key_file name an authority that others made; remove them to let bearerd make its own")
	}
	if o.Dir == "" {
		return nil, errNoDir()
	}
	return o.file(), nil
}

// beside is a file that belongs to f. The lock of f is that of both.
func (f *file) beside(what string) *file {
	n := *f
	n.path = strings.TrimSuffix(f.path, ".pem") + "-" + what + ".pem"
	return &n
}

// next is where the authority is kept that is to come after the one in f.
func (f *file) next() *file {
	n := f.beside("next")
	n.hint = stageHint
	return n
}

// staged reads the one in next.
func (f *file) staged() (*Root, error) {
	next := f.next()
	keys, err := next.load()
	if err != nil {
		return nil, err
	}
	return &Root{keys: keys, path: next.path, hint: next.hint}, nil
}

// former reads the root that the one in f took the place of; nil: there is none,
// or it has ended.
func (f *file) former() (*x509.Certificate, error) {
	former := f.beside("former")
	data, err := former.read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("authority: %s holds no certificate; remove it, once a bearerd that was started since the last `bearerd ca promote` runs", former.path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("authority: %s: %w; remove it, once a bearerd that was started since the last `bearerd ca promote` runs", former.path, err)
	}
	if time.Now().After(cert.NotAfter) {
		return nil, nil
	}
	return cert, nil
}

// withOthers has r export the roots of the staged and of the former authority
// too. A damaged one is an error: an app that did not learn of it would soon
// trust nobody.
func (o *Options) withOthers(r *Root) (*Root, error) {
	all := *r
	switch staged, err := o.file().staged(); {
	case err == nil:
		all.more = append(all.more, staged.keys.root())
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	former, err := o.file().former()
	if err != nil {
		return nil, err
	}
	// After a crash in the middle of Promote it is still the one that signs.
	if former != nil && !former.Equal(r.keys.root()) {
		all.more = append(all.more, former)
	}
	return &all, nil
}
