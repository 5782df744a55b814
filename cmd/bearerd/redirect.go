package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/proxy/redirect"
)

func redirectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "redirect",
		Short: "Lead apps' calls to bearerd by nftables, and guard IMDS",
		Long: `redirect installs, checks and removes the rules of the configuration's redirect: whose calls the kernel leads to a transparent listener,
and who alone may reach IMDS. They stand in a table of their own, inet bearerd. It needs Linux and, except for apply --dry-run, root (CAP_NET_ADMIN); no nft program.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError(cmd, errors.New("a command is missing"))
		},
	}
	cmd.AddCommand(redirectApplyCommand(), redirectVerifyCommand(), redirectRemoveCommand())
	return cmd
}

// redirectFlags are those of the commands that need to know which rules are
// meant.
type redirectFlags struct {
	config configFlag
	guard  bool
	user   string
}

func (f *redirectFlags) add(cmd *cobra.Command) {
	f.config.add(cmd)
	cmd.Flags().BoolVar(&f.guard, "guard-imds", false, "keep IMDS from all but root and bearerd, as redirect.guard_imds: true does")
	cmd.Flags().StringVar(&f.user, "user", "", "`user` that bearerd runs as, in place of redirect.daemon_user")
}

// rules gives the configuration's rules, of who is there now.
func (f *redirectFlags) rules(cmd *cobra.Command) (*redirect.Rules, daemon.Redirect, error) {
	c, err := f.config.load(cmd)
	if err != nil {
		return nil, daemon.Redirect{}, err
	}
	settings := c.Redirect
	settings.GuardIMDS = settings.GuardIMDS || f.guard
	if f.user != "" {
		settings.DaemonUser = f.user
	}
	rules, err := redirect.Resolve(settings.Options())
	return rules, settings, err
}

func redirectApplyCommand() *cobra.Command {
	var flags redirectFlags
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Install the rules, or bring them up to date",
		Long: `apply looks up the users, groups and cgroups as they are now and exchanges the rules in one step, in which no call gets past them.
Rules that are right already are left alone. Who is not there is told and left out, the other rules are installed, and the exit code is 1.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rules, settings, err := flags.rules(cmd)
			if err != nil {
				return err
			}
			if dryRun {
				if _, err := fmt.Fprint(cmd.OutOrStdout(), rules); err != nil {
					return err
				}
				return deadSelectors(cmd, rules)
			}
			changed, err := redirect.Apply(rules)
			if err != nil {
				return err
			}
			done := "the rules were in place already"
			if changed {
				done = "the rules are in place"
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), done); err != nil {
				return err
			}
			return errors.Join(writeReport(rules, settings, nil), deadSelectors(cmd, rules))
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the rules as nft reads them, and change nothing; it needs no privilege")
	return cmd
}

// deadSelectors tells who is not there.
func deadSelectors(cmd *cobra.Command, rules *redirect.Rules) error {
	for _, d := range rules.Dead() {
		fmt.Fprintln(cmd.ErrOrStderr(), "bearerd:", d)
	}
	if count := len(rules.Dead()); count > 0 {
		return fmt.Errorf("%d users, groups or cgroups have no rule, since they are not there; apply again once they are", count)
	}
	return nil
}

func redirectVerifyCommand() *cobra.Command {
	var flags redirectFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compare the kernel's rules with the configuration",
		Long: `verify tells rules that are missing or changed (another program's "flush ruleset" takes ours away too), and users, groups and cgroups that are not there
or not the same any more. It writes what it found to redirect.report_file, where the daemon's metrics have it from, and exits 1 if anything is wrong.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rules, settings, err := flags.rules(cmd)
			if err != nil {
				return err
			}
			problems, err := redirect.Verify(rules)
			if err != nil {
				return err
			}
			for _, p := range problems {
				fmt.Fprintln(cmd.ErrOrStderr(), "bearerd:", p)
			}
			err = errors.Join(writeReport(rules, settings, problems), deadSelectors(cmd, rules))
			if len(problems) > 0 {
				err = errors.Join(fmt.Errorf("%d differences from the configuration; run `bearerd redirect apply`", len(problems)), err)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "ok: the rules are in place")
			return err
		},
	}
	flags.add(cmd)
	return cmd
}

func writeReport(rules *redirect.Rules, settings daemon.Redirect, problems []string) error {
	for _, d := range rules.Dead() {
		problems = append(problems, d.Error())
	}
	return redirect.Report{Checked: time.Now().UTC(), InPlace: len(problems) == 0, Problems: problems}.Write(settings.ReportFile)
}

func redirectRemoveCommand() *cobra.Command {
	var config configFlag
	cmd := &cobra.Command{
		Use:   "remove",
		Short: "Remove the rules",
		Long:  `remove takes the whole table inet bearerd away, and leaves nothing. Where there is none, nothing happens.`,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.load(cmd)
			if err != nil {
				return err
			}
			removed, err := redirect.Remove()
			if err != nil {
				return err
			}
			done := "there were no rules"
			if removed {
				done = "the rules are removed"
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), done)
			return errors.Join(err, redirect.RemoveReport(c.Redirect.ReportFile))
		},
	}
	config.add(cmd)
	return cmd
}
