package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/proxy/authority/trust"
)

func initCommand() *cobra.Command {
	var config configFlag
	var a answers
	var force bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a first configuration",
		Long: `init writes a commented configuration for an identity, the hosts to call and the users who may call them.
On a terminal it asks for what no flag tells. Without hosts it routes what bearerd routes without a file: Key Vault, Storage, and Azure Resource Manager for reading.
It writes nothing that "check" would refuse, uses no network, and leaves a file that exists alone.`,
		Example: `  bearerd init --host payroll.vault.azure.net --user payroll
  bearerd init --identity 00000000-0000-0000-0000-000000000001 --host acct.blob.core.windows.net --host api.example.com=api://orders`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := mayWrite(config.path, force); err != nil {
				return err
			}
			if isTerminal(cmd.InOrStdin()) {
				q := questions{in: bufio.NewReader(cmd.InOrStdin()), out: cmd.ErrOrStderr()}
				if err := q.ask(&a, cmd.Flags().Changed); err != nil {
					return err
				}
			}
			return writeConfig(cmd.OutOrStdout(), config.path, a, force)
		},
	}
	config.add(cmd)
	cmd.Flags().Lookup("config").Usage = "`file` to write"
	cmd.Flags().StringVar(&a.identity, "identity", "", "client `id` or resource id of a user-assigned identity; empty: the system-assigned one")
	cmd.Flags().StringArrayVar(&a.hosts, "host", nil, "`host` that is called, again for each; HOST=AUDIENCE for an API of your own")
	cmd.Flags().StringArrayVar(&a.users, "user", nil, "`user` who may call, by name or number, again for each; none: everybody on the machine")
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that exists")
	return cmd
}

// mayWrite tells before anything is asked that there is a file already.
func mayWrite(path string, force bool) error {
	_, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && force:
		return nil
	case err == nil:
		return fmt.Errorf("%s: %w; edit it, name another by --config, or replace it by --force", path, fs.ErrExist)
	}
	return fmt.Errorf("looking for the configuration: %w", err)
}

// isTerminal reports whether somebody can be asked. The null device, which
// services have for a standard input, is a character device as well.
func isTerminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// questions asks a person at a terminal.
type questions struct {
	in  *bufio.Reader
	out io.Writer
}

// ask fills in the answers that no flag has given.
func (q questions) ask(a *answers, given func(flag string) bool) error {
	if !given("identity") {
		words, err := q.words("Client id or resource id of a user-assigned identity [the system-assigned one]: ")
		if err != nil {
			return err
		}
		if len(words) > 1 {
			return fmt.Errorf("one identity is asked for, not %q; start again", words)
		}
		a.identity = strings.Join(words, "")
	}
	if !given("host") {
		words, err := q.words("Hosts that are called, such as payroll.vault.azure.net [Key Vault, Storage, and Azure Resource Manager for reading]: ")
		if err != nil {
			return err
		}
		a.hosts = words
	}
	if !given("user") {
		words, err := q.words("Users who may call [everybody on the machine]: ")
		if err != nil {
			return err
		}
		a.users = words
	}
	return nil
}

// words reads a line of words with spaces or commas between them.
func (q questions) words(question string) ([]string, error) {
	if _, err := io.WriteString(q.out, question); err != nil {
		return nil, err
	}
	line, err := q.in.ReadString('\n')
	if err != nil {
		// Whoever ends the input has not agreed to a default.
		return nil, fmt.Errorf("reading the answer: %w; nothing was written", err)
	}
	return strings.FieldsFunc(line, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\r' || r == '\n' }), nil
}

// writeConfig writes the configuration as a whole or not at all, and only one
// that is valid.
func writeConfig(out io.Writer, path string, a answers, force bool) error {
	text := a.config()
	c, err := daemon.Parse(path, []byte(text))
	if err != nil {
		return fmt.Errorf("these answers make no valid configuration, and nothing was written:\n%w", err)
	}
	table, err := c.Compile(c.LikelyCloud())
	if err != nil {
		return err
	}
	if force {
		err = trust.WriteFile(path, []byte(text))
	} else {
		err = writeFirst(path, text)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %d routes\n", path, len(table.Routes()))
	for _, name := range table.Gateways() {
		fmt.Fprintf(out, "base URL http://127.0.0.1:8180/%s/\n", name)
	}
	_, err = fmt.Fprintln(out, "next: bearerd doctor, then start bearerd, or reload it")
	return err
}

// writeFirst writes a file that must not exist: a link, unlike a rename, takes
// nothing's place, whoever has made it meanwhile.
func writeFirst(path, text string) error {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".bearerd-")
	if err != nil {
		return fmt.Errorf("writing %s: %w; make its folder, or run this as a user who may write to it", path, err)
	}
	defer os.RemoveAll(dir) // with what a failure leaves
	whole := filepath.Join(dir, filepath.Base(path))
	if err := trust.WriteFile(whole, []byte(text)); err != nil {
		return err
	}
	if err := os.Link(whole, path); err != nil {
		return fmt.Errorf("writing %s: %w; --force replaces what is there", path, err)
	}
	return nil
}
