package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
)

// writeManual writes the manual page, bearerd(1), from the commands. It has no
// date, so that the same commands give the same page.
func writeManual(w io.Writer, root *cobra.Command) error {
	var b strings.Builder
	b.WriteString(`.\" Generated from the code: go test ./cmd/bearerd -run TestReference -update` + "\n")
	b.WriteString(".TH BEARERD 1 \"\" bearerd\n.SH NAME\n")
	fmt.Fprintf(&b, "bearerd \\- %s\n.SH SYNOPSIS\n.B bearerd\n.I command\n.RI [ flags ]\n.SH DESCRIPTION\n%s\n", roff(strings.ToLower(root.Short[:1])+root.Short[1:]), paragraphs(root.Long))
	b.WriteString(".SH COMMANDS\n")
	instruct(&b, root)
	fmt.Fprintf(&b, ".SH EXIT STATUS\n.TP\n%d\nDone.\n.TP\n%d\nFailed.\n.TP\n%d\nWrong flags or arguments.\n.TP\n%d\nOf doctor: there is nothing worse than a warning.\n", exitOK, exitFailed, exitUsage, exitWarned)
	fmt.Fprintf(&b, ".SH FILES\n.TP\n.I %s\nThe configuration. None means the defaults.\n", roff(daemon.DefaultPath))
	b.WriteString(".TP\n.I /var/lib/bearerd\nThe local authority, unless state_dir names another place.\n")
	b.WriteString(".SH SEE ALSO\n.BR systemctl (1),\n.BR curl (1)\n.PP\nhttps://github.com/bearerd/bearerd\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// instruct gives each command that can be run a subsection.
func instruct(b *strings.Builder, cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		// As in the reference, what cobra brings along describes itself.
		if sub.Hidden || sub.Name() == "help" {
			continue
		}
		if sub.Name() == "completion" {
			b.WriteString(".SS bearerd completion bash|zsh|fish|powershell\nPrint a script that completes bearerd's commands and flags in a shell.\n")
			continue
		}
		if sub.HasSubCommands() {
			instruct(b, sub)
			continue
		}
		fmt.Fprintf(b, ".SS %s\n%s.\n", roff(sub.UseLine()), roff(sub.Short))
		if sub.Long != "" {
			fmt.Fprintf(b, ".PP\n%s\n", paragraphs(sub.Long))
		}
		instructFlags(b, sub)
		if sub.Example != "" {
			fmt.Fprintf(b, ".PP\n.nf\n%s\n.fi\n", roff(sub.Example))
		}
	}
}

func instructFlags(b *strings.Builder, cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(b, ".TP\n\\fB\\-\\-%s\\fR", roff(f.Name))
		if kind != "" {
			fmt.Fprintf(b, " \\fI%s\\fR", roff(kind))
		}
		fmt.Fprintf(b, "\n%s.", roff(usage))
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" {
			fmt.Fprintf(b, " Default: %s.", roff(f.DefValue))
		}
		b.WriteString("\n")
	})
}

// paragraphs keeps the empty lines of a text.
func paragraphs(text string) string {
	return strings.ReplaceAll(roff(text), "\n\n", "\n.PP\n")
}

// roff escapes what troff would take for an instruction, or for typography: a
// hyphen that is to be copied is a minus there.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "`", `\(ga`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
