// Command bearerd-demo shows bearerd at its job in an emulated Azure: the
// metadata service, a vault, a blob account and Resource Manager on loopback,
// and the real proxy in front of them. Nothing leaves the machine.
//
// Plain clients without a credential make their calls; each step is checked,
// and the exit code is 0 if all of them hold. With --serve the world stays up,
// for people who want to develop without Azure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bearerd-demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	serve := flags.Bool("serve", false, "keep the emulated Azure and bearerd up, and print what to try by hand")
	listen := flags.String("listen", "127.0.0.1:0", "loopback `address` of bearerd's explicit listener; port 0 means any free one")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "bearerd-demo: no argument is taken, but %q was given; see --help\n", flags.Arg(0))
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *serve {
		err = serveWorld(ctx, *listen, stdout, stderr)
	} else {
		err = tellStory(ctx, *listen, stdout, steps())
	}
	if err != nil {
		fmt.Fprintln(stderr, "bearerd-demo:", err)
		return 1
	}
	return 0
}
