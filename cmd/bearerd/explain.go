package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/proxy"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/entra"
	"github.com/bearerd/bearerd/proxy/route"
)

func explainCommand() *cobra.Command {
	var config configFlag
	var method, cloud string
	var fields []string
	var who callerFlags
	cmd := &cobra.Command{
		Use:   "explain URL",
		Short: "Tell what would become of a call, and why",
		Long: `explain tells which route takes a call, why, whose token is attached and for which audience, what the call does, and which header fields change.
It asks the configuration, not a running bearerd, and sends nothing. URL is what an app calls: the service's, or a base URL of a listener's.`,
		Example: `  bearerd explain https://payroll.vault.azure.net/secrets/db?api-version=7.4
  bearerd explain http://127.0.0.1:8180/vault/secrets/db
  bearerd explain --method PUT --header 'x-ms-version: 2011-08-18' 'https://acct.blob.core.windows.net/c/b?comp=lease'`,
		Args: exactArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config.load(cmd)
			if err != nil {
				return err
			}
			named := c.LikelyCloud()
			if cloud != "" {
				if _, auto := c.Cloud(); !auto {
					return usageError(cmd, fmt.Errorf("--cloud: the configuration says which cloud it is, %s; leave the flag out", named.Name))
				}
				var ok bool
				if named, ok = azure.CloudNamed(cloud); !ok {
					return usageError(cmd, fmt.Errorf("--cloud: no cloud is called %q; use one of %s", cloud, strings.Join(azure.CloudNames(), ", ")))
				}
			}
			table, err := c.Compile(named)
			if err != nil {
				return err
			}
			logins, err := c.Logins(named, table)
			if err != nil {
				return err
			}
			call, err := parseCall(method, args[0], fields)
			if err != nil {
				return usageError(cmd, err)
			}
			from, err := who.caller()
			if err != nil {
				return usageError(cmd, err)
			}
			return explain(cmd.OutOrStdout(), c, proxy.Settings{Routes: table, Logins: logins}, call, from)
		},
	}
	config.add(cmd)
	cmd.Flags().StringVar(&method, "method", http.MethodGet, "`method` of the call")
	cmd.Flags().StringArrayVar(&fields, "header", nil, "header field of the call, as `'Name: value'`; may be given again")
	cmd.Flags().StringVar(&cloud, "cloud", "", "`cloud` to assume where the configuration says auto: "+strings.Join(azure.CloudNames(), ", "))
	who.add(cmd)
	return cmd
}

// callerFlags say who makes the call.
type callerFlags struct {
	user, cgroup string
	groups       []string
}

func (f *callerFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.user, "user", "", "`user` who calls, by name or number, for routes that name callers")
	cmd.Flags().StringArrayVar(&f.groups, "group", nil, "`group` of the caller's, by name or number; may be given again; default those that the user has on this machine")
	cmd.Flags().StringVar(&f.cgroup, "cgroup", "", "`path` of the caller's cgroup")
}

func (f *callerFlags) caller() (*caller.Caller, error) {
	if f.user == "" {
		if len(f.groups) > 0 || f.cgroup != "" {
			return nil, errors.New("--group and --cgroup go with --user; add it, for a caller whose user is not known is in none")
		}
		return &caller.Caller{Unknown: "--user tells who calls"}, nil
	}
	account, err := caller.ParseUser(f.user)
	if err != nil {
		return nil, fmt.Errorf("--user: %w", err)
	}
	var groups []uint32
	for _, text := range f.groups {
		group, err := caller.ParseGroup(text)
		if err != nil {
			return nil, fmt.Errorf("--group: %w", err)
		}
		groups = append(groups, group.ID)
	}
	var cgroup string
	if f.cgroup != "" {
		if cgroup, err = caller.ParseCgroup(f.cgroup); err != nil {
			return nil, fmt.Errorf("--cgroup: %w", err)
		}
	}
	return caller.New().Assume(account.ID, groups, cgroup), nil
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

// operationText tells what the call does and, where that matters to a route,
// why it is not as good as any.
func operationText(op azure.Operation) string {
	switch {
	case !op.Understood():
		return op.Name + " (not understood: " + op.Reason + ")"
	case op.Mints:
		return op.Name + " (gives a credential that works past bearerd)"
	}
	return op.Name
}

// isBaseURL reports whether a call is to one of the listeners itself. The port
// of one that takes any free port is not known, so that every port may be it.
func isBaseURL(c *daemon.Config, call *azure.Call) bool {
	if call.Scheme != "http" {
		return false
	}
	if slices.Contains(c.Names, call.Host) {
		return true
	}
	host, _ := netip.ParseAddr(call.Host)
	port := cmp.Or(call.Port, 80)
	return slices.ContainsFunc(c.Listen, func(l daemon.Listener) bool {
		at := l.Address.TCP
		switch {
		case l.Mode != daemon.ModeExplicit:
			return false
		case l.Address.Unix != "":
			return call.Host == "localhost"
		case at.Port() != port && at.Port() != 0:
			return false
		case call.Host == "localhost":
			return at.Addr().IsUnspecified() || l.Address.IsLocal()
		}
		return host.IsValid() && (at.Addr().IsUnspecified() || at.Addr().Unmap() == host.Unmap())
	})
}

// explainLogin tells what becomes of a call to a login host, as far as that can
// be told without the form.
func explainLogin(w io.Writer, logins *entra.Logins, call *azure.Call) {
	d := logins.Decide(&entra.Request{Call: call, Base: "https://" + call.Host, Now: time.Now()})
	action := map[entra.Action]string{entra.Pass: "pass", entra.Read: "answer or pass", entra.Answer: "answer"}[d.Action]
	fmt.Fprintf(w, "action\t%s\nreason\t%s\n", action, d.Reason)
}

func explain(out io.Writer, c *daemon.Config, settings proxy.Settings, call *azure.Call, from *caller.Caller) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if isBaseURL(c, call) {
		upstream, ok := proxy.Gateway(call, settings)
		if !ok {
			fmt.Fprintf(w, "action\t%s\nreason\tit is a base URL, whose path begins with no gateway of the configuration's; it has: %s\nerror\t404 %s\n",
				route.Refuse, cmp.Or(strings.Join(proxy.Gateways(settings), ", "), "none"), proxy.CodeUnknownGateway)
			return w.Flush()
		}
		call = upstream
		host := call.Host
		if call.Port != 443 {
			host = net.JoinHostPort(host, strconv.Itoa(int(call.Port)))
		}
		fmt.Fprintf(w, "upstream\t%s://%s%s\n", call.Scheme, host, call.Path)
	}
	if settings.Logins.Names(call.Host) {
		explainLogin(w, settings.Logins, call)
		return w.Flush()
	}
	d := settings.Routes.Decide(call, from, time.Now())
	if d.Action == route.Tunnel && c.RefuseUnmatched {
		d.Action, d.Code = route.Refuse, string(proxy.CodeUnmatched)
	}
	fmt.Fprintf(w, "action\t%s\n", d.Action)
	if d.Route == nil && slices.ContainsFunc(c.Listen, func(l daemon.Listener) bool { return l.Mode == daemon.ModeTransparent }) {
		fate := "where a redirect led it here, passed on to the address that the app calls; where a hosts entry did, closed"
		if c.RefuseUnmatched {
			fate = "closed without an answer"
		}
		fmt.Fprintf(w, "transparent\t%s\n", fate)
	}
	if d.Route != nil {
		fmt.Fprintf(w, "route\t%s\n", d.Route)
	}
	fmt.Fprintf(w, "reason\t%s\n", d.Reason)
	if d.Code != "" {
		fmt.Fprintf(w, "error\t%d %s\n", proxy.RefusalStatus(d), d.Code)
	}
	if d.Operation.Name != "" {
		fmt.Fprintf(w, "operation\t%s\n", operationText(d.Operation))
	}
	if d.Operation.Carries() && d.Route != nil && d.Action != route.Refuse {
		fmt.Fprint(w, "calls\tthose in its body are judged one by one, each as a call of its own\n")
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
