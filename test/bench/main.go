// Command bench puts bearerd beside nginx, HAProxy and a plain
// httputil.ReverseProxy at the same job in one run: 1 KiB GETs over plain
// keep-alive HTTP/1.1 in, verified TLS out to an nginx, a bearer token added.
//
// The programs take turns within each round, because the machine's speed
// swings between rounds; what is compared is the processor time that each
// spends on a request, as a ratio of medians. It needs nginx, haproxy and wrk
// (make peers), and everything stays on loopback.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	// The plain ReverseProxy is a process of its own, as its rivals are: this
	// program again.
	if len(os.Args) > 1 && os.Args[1] == reverseProxyCommand {
		if err := serveReverseProxy(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// plan bounds a comparison.
type plan struct {
	rounds      int
	duration    time.Duration // of each measurement
	warmUp      time.Duration // before it, unmeasured
	connections int
}

func run() error {
	p := plan{}
	flag.IntVar(&p.rounds, "rounds", 5, "rounds in which each program has one turn")
	flag.DurationVar(&p.duration, "duration", 3*time.Second, "length of one turn")
	flag.DurationVar(&p.warmUp, "warm-up", time.Second, "load before each turn that is not counted")
	flag.IntVar(&p.connections, "connections", 32, "keep-alive connections of the load")
	root := flag.String("repo", filepath.Join("..", ".."), "the repository, whose cmd/bearerd is built")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	report, err := compare(ctx, p, self, *root)
	if err != nil {
		return err
	}
	return report.write(os.Stdout)
}
