package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/source"
	"github.com/bearerd/bearerd/proxy/azure"
)

func tokenCommand() *cobra.Command {
	var config configFlag
	var audience string
	var show bool
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Ask for the tokens of the routes and print what they say",
		Long: `token asks the identity endpoint once for each identity and audience that the routes need, and prints the claims and the expiry of what it gives.
The token itself is printed with --show-token alone: whoever holds it has the identity until it expires.`,
		Example: `  bearerd token
  bearerd token --audience https://vault.azure.net
  curl -H "Authorization: Bearer $(bearerd token --audience https://vault.azure.net --show-token)" ...`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.load(cmd)
			if err != nil {
				return err
			}
			machine, err := imds.New(imds.Options{Endpoint: c.IMDS.Endpoint})
			if err != nil {
				return err
			}
			defer machine.Close()
			keys, err := keysOf(c, cloudOf(cmd.Context(), c, machine), audience)
			if err != nil {
				return err
			}
			if show && len(keys) != 1 {
				return usageError(cmd, fmt.Errorf("--show-token wants one token, and there are %d; name an audience with --audience", len(keys)))
			}
			sources := source.NewMux(machine, source.Options{})
			var failures []error
			for i, k := range keys {
				token, err := sources.Token(cmd.Context(), k.Identity, k.Audience)
				switch {
				case err != nil:
					failures = append(failures, err)
				case show:
					if _, err := fmt.Fprintln(cmd.OutOrStdout(), token.Secret()); err != nil {
						return err
					}
				default:
					if i > 0 {
						fmt.Fprintln(cmd.OutOrStdout())
					}
					if err := printToken(cmd.OutOrStdout(), k, token, time.Now()); err != nil {
						return err
					}
				}
			}
			return errors.Join(failures...)
		},
	}
	config.add(cmd)
	cmd.Flags().StringVar(&audience, "audience", "", "the one `audience` to ask for; empty: those of all routes")
	cmd.Flags().BoolVar(&show, "show-token", false, "print the token, and nothing else")
	return cmd
}

// cloudOf gives the configuration's cloud or, where IMDS is to name it, that one.
func cloudOf(ctx context.Context, c *daemon.Config, machine *imds.Client) *azure.Cloud {
	if _, auto := c.Cloud(); auto && c.AsksIMDS() {
		// A failure is told by the tokens that are asked for next.
		environment, _ := machine.Environment(ctx)
		if cloud, known := azure.CloudFromEnvironment(environment); known {
			return cloud
		}
	}
	return c.LikelyCloud()
}

// keysOf gives the identities and audiences to ask for: those of the routes, or
// the one audience with the identity of the routes that have it, else the
// process's.
func keysOf(c *daemon.Config, cloud *azure.Cloud, audience string) ([]cache.Key, error) {
	table, err := c.Compile(cloud)
	if err != nil {
		return nil, err
	}
	all := daemon.Keys(table, false)
	if audience == "" {
		if len(all) == 0 {
			return nil, errors.New("the configuration has no routes; name an audience with --audience")
		}
		return all, nil
	}
	var keys []cache.Key
	for _, k := range all {
		if strings.TrimSuffix(k.Audience, "/") == strings.TrimSuffix(audience, "/") {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		keys = []cache.Key{{Identity: c.Identity, Audience: audience}}
	}
	return keys, nil
}

func printToken(out io.Writer, k cache.Key, t *imds.Token, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "audience\t%s\nidentity\t%s\n", k.Audience, k.Identity)
	fmt.Fprintf(w, "expires\t%s (in %s)\n", t.Expires().UTC().Format(time.RFC3339), t.Expires().Sub(now).Round(time.Second))
	claims, err := t.Claims()
	if err != nil {
		fmt.Fprintf(w, "claims\t%v\n", err)
		return w.Flush()
	}
	for _, claim := range []struct{ name, value string }{
		{"aud", claims.Audience}, {"iss", claims.Issuer}, {"tid", claims.TenantID}, {"oid", claims.ObjectID},
		{"appid", claims.AppID}, {"xms_mirid", claims.ResourceID},
		{"iat", date(claims.IssuedAt)}, {"nbf", date(claims.NotBefore)}, {"exp", date(claims.Expires)},
	} {
		if claim.value != "" {
			fmt.Fprintf(w, "%s\t%s\n", claim.name, claim.value)
		}
	}
	return w.Flush()
}

func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
