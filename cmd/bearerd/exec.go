package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/proxy/authority/trust"
)

// The exit codes of exec beside the command's own, as env and timeout have them.
const (
	exitExecFailed    = 125
	exitCannotExecute = 126
	exitNotFound      = 127
	exitSignal        = 128 // and the signal's number
)

func execCommand() *cobra.Command {
	var x execution
	cmd := &cobra.Command{
		Use:   "exec [flags] -- COMMAND [ARGUMENT]...",
		Short: "Run a command whose calls get the machine's identity",
		Long: `exec starts a proxy on a free loopback port, for as long as the command runs, with the configuration's routes and an authority of its own; it needs no privilege.
The command gets proxy variables and what makes the common runtimes trust the proxy: OpenSSL, Python, Ruby, PHP, Perl, Go, Rust, .NET, curl, git, Node.js (22.21, 24 and later), Deno and Java.
Streams, terminal and signals are the command's, and exec exits as it does: with its status, or 128 and the number of the signal that ended it;
127 if it is not found, 126 if it cannot be run, 125 if bearerd itself fails. It changes no file but a temporary folder, which is removed.`,
		Example: `  bearerd exec -- python3 report.py
  bearerd exec --log exec.log -- java -jar payroll.jar
  bearerd exec --use-running --root /etc/bearerd/root.pem -- ./report`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError(cmd, errors.New("COMMAND is missing"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if x.root != "" && !x.useRunning {
				return usageError(cmd, errors.New("--root is for --use-running; the own proxy has a root of its own"))
			}
			x.stdout, x.stderr, x.argv = cmd.OutOrStdout(), cmd.ErrOrStderr(), args
			err := x.run(cmd)
			var exit *exitError
			if err != nil && !errors.As(err, &exit) {
				return &exitError{exitExecFailed, err}
			}
			return err
		},
	}
	x.config.add(cmd)
	cmd.Flags().BoolVar(&x.useRunning, "use-running", false, "use the bearerd that runs with this configuration, in place of an own proxy")
	cmd.Flags().StringVar(&x.root, "root", "", "`file` with the running bearerd's root, from ca export; default: read in state_dir, which takes bearerd's rights")
	cmd.Flags().StringVar(&x.log, "log", "", "`file` to append the own proxy's log to; default: there is none")
	// What follows COMMAND is its own even without "--".
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// execution is one run of exec.
type execution struct {
	config     configFlag
	useRunning bool
	root, log  string
	argv       []string
	stdout     io.Writer
	stderr     io.Writer
}

// run gives the command's exit status as an exitError.
func (x *execution) run(cmd *cobra.Command) (err error) {
	// Caught before there is anything to leave behind.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, caught()...)
	defer signal.Stop(signals)

	c, err := x.config.load(cmd)
	if err != nil {
		return err
	}
	program, err := find(x.argv[0])
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bearerd-exec-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// The command may run as another user before long (sudo, gosu), who must be
	// able to read what is to be trusted.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	out := io.Discard
	if x.log != "" {
		file, err := os.OpenFile(x.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("--log: %w", err)
		}
		defer file.Close()
		out = file
	}
	proxy, roots, end, err := x.proxy(cmd.Context(), c, dir, out)
	if err != nil {
		return err
	}
	defer end()
	runtimes, err := roots.Runtimes(dir, os.Getenv)
	if err != nil {
		return err
	}
	routed, err := routedNames(c)
	if err != nil {
		return err
	}
	select {
	case s := <-signals: // while starting
		return &exitError{code: signalCode(s)}
	default:
	}
	child := &exec.Cmd{
		Path: program, Args: x.argv, Env: commandEnv(os.Environ(), proxy, routed, runtimes),
		Stdin: os.Stdin, Stdout: x.stdout, Stderr: x.stderr, SysProcAttr: endWithParent(),
	}
	return attend(child, signals)
}

// proxy gives where the proxy is, whom the command has to trust, and what ends
// the proxy. out takes the log of an own one.
func (x *execution) proxy(ctx context.Context, c *daemon.Config, dir string, out io.Writer) (at netip.AddrPort, roots trust.Roots, end func(), err error) {
	if x.useRunning {
		at, roots, err = x.running(ctx, c)
		return at, roots, func() {}, err
	}
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		return at, roots, nil, err
	}
	own, err := c.Private(state)
	if err != nil {
		return at, roots, nil, err
	}
	// net/http's client writes there what services send unasked.
	log.SetOutput(io.Discard)
	d, err := daemon.Start(ctx, daemon.Options{Config: own, Version: versionOf(), Log: out})
	if err != nil {
		return at, roots, nil, err
	}
	end = func() {
		// What the command has left under way nobody waits for; an error would be
		// that of a listener, which the log has.
		_ = d.Shutdown(ctx)
	}
	// The key stays in memory: whoever ends us in a way that leaves the folder
	// leaves nothing in it that signs.
	if err = os.Remove(d.Root().Path()); err == nil {
		roots, err = trust.Parse(d.Root().RootPEM())
	}
	if err == nil {
		at, err = netip.ParseAddrPort(d.Addresses()[0])
	}
	if err != nil {
		end()
	}
	return at, roots, end, err
}

// running finds the bearerd that runs already. Its root is never taken over the
// network: whoever has the port would be trusted.
func (x *execution) running(ctx context.Context, c *daemon.Config) (at netip.AddrPort, roots trust.Roots, err error) {
	at = c.ProxyAddress()
	if !at.IsValid() {
		return at, roots, errors.New("the configuration has no explicit listener in plain TCP that the command could use; add one under listen, or leave out --use-running")
	}
	dialer := net.Dialer{Timeout: 2 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return at, roots, fmt.Errorf("no bearerd listens on %s: %w; start it with `bearerd run`, or leave out --use-running", at, err)
	}
	conn.Close()
	if x.root != "" {
		roots, err = trust.Read(x.root)
		return at, roots, err
	}
	all, err := authoritiesOf(c)
	if err != nil {
		return at, roots, err
	}
	roots, err = loadRoots(all)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w; name its root by --root, as `bearerd ca export --out FILE` writes it", err)
	}
	return at, roots, err
}

// routedNames are the hosts and suffixes that must reach the proxy.
func routedNames(c *daemon.Config) ([]string, error) {
	all, err := authoritiesOf(c)
	if err != nil {
		return nil, err
	}
	return slices.Concat(all[0].Permit, all[0].Wildcards), nil
}

// find gives the program's file, with a shell's exit codes.
func find(name string) (string, error) {
	program, err := exec.LookPath(name)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "", &exitError{exitCannotExecute, fmt.Errorf("%s cannot be run: %w", name, fs.ErrPermission)}
	case err != nil:
		return "", &exitError{exitNotFound, fmt.Errorf("%s is not found: %w", name, err)}
	}
	return program, nil
}

// attend runs the command to its end, passing it the signals that are for it.
func attend(child *exec.Cmd, signals <-chan os.Signal) error {
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		// The kernel takes the end of the thread that started a child for its
		// parent's (prctl(2), PR_SET_PDEATHSIG).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := child.Start()
		started <- err
		if err == nil {
			ended <- child.Wait()
		}
	}()
	if err := <-started; err != nil {
		return &exitError{exitCannotExecute, fmt.Errorf("%s cannot be run: %w", child.Args[0], err)}
	}
	for {
		select {
		case s := <-signals:
			if !fromTerminal(s) {
				_ = child.Process.Signal(s) // it may have ended just now
			}
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return err
			}
			if code := statusOf(child.ProcessState); code != exitOK {
				return &exitError{code: code}
			}
			return nil
		}
	}
}
