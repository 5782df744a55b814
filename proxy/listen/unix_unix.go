//go:build unix

package listen

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockPoll is how often a lock that another process has is asked for again.
// It is held for moments only.
const (
	lockPoll    = 10 * time.Millisecond
	lockTimeout = 5 * time.Second
)

// lockDir takes an exclusive lock on a directory, which leaves no file behind
// and ends with the process.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	handle, err := os.Open(dir)
	if err != nil {
		return nil, unixHint(err, dir+"/")
	}
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	for {
		switch err := syscall.Flock(int(handle.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil:
			return func() { handle.Close() }, nil
		case errors.Is(err, syscall.EWOULDBLOCK), errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.EOPNOTSUPP):
			// Some network file systems have no locks; sockets there are rare,
			// and two starts at one moment rarer.
			return func() { handle.Close() }, nil
		default:
			handle.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			handle.Close()
			return nil, fmt.Errorf("another process keeps %s locked; stop it (`lslocks` names it), or choose another directory", dir)
		}
	}
}

// closeToOthers takes all modes but the owner's from a socket before it gets
// its name, whatever the umask is. Only Linux has the file inherit them.
// Elsewhere the umask decides until the mode is set.
func closeToOthers(c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		// Systems that keep no mode for a socket refuse; see above.
		_ = syscall.Fchmod(int(fd), 0o600)
	})
}

// isRefused reports whether nobody listens on a socket.
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
