package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/proxy/authority"
	"github.com/bearerd/bearerd/proxy/authority/trust"
)

func caCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Make, export and install the local authority that apps trust",
		Long: `The local authority signs the certificates that apps see where bearerd intercepts their TLS.
It can sign for the names of the cloud's services and of the routes alone, and its root's key does not exist any more.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError(cmd, errors.New("a command is missing"))
		},
	}
	cmd.AddCommand(caInitCommand(), caStageCommand(), caPromoteCommand(), caExportCommand(), caBundleCommand(), caInstallCommand(), caUninstallCommand())
	return cmd
}

func caInitCommand() *cobra.Command {
	var config configFlag
	var renew bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the authority",
		Long: `init makes the authority in state_dir. The first start of bearerd does the same, so it is needed only to have the root before that,
or, with --renew, to replace the authority at once, because its key was stolen or it cannot sign for a name that the routes have now.
Apps that trust the old root alone then refuse bearerd; "ca stage" is the way without that.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return eachAuthority(cmd, config, "made", func(o authority.Options) (*authority.Root, error) {
				return authority.Init(cmd.Context(), o, renew)
			})
		},
	}
	config.add(cmd)
	cmd.Flags().BoolVar(&renew, "renew", false, "replace an authority that exists; apps must then trust the new root, and bearerd be restarted")
	return cmd
}

func caStageCommand() *cobra.Command {
	var config configFlag
	var again bool
	cmd := &cobra.Command{
		Use:   "stage",
		Short: "Make the next authority, for apps to trust before it signs",
		Long: `stage makes the authority that is to take today's place: it expires later, and signs for the names that the routes have now.
Until "ca promote" it signs nothing, and export, bundle and install give its root beside today's. Renew in three steps: stage;
have every app trust what export gives; promote, and restart bearerd.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return eachAuthority(cmd, config, "staged", func(o authority.Options) (*authority.Root, error) {
				return authority.Stage(cmd.Context(), o, again)
			})
		},
	}
	config.add(cmd)
	cmd.Flags().BoolVar(&again, "again", false, "replace one that is staged already; apps must then trust the newer root")
	return cmd
}

func caPromoteCommand() *cobra.Command {
	var config configFlag
	cmd := &cobra.Command{
		Use:   "promote",
		Short: "Have the staged authority sign, in place of today's",
		Long: `promote puts the authority that "ca stage" made in the place of today's, whose key is forgotten. Every app must trust its root by then.
bearerd signs with it once it is restarted; until then the old root counts, and so it stays in what export, bundle and install give.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := authorityOptions(cmd, config)
			if err != nil {
				return err
			}
			// One that is missing must not leave the other promoted.
			for _, o := range all {
				if _, err := authority.Staged(o); err != nil {
					return err
				}
			}
			return eachAuthority(cmd, config, "promoted", func(o authority.Options) (*authority.Root, error) {
				return authority.Promote(cmd.Context(), o)
			})
		},
	}
	config.add(cmd)
	return cmd
}

// eachAuthority makes an authority by make, and the RSA one where a listener
// needs it, and describes what was done.
func eachAuthority(cmd *cobra.Command, config configFlag, done string, make func(authority.Options) (*authority.Root, error)) error {
	all, err := authorityOptions(cmd, config)
	if err != nil {
		return err
	}
	for _, o := range all {
		root, err := make(o)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s\nsha256   %s\nexpires  %s\nsigns for %v\n",
			done, root.Path(), root.Fingerprint(), date(root.Expires()), root.Permitted()); err != nil {
			return err
		}
	}
	return nil
}

func caExportCommand() *cobra.Command {
	var config configFlag
	var format, out, password string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the root's certificate, for apps to trust",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			roots, err := exportedRoots(cmd, config)
			if err != nil {
				return err
			}
			var store []byte
			switch format {
			case "pem":
				store = roots.PEM()
			case "pkcs12":
				store, err = roots.PKCS12(password)
			case "jks":
				store, err = roots.JKS(password)
			default:
				return usageError(cmd, fmt.Errorf("--format: %q is not known; use pem, pkcs12 or jks", format))
			}
			if err != nil {
				return err
			}
			return writeOut(cmd, out, store)
		},
	}
	config.add(cmd)
	cmd.Flags().StringVar(&format, "format", "pem", "`format`: pem, or for Java pkcs12 (read since 8u301) or jks (read by every Java)")
	cmd.Flags().StringVar(&out, "out", "", "`file` to write; empty: standard output")
	cmd.Flags().StringVar(&password, "password", trust.Password, "`password` of a store for Java, which holds no secret; changeit is what Java expects")
	return cmd
}

func caBundleCommand() *cobra.Command {
	var config configFlag
	var out string
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Write the system's roots and ours in one PEM file",
		Long: `bundle is for programs that take one file in place of the system's roots:
SSL_CERT_FILE, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, GIT_SSL_CAINFO. Write it anew when the system's roots change.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			roots, err := exportedRoots(cmd, config)
			if err != nil {
				return err
			}
			bundle, err := roots.Bundle()
			if err != nil {
				return err
			}
			return writeOut(cmd, out, bundle)
		},
	}
	config.add(cmd)
	cmd.Flags().StringVar(&out, "out", "", "`file` to write; empty: standard output")
	return cmd
}

// authorityOptions describes the authority, and the RSA one where a listener
// needs it.
func authorityOptions(cmd *cobra.Command, config configFlag) ([]authority.Options, error) {
	c, err := config.load(cmd)
	if err != nil {
		return nil, err
	}
	return authoritiesOf(c)
}

func authoritiesOf(c *daemon.Config) ([]authority.Options, error) {
	table, err := c.Compile(c.LikelyCloud())
	if err != nil {
		return nil, err
	}
	all := []authority.Options{daemon.AuthorityOptions(c, table)}
	if o, needed := daemon.RSAAuthorityOptions(c, table); needed {
		all = append(all, o)
	}
	return all, nil
}

func exportedRoots(cmd *cobra.Command, config configFlag) (trust.Roots, error) {
	all, err := authorityOptions(cmd, config)
	if err != nil {
		return trust.Roots{}, err
	}
	return loadRoots(all)
}

// loadRoots gives the roots that apps need: the authority's, the RSA one's, and
// those that either keeps exported while it is renewed.
func loadRoots(all []authority.Options) (trust.Roots, error) {
	var text []byte
	for _, o := range all {
		root, err := authority.Load(o)
		if err != nil {
			return trust.Roots{}, err
		}
		text = append(text, root.RootPEM()...)
	}
	return trust.Parse(text)
}

// writeOut writes to standard output where no file is named.
func writeOut(cmd *cobra.Command, file string, data []byte) error {
	if file == "" {
		_, err := cmd.OutOrStdout().Write(data)
		return err
	}
	return trust.WriteFile(file, data)
}
