package main

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitWarned = 3 // doctor's, where the worst that it found is a warning
)

// exitError carries an exit code up to main.
type exitError struct {
	code int
	err  error // nil: there is nothing to say, as where a command's own code is passed on
}

// Error implements error.
func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usageError is a mistake in flags or arguments.
func usageError(cmd *cobra.Command, err error) error {
	return &exitError{exitUsage, fmt.Errorf("%w; see `%s --help`", err, cmd.CommandPath())}
}

// run is the whole command: it gives the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	cmd := newCommand(stdout, stderr)
	cmd.SetArgs(args)
	err := cmd.Execute()
	if err == nil {
		return exitOK
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = &exitError{exitFailed, err}
	}
	if exit.err != nil {
		fmt.Fprintln(stderr, "bearerd:", err)
	}
	return exit.code
}

// newCommand makes the command tree.
func newCommand(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "bearerd",
		Short: "Lend the machine's managed identity to local applications",
		Long: `bearerd gives applications that hold no credentials the managed identity of the Azure machine they run on.
It takes their calls to Key Vault, Storage, Azure Resource Manager and other Entra-protected services,
attaches a bearer token and forwards them over verified TLS.`,
		Args:          noArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError(cmd, errors.New("a command is missing"))
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(usageError)
	root.AddCommand(initCommand(), runCommand(), execCommand(), checkCommand(), explainCommand(), tokenCommand(), caCommand(), redirectCommand(), doctorCommand(), versionCommand())
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "completion":
			holdToOurs(cmd)
		case "help":
			cmd.RunE = help
		}
	}
	return root
}

// help shows a command's help, and unlike cobra's own fails where there is no
// such command.
func help(cmd *cobra.Command, args []string) error {
	about, rest, err := cmd.Root().Find(args)
	if err != nil {
		return usageError(cmd, err)
	}
	if err := noArgs(about, rest); err != nil {
		return err
	}
	return about.Help()
}

// holdToOurs has cobra's own command refuse what ours do.
func holdToOurs(cmd *cobra.Command) {
	cmd.Args = noArgs
	for _, sub := range cmd.Commands() {
		sub.Args = noArgs
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return usageError(cmd, errors.New("the shell's name is missing"))
	}
}

// noArgs refuses arguments, and names a command that was meant.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		err := fmt.Errorf("no command is called %q", args[0])
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			err = fmt.Errorf("%w; did you mean %q", err, near[0])
		}
		return usageError(cmd, err)
	}
	return usageError(cmd, fmt.Errorf("no argument is taken, but %q was given", args[0]))
}

// exactArgs wants as many arguments as names.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usageError(cmd, fmt.Errorf("%s is missing", names[len(args)]))
		case len(args) > len(names):
			return usageError(cmd, fmt.Errorf("too many arguments: %q", args[len(names)]))
		}
		return nil
	}
}

// configFlag is the flag of every command that needs the configuration.
type configFlag struct{ path string }

func (f *configFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.path, "config", daemon.DefaultPath, "configuration `file`; no file at the default path means the defaults")
	// It fails only for a flag that does not exist.
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
}

func (f *configFlag) load(cmd *cobra.Command) (*daemon.Config, error) {
	return daemon.Load(f.path, cmd.Flags().Changed("config"))
}

// versionOf gives the version that was linked in, or the module's.
func versionOf() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
