package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/source"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/dial"
	"github.com/bearerd/bearerd/proxy/route"
)

func doctorCommand() *cobra.Command {
	var config configFlag
	var asJSON, noProbe bool
	timeout := 30 * time.Second
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what keeps bearerd from working here",
		Long: `doctor looks at everything that has to be right for a call to get through, and says of each what it saw and, where that is wrong, what to do:
the configuration, proxy variables, IMDS and the way to it, the identity and the token of each route, this machine's clock, the names of the routed hosts
(private endpoint or public address), TCP and TLS to them, whether the identity may use them, the local authority and who trusts it,
entries of the hosts file, the rules of redirect, the running bearerd, and who may read its files.
It asks IMDS itself, once for each token that the routes need. With that token it makes one call to each host that a route names, which lists a single
name and changes nothing; --no-probe leaves that out. It never prints a token.
Each runtime that it finds (curl, git, OpenSSL, Python, Node.js, Java, Go) it has call a server of its own, in the environment that it runs in.
It exits 0 where all is well, 3 where the worst is a warning, and 1 where something failed.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.load(cmd)
			if err != nil {
				return err
			}
			e, err := newExamination(c, !noProbe)
			if err != nil {
				return err
			}
			defer e.imds.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			findings := e.run(ctx)
			if asJSON {
				err = writeFindingsJSON(cmd.OutOrStdout(), findings)
			} else {
				err = writeFindings(cmd.OutOrStdout(), findings)
			}
			if err != nil {
				return err
			}
			return verdictOf(findings)
		},
	}
	config.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	cmd.Flags().BoolVar(&noProbe, "no-probe", false, "make no call with a token")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "`time` for all of it; what is not done by then fails")
	return cmd
}

// verdictOf gives the exit code of the worst finding.
func verdictOf(findings []finding) error {
	var warned, failed int
	for _, f := range findings {
		switch f.Level {
		case levelWarn:
			warned++
		case levelFail:
			failed++
		}
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%d checks failed", failed)
	case warned > 0:
		return &exitError{exitWarned, fmt.Errorf("%d warnings", warned)}
	}
	return nil
}

// examination is one run of doctor.
type examination struct {
	config *daemon.Config
	imds   *imds.Client
	tokens *source.Mux
	dialer *dial.Dialer
	names  *dial.DNS
	probe  bool // make calls with tokens
	now    func() time.Time
	getenv func(string) string
	proc   string // where the processes of this machine are told

	hostsPath string // of the machine's hosts file

	cloud *azure.Cloud
	table *route.Table

	mu     sync.Mutex // guards what follows
	got    map[tokenKey]*imds.Token
	clocks []clockSeen
}

type tokenKey struct {
	identity imds.Identity
	audience string
}

// clockSeen is what somebody else's clock said.
type clockSeen struct {
	who   string
	ahead time.Duration // of this machine's
}

func newExamination(c *daemon.Config, probe bool) (*examination, error) {
	e := &examination{
		config: c, names: dial.NewDNS(c.Upstream.Resolvers), probe: probe, now: time.Now, getenv: os.Getenv, proc: "/proc", hostsPath: "/etc/hosts",
		got: make(map[tokenKey]*imds.Token),
	}
	machine, err := imds.New(imds.Options{Endpoint: c.IMDS.Endpoint, Transport: &dated{inner: imds.NewHTTPClient(nil).Transport, e: e, who: "IMDS"}})
	if err != nil {
		return nil, err
	}
	e.imds, e.tokens = machine, source.NewMux(machine, source.Options{})
	e.dialer, err = c.NewDialer(e.ownAddresses)
	return e, err
}

// ownAddresses are where the configuration listens.
func (e *examination) ownAddresses() (all []netip.AddrPort) {
	for _, l := range e.config.Listen {
		if l.Address.TCP.IsValid() {
			all = append(all, l.Address.TCP)
		}
	}
	if admin := e.config.Admin.Address.TCP; admin.IsValid() {
		all = append(all, admin)
	}
	return all
}

// run makes every check. What does not depend on one another runs side by side;
// the order of the findings is always the same.
func (e *examination) run(ctx context.Context) []finding {
	found := []finding{{Check: "version", Seen: fmt.Sprintf("bearerd %s, %s, %s/%s", versionOf(), runtime.Version(), runtime.GOOS, runtime.GOARCH)}}
	found = append(found, e.configuration()...)
	found = append(found, e.environment()...)
	found = append(found, e.machine(ctx)...)
	table, err := e.config.Compile(e.cloud)
	if err != nil {
		return append(found, failed("configuration", e.cloud.Name, err))
	}
	e.table = table
	all := []func(context.Context) []finding{e.identities, e.hosts, e.authorities, e.trust, e.hostsFile, e.redirect, e.running, e.files}
	results := make([][]finding, len(all))
	var wg sync.WaitGroup
	for i, check := range all {
		wg.Go(func() { results[i] = check(ctx) })
	}
	wg.Wait()
	found = append(found, results[0]...)
	found = append(found, results[1]...)
	if e.probe {
		found = append(found, e.calls(ctx)...)
	}
	found = append(found, e.clock()...)
	for _, r := range results[2:] {
		found = append(found, r...)
	}
	return found
}

func (e *examination) configuration() []finding {
	found := []finding{{Check: "configuration", Seen: "it is valid", Subject: e.config.Path()}}
	for _, warning := range e.config.Warnings() {
		seen, do := splitAdvice(warning)
		found = append(found, finding{Check: "configuration", Level: levelWarn, Seen: seen, Do: do})
	}
	return found
}

func writeFindingsJSON(w io.Writer, findings []finding) error {
	worst := levelOK
	for _, f := range findings {
		worst = max(worst, f.Level)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(struct {
		Worst    level     `json:"worst"`
		Findings []finding `json:"findings"`
	}{worst, findings})
}
