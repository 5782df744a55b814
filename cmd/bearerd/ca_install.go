package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/bearerd/bearerd/proxy/authority/trust"
)

func caInstallCommand() *cobra.Command {
	var config configFlag
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Have the system trust the authority",
		Long: `install puts the root into the system's trust store, which OpenSSL, GnuTLS, Go, curl, git and .NET read, in place of one that was installed before.
It knows Debian, Ubuntu, Alpine, RHEL, Fedora, Azure Linux, SUSE and Arch, and needs root. Programs that bring their own roots (Node.js, many JVMs, Python's certifi)
do not see it: give them ca export or ca bundle, or start them with exec. Run it again after ca init --renew and ca stage.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			roots, err := exportedRoots(cmd, config)
			if errors.Is(err, fs.ErrPermission) {
				return fmt.Errorf("%w; run this as root", err)
			}
			if err != nil {
				return err
			}
			files, err := new(trust.System).Install(cmd.Context(), roots)
			if err != nil {
				return err
			}
			return printLines(cmd, "installed ", files)
		},
	}
	config.add(cmd)
	return cmd
}

func caUninstallCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "uninstall",
		Short: "Have the system trust the authority no more",
		Long:  `uninstall takes what ca install has installed out of the system's trust store again. It needs root, and no configuration.`,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, err := new(trust.System).Uninstall(cmd.Context())
			if err != nil {
				return err
			}
			if len(files) == 0 {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "nothing was installed")
				return err
			}
			return printLines(cmd, "removed ", files)
		},
	}
}

func printLines(cmd *cobra.Command, before string, lines []string) error {
	for _, line := range lines {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), before+line); err != nil {
			return err
		}
	}
	return nil
}
