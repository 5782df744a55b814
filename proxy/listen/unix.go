package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// maxPath is the longest path that every system takes for a socket: 104
	// bytes with the closing zero on macOS, 108 on Linux (unix(7)).
	maxPath = 103
	// probeTimeout is how long a socket's owner has to show that it lives.
	probeTimeout = time.Second
)

// openUnix listens on path. A socket that its process left behind is replaced;
// one that lives is not. What remove gives must run after the listener is closed.
func openUnix(ctx context.Context, path string, mode fs.FileMode) (inner net.Listener, remove func() error, err error) {
	if !filepath.IsAbs(path) {
		// "@name" has no file, and so no mode that keeps other users out.
		return nil, nil, errors.New("the path is not absolute; write unix:/run/bearerd/proxy.sock")
	}
	if len(path) > maxPath {
		return nil, nil, fmt.Errorf("the path is longer than the %d bytes that a socket's may have; choose a shorter one", maxPath)
	}
	if mode&^fs.ModePerm != 0 {
		return nil, nil, fmt.Errorf("the mode %v has more than permissions; write one like 0660", mode)
	}
	// Two processes that start at once could each take the other's socket for
	// a stale one.
	unlock, err := lockDir(ctx, filepath.Dir(path))
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	if err := removeStale(ctx, path); err != nil {
		return nil, nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return closeToOthers(c) }}
	inner, err = config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, nil, unixHint(cause(err), path)
	}
	inner.(*net.UnixListener).SetUnlinkOnClose(false) // it would also remove a successor's
	ours, err := settle(path, mode)
	if err != nil {
		return nil, nil, errors.Join(err, inner.Close(), os.Remove(path))
	}
	return inner, func() error { return removeOurs(path, ours) }, nil
}

// settle opens the socket's file to those whom mode names, and says which file
// it is.
func settle(path string, mode fs.FileMode) (fs.FileInfo, error) {
	if err := os.Chmod(path, mode); err != nil {
		return nil, err
	}
	return os.Lstat(path)
}

// removeOurs removes the socket's file unless another process has put its own
// there.
func removeOurs(path string, ours fs.FileInfo) error {
	now, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !os.SameFile(now, ours)) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Remove(path)
}

// removeStale removes a socket that nobody listens on any more.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return errors.New("the file that is there is no socket; move it away, or choose another path")
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		defer conn.Close()
		if _, pid, ok := peerOf(conn.(*net.UnixConn)); ok && pid > 0 {
			return fmt.Errorf("process %d listens there; stop it, or choose another path", pid)
		}
		return errors.New("another process listens there; stop it, or choose another path")
	case isRefused(err):
		return os.Remove(path)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return fmt.Errorf("a socket is there, and whether it is in use cannot be told: %w; stop its process, or remove the file", cause(err))
	}
}

func unixHint(err error, path string) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; create the directory %s", err, filepath.Dir(path))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; let this user write to %s, or choose another path", err, filepath.Dir(path))
	}
	return err
}
