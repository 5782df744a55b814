package main

import (
	"fmt"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	notify "github.com/coreos/go-systemd/v22/daemon"
	"github.com/coreos/go-systemd/v22/journal"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/proxy/listen"
)

// systemd gives what the environment tells of the service manager, if that is
// what has started this process.
func systemd(readyWait time.Duration) (s daemon.Supervisor, err error) {
	if s.Sockets, err = listen.NewSockets(activation.Files(true)); err != nil {
		return s, err
	}
	// An error is that of a variable which is not systemd's.
	if ours, err := journal.StderrIsJournalStream(); err == nil && ours {
		s.Journal = func(line string, priority int, fields map[string]string) error {
			return journal.Send(line, journal.Priority(priority), fields)
		}
	}
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return s, nil
	}
	if s.Watchdog, err = notify.SdWatchdogEnabled(false); err != nil {
		return s, fmt.Errorf("the time that systemd's watchdog allows: %w", err)
	}
	s.ReadyWait, s.Clock = readyWait, notify.SdNotifyMonotonicUsec
	s.Notify = func(lines string) error {
		_, err := notify.SdNotify(false, lines)
		return err
	}
	return s, nil
}
