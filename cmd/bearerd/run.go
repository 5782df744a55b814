package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
)

func runCommand() *cobra.Command {
	var config configFlag
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon",
		Long: `run serves until SIGTERM or SIGINT. Then it lets the calls under way end, for drain.max at the longest, and exits 0; a second signal ends it at once.
SIGHUP reads the configuration anew: a good one is taken over without dropping a call, a bad one changes nothing.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.load(cmd)
			if err != nil {
				return err
			}
			// net/http's client writes there what services send unasked, which
			// may be anything.
			log.SetOutput(io.Discard)
			return serve(cmd.Context(), daemon.Options{
				Config:  c,
				Version: versionOf(),
				Log:     cmd.ErrOrStderr(),
				Reload:  func() (*daemon.Config, error) { return config.load(cmd) },
			})
		},
	}
	config.add(cmd)
	return cmd
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

	// A start can wait for a lock that another process holds.
	starting, started := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer started()
	d, err := daemon.Start(starting, o)
	if err != nil {
		return err
	}
	signals := 0 // that order the end
	for ending := false; !ending; {
		select {
		case <-reloads:
			// It is logged, counted and shown; the daemon goes on as it was.
			_ = d.Reload()
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
