package authority

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	fileName    = "authority.pem"
	rsaFileName = "authority-rsa.pem"
	// A real one has 3 KiB, plus some 20 bytes for every permitted name, twice.
	maxFileSize  = 1 << 20
	lockInterval = 10 * time.Millisecond
)

// file keeps an authority on disk, whole or not at all.
//
// It is written beside its place, synced and renamed, under a lock, so that
// neither a crash nor a full disk nor a second process leaves half of one.
// Readers need no lock, and so neither a writable disk.
type file struct {
	path     string
	hint     string                        // what to do when it does not serve
	generate func() (crypto.Signer, error) // each key of an authority that is made
	rename   func(from, to string) error   // os.Rename, or a crash before it
}

func newFile(dir string) *file {
	return &file{path: filepath.Join(dir, fileName), hint: renewHint, generate: generateECDSA, rename: os.Rename}
}

func newRSAFile(dir string) *file {
	return &file{path: filepath.Join(dir, rsaFileName), hint: renewHint, generate: generateRSA, rename: os.Rename}
}

// load reads the authority; the error wraps fs.ErrNotExist if there is none.
func (f *file) load() (*keyPair, error) {
	data, err := f.read()
	if err != nil {
		return nil, err
	}
	k, err := unmarshal(data)
	if err != nil {
		return nil, fmt.Errorf("authority: %s is damaged: %w; put a backup back, or %s", f.path, err, f.hint)
	}
	return k, nil
}

func (f *file) read() ([]byte, error) {
	handle, err := os.Open(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("authority: there is none yet: %w; run `bearerd ca init`, or start bearerd, which makes one", err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("authority: %w; only the user that bearerd runs as can read it: run this command as that user", err)
	case err != nil:
		return nil, fmt.Errorf("authority: %w; check state_dir", err)
	}
	defer handle.Close()
	info, err := handle.Stat()
	if err != nil {
		return nil, fmt.Errorf("authority: %w; check state_dir", err)
	}
	dir, err := os.Stat(filepath.Dir(f.path))
	if err != nil {
		return nil, fmt.Errorf("authority: %w; check state_dir", err)
	}
	if err := checkPrivate(f.path, info, dir); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(handle, maxFileSize))
	if err != nil {
		return nil, fmt.Errorf("authority: reading %s: %w; check the disk", f.path, err)
	}
	return data, nil
}

// loadOrCreate reads the authority or makes it. Of two processes that start at
// once, one makes it and both have it.
func (f *file) loadOrCreate(ctx context.Context, permit []string) (k *keyPair, made bool, err error) {
	k, err = f.load()
	if !errors.Is(err, fs.ErrNotExist) {
		return k, false, err
	}
	unlock, err := f.lock(ctx)
	if err != nil {
		return nil, false, err
	}
	defer unlock()
	k, err = f.load()
	if !errors.Is(err, fs.ErrNotExist) {
		return k, false, err
	}
	k, err = f.create(permit)
	return k, err == nil, err
}

// replace makes an authority whether or not there is one, and unless renew is
// set only if there is none. What is there need not be readable.
func (f *file) replace(ctx context.Context, permit []string, renew bool) (*keyPair, error) {
	unlock, err := f.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if !renew {
		_, err := os.Lstat(f.path)
		if err == nil {
			return nil, fmt.Errorf("authority: %s: %w; apps may trust its root already: keep it, or to make another one %s", f.path, fs.ErrExist, renewHint)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("authority: %w; check state_dir", err)
		}
		return f.create(permit)
	}
	// Whoever could steal the one key could steal the other.
	for _, other := range []*file{f.next(), f.beside("former")} {
		if err := os.Remove(other.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("authority: %w; check state_dir", err)
		}
	}
	return f.create(permit)
}

// create makes an authority and writes it; the lock is held.
func (f *file) create(permit []string) (*keyPair, error) {
	k, err := newKeyPairOf(f.generate, permit)
	if err != nil {
		return nil, fmt.Errorf("authority: making one: %w", err)
	}
	data, err := k.marshal()
	if err != nil {
		return nil, fmt.Errorf("authority: making one: %w", err)
	}
	if err := f.write(data); err != nil {
		return nil, fmt.Errorf("authority: writing it: %w; state_dir must be on a disk that bearerd's user can write to", err)
	}
	return k, nil
}

func (f *file) write(data []byte) error {
	temporary := f.path + ".tmp"
	// A crash left it, for who holds the lock is the only writer.
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := writeSynced(temporary, data)
	if err == nil {
		err = f.rename(temporary, f.path)
	}
	if err != nil {
		os.Remove(temporary) // there may be none; what failed is said already
		return err
	}
	return syncDir(filepath.Dir(f.path))
}

func writeSynced(path string, data []byte) error {
	handle, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = handle.Write(data)
	if err == nil {
		err = handle.Sync()
	}
	return errors.Join(err, handle.Close())
}

// lock waits until this process alone may write, making the directory if it is
// missing. The lock's file stays, for removing it would let two processes hold
// locks on two files of that name.
func (f *file) lock(ctx context.Context) (unlock func(), err error) {
	dir := filepath.Dir(f.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("authority: %w; make state_dir a directory of the user that bearerd runs as", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("authority: %w; check state_dir", err)
	}
	if err := checkDir(dir, info); err != nil {
		return nil, err
	}
	handle, err := os.OpenFile(f.path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("authority: %w; state_dir must be on a disk that bearerd's user can write to", err)
	}
	tick := time.NewTicker(lockInterval)
	defer tick.Stop()
	for {
		ok, err := tryLock(handle)
		if ok {
			return func() { handle.Close() }, nil // which gives the lock up
		}
		if err != nil {
			handle.Close()
			return nil, fmt.Errorf("authority: locking %s: %w; state_dir must be on a file system with locks", handle.Name(), err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			handle.Close()
			return nil, fmt.Errorf("authority: waiting for another process that holds %s: %w; end that process", handle.Name(), ctx.Err())
		}
	}
}
