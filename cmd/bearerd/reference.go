package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// writeReference writes docs/commands.md: every command with its flags, from
// the commands themselves.
func writeReference(w io.Writer, root *cobra.Command) error {
	var b strings.Builder
	b.WriteString("# Commands\n\nThis page is generated from the code: `go test ./cmd/bearerd -run TestReference -update`.\n\n")
	fmt.Fprintf(&b, "Exit codes: %d done, %d failed, %d wrong flags or arguments, %d where `doctor` has nothing worse than a warning. What is asked for goes to standard output, all else to standard error.\n",
		exitOK, exitFailed, exitUsage, exitWarned)
	describe(&b, root)
	_, err := io.WriteString(w, b.String())
	return err
}

func describe(b *strings.Builder, cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		// What cobra brings along describes itself: its texts are not ours.
		if sub.Hidden || sub.Name() == "help" || sub.Parent().Name() == "completion" {
			continue
		}
		fmt.Fprintf(b, "\n## %s\n\n%s.\n", sub.CommandPath(), sub.Short)
		if sub.Name() == "completion" {
			b.WriteString("`bearerd completion bash|zsh|fish|powershell` prints a script to source; `--help` after the shell's name tells where it goes.\n")
			continue
		}
		if sub.Long != "" {
			fmt.Fprintf(b, "\n%s\n", sub.Long)
		}
		if sub.Runnable() && !sub.HasSubCommands() {
			fmt.Fprintf(b, "\n```\n%s\n```\n", sub.UseLine())
		}
		describeFlags(b, sub)
		if sub.Example != "" {
			fmt.Fprintf(b, "\n```sh\n%s\n```\n", strings.ReplaceAll(sub.Example, "  bearerd", "bearerd"))
		}
		describe(b, sub)
	}
}

func describeFlags(b *strings.Builder, cmd *cobra.Command) {
	if !cmd.HasAvailableLocalFlags() {
		return
	}
	first := true
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if first {
			b.WriteString("\n| flag | meaning | default |\n| --- | --- | --- |\n")
			first = false
		}
		kind, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if kind != "" {
			name += " " + kind
		}
		value := ""
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" {
			value = "`" + f.DefValue + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, usage, value)
	})
}
