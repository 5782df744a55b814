package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/proxy"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

func explainCommand() *cobra.Command {
	var config configFlag
	var method, cloud string
	var fields []string
	cmd := &cobra.Command{
		Use:   "explain URL",
		Short: "Tell what would become of a call, and why",
		Long: `explain tells which route takes a call, why, whose token is attached and for which audience, and which header fields change.
It asks the configuration, not a running bearerd, and sends nothing. URL is the service's, as an app would call it.`,
		Example: `  bearerd explain https://payroll.vault.azure.net/secrets/db?api-version=7.4
  bearerd explain --method PUT --header 'x-ms-version: 2011-08-18' https://acct.blob.core.windows.net/c/b`,
		Args: exactArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config.load(cmd)
			if err != nil {
				return err
			}
			named := c.LikelyCloud()
			if cloud != "" {
				var ok bool
				if named, ok = azure.CloudNamed(cloud); !ok {
					return usageError(cmd, fmt.Errorf("--cloud: no cloud is called %q; use one of %s", cloud, strings.Join(azure.CloudNames(), ", ")))
				}
			}
			table, err := c.Compile(named)
			if err != nil {
				return err
			}
			call, err := parseCall(method, args[0], fields)
			if err != nil {
				return usageError(cmd, err)
			}
			return explain(cmd.OutOrStdout(), c, table, call)
		},
	}
	config.add(cmd)
	cmd.Flags().StringVar(&method, "method", http.MethodGet, "`method` of the call")
	cmd.Flags().StringArrayVar(&fields, "header", nil, "header field of the call, as `'Name: value'`; may be given again")
	cmd.Flags().StringVar(&cloud, "cloud", "", "`cloud` to assume where the configuration says auto: "+strings.Join(azure.CloudNames(), ", "))
	return cmd
}

// parseCall makes the call that the flags describe.
func parseCall(method, text string, fields []string) (*azure.Call, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("the URL cannot be parsed; write it like https://payroll.vault.azure.net/secrets/db")
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return nil, errors.New("the URL must start with https:// or http:// and hold no user name; write it like https://payroll.vault.azure.net/secrets/db")
	}
	host, port, err := azure.NormalizeHost(u.Host)
	if err != nil {
		return nil, fmt.Errorf("the URL's host: %w", err)
	}
	header := make(http.Header)
	for _, field := range fields {
		name, value, ok := strings.Cut(field, ":")
		if !ok || name == "" {
			return nil, errors.New("--header wants 'Name: value'")
		}
		header.Add(name, textproto.TrimString(value))
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return &azure.Call{
		Method: method, Scheme: u.Scheme, Host: host, Port: port, Path: path, Query: u.RawQuery,
		Header: azure.Header(header), Length: -1,
	}, nil
}

func explain(out io.Writer, c *daemon.Config, table *route.Table, call *azure.Call) error {
	d := table.Decide(call, time.Now())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	action := d.Action.String()
	if d.Action == route.Tunnel && c.RefuseUnmatched {
		action = "refuse"
	}
	fmt.Fprintf(w, "action\t%s\n", action)
	if d.Route != nil {
		fmt.Fprintf(w, "route\t%s\n", d.Route)
	}
	fmt.Fprintf(w, "reason\t%s\n", d.Reason)
	if d.Code != "" {
		fmt.Fprintf(w, "error\t403 %s\n", d.Code)
	}
	if d.Action == route.Inject {
		fmt.Fprintf(w, "identity\t%s\naudience\t%s\n", d.Route.Identity, d.Route.Audience)
	}
	for _, change := range proxy.Explain(call, d) {
		if change.Value == "" {
			fmt.Fprintf(w, "drop\t%s\n", change.Name)
		} else {
			fmt.Fprintf(w, "set\t%s: %s\n", change.Name, change.Value)
		}
	}
	return w.Flush()
}
