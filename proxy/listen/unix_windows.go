package listen

import (
	"context"
	"errors"
	"syscall"
)

// lockDir does nothing: two services of one name do not start at once here.
func lockDir(context.Context, string) (unlock func(), err error) { return func() {}, nil }

// closeToOthers does nothing: the directory's access list decides.
func closeToOthers(syscall.RawConn) error { return nil }

// wsaeconnrefused is what a socket that nobody listens on answers
// (https://learn.microsoft.com/windows/win32/winsock/windows-sockets-error-codes-2).
const wsaeconnrefused syscall.Errno = 10061

// isRefused reports whether nobody listens on a socket.
func isRefused(err error) bool { return errors.Is(err, wsaeconnrefused) }
