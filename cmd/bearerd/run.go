package main

import (
	"context"
	"errors"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
)

func runCommand() *cobra.Command {
	var config configFlag
	var drain drainFlags
	var trust string
	var learn string
	var readyWait time.Duration
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon",
		Long: `run serves until SIGTERM or SIGINT. Then it lets the calls under way end, for drain.max at the longest, and exits 0; a second signal ends it at once.
POST /-/quit at the administrator's listener ends it in the same way, as a Job needs it whose work is done.
Under systemd (Type=notify) it takes over the sockets of a socket unit by their addresses, and tells how it stands; it feeds the watchdog while it passes a check of itself.
SIGHUP reads the configuration anew: a good one is taken over without dropping a call, a bad one changes nothing.

With --learn, what the routes say of methods, paths and operations does not hold; their hosts, callers and required fields do. What applications call meanwhile
is written to FILE when the daemon ends, and on SIGUSR1: the least routes that take those calls, the commands that give the identity the least roles for them,
and the calls that still bring a key, a signature or a client secret. An earlier FILE is kept under its name and time.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := noCoreDumps(); err != nil {
				return err
			}
			load := func() (*daemon.Config, error) {
				c, err := config.load(cmd)
				if err != nil {
					return nil, err
				}
				return drain.apply(cmd, c)
			}
			c, err := load()
			if err != nil {
				return err
			}
			if learn == "" && cmd.Flags().Changed("learn") {
				return usageError(cmd, errors.New("--learn names no file"))
			}
			if trust != "" {
				if err := exportTrust(cmd.Context(), c, trust); err != nil {
					return err
				}
			}
			// net/http's client writes there what services send unasked, which
			// may be anything.
			log.SetOutput(io.Discard)
			supervisor, err := systemd(readyWait)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), daemon.Options{
				Supervisor: supervisor,
				Config:     c,
				Version:    versionOf(),
				Log:        cmd.ErrOrStderr(),
				Learn:      learn,
				Reload:     load,
			})
		},
	}
	config.add(cmd)
	drain.add(cmd)
	cmd.Flags().StringVar(&learn, "learn", "", "suspend restrictions, and write what applications need to this `file`")
	cmd.Flags().StringVar(&trust, "trust-dir", "", "`folder` to write, before calls are taken, what apps have to trust: root.pem, root.p12 for Java, and bundle.pem, which has the system's roots too")
	cmd.Flags().DurationVar(&readyWait, "ready-wait", 15*time.Second, "`time` that systemd waits for the tokens of required routes at the longest, until bearerd counts as started without them")
	return cmd
}

// drainFlags take the place of the configuration's drain.
type drainFlags struct{ min, max time.Duration }

const minDrain, maxDrain = "min-drain", "max-drain"

func (f *drainFlags) add(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.min, minDrain, 0, "`time` for which new calls are still taken after the order to end, in place of drain.min")
	cmd.Flags().DurationVar(&f.max, maxDrain, 0, "`time` that calls under way may take after it, in place of drain.max")
}

func (f *drainFlags) apply(cmd *cobra.Command, c *daemon.Config) (*daemon.Config, error) {
	drain := c.Drain
	if cmd.Flags().Changed(minDrain) {
		drain.Min = f.min
	}
	if cmd.Flags().Changed(maxDrain) {
		drain.Max = f.max
	}
	return c.WithDrain(drain)
}

// obey reloads, and writes what was learned, at each signal until stop. Nobody waits
// for that: what hangs, on a disk that is gone, must not keep the daemon from ending.
func obey(reloads, reports <-chan os.Signal, d *daemon.Daemon) (stop func()) {
	stopped := make(chan struct{})
	go func() {
		for {
			select {
			case <-reloads:
				// It is logged, counted and shown; the daemon goes on as it was.
				_ = d.Reload()
			case <-reports:
				_ = d.WriteLearned() // it is logged
			case <-stopped:
				return
			}
		}
	}()
	return func() { close(stopped) }
}

// serve runs a daemon until a signal, or its own end.
func serve(ctx context.Context, o daemon.Options) error {
	// Caught before anything starts, so that none is missed.
	ends := make(chan os.Signal, 2)
	signal.Notify(ends, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(ends)
	reloads := make(chan os.Signal, 1)
	signal.Notify(reloads, syscall.SIGHUP)
	defer signal.Stop(reloads)
	reports := make(chan os.Signal, 1)
	notifyReports(reports, o.Learn != "")
	defer signal.Stop(reports)
	// A reader of the log or of the audit stream who is gone must not end us:
	// uncaught, the signal of a broken pipe at standard output or error would.
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	defer signal.Stop(pipes)

	// A start can wait for a lock that another process holds.
	starting, started := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer started()
	d, err := daemon.Start(starting, o)
	if err != nil {
		return err
	}
	defer obey(reloads, reports, d)()
	signals := 0 // that order the end
	for ending := false; !ending; {
		select {
		case <-ends:
			signals, ending = 1, true
		case <-d.Done():
			ending = true
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- d.Shutdown(ctx) }()
	for {
		select {
		case err := <-ended:
			return err
		case <-ends:
			// The first may follow on POST /-/quit, as Kubernetes' does on preStop.
			if signals++; signals > 1 {
				cancel()
			}
		}
	}
}
