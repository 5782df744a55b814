package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/source"
	"github.com/bearerd/bearerd/proxy/authority"
	"github.com/bearerd/bearerd/proxy/azure"
)

// clockTolerance is how far a clock may be off before it is called wrong:
// services allow five minutes.
const clockTolerance = 5 * time.Minute

func doctorCommand() *cobra.Command {
	var config configFlag
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what keeps bearerd from working here",
		Long: `doctor checks the configuration, IMDS, the identities and audiences of the routes, this machine's clock, the local authority, who trusts it, and the rules of redirect.
It asks IMDS itself, once for each token that the routes need; each failure ends with what to do. Each runtime that it finds (curl, git, OpenSSL, Python, Node.js, Java, Go) it has call a server of its own, in the environment that it runs in. It exits 1 if anything failed.`,
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
			e := &examination{out: cmd.OutOrStdout(), config: c, imds: machine, tokens: source.NewMux(machine, source.Options{}), now: time.Now}
			return e.run(cmd.Context())
		},
	}
	config.add(cmd)
	return cmd
}

// examination is one run of doctor.
type examination struct {
	out      io.Writer
	config   *daemon.Config
	imds     *imds.Client
	tokens   *source.Mux
	now      func() time.Time
	failed   int
	unpinned []imds.Identity // that the operator was told of
}

func (e *examination) ok(format string, args ...any) {
	fmt.Fprintf(e.out, "ok    "+format+"\n", args...)
}

func (e *examination) warn(format string, args ...any) {
	fmt.Fprintf(e.out, "warn  "+format+"\n", args...)
}

func (e *examination) fail(format string, args ...any) {
	e.failed++
	fmt.Fprintf(e.out, "FAIL  "+format+"\n", args...)
}

func (e *examination) run(ctx context.Context) error {
	for _, warning := range e.config.Warnings() {
		e.warn("configuration: %s", warning)
	}
	e.ok("configuration: it is valid")
	cloud := e.config.LikelyCloud()
	if e.config.AsksIMDS() {
		cloud = e.cloud(ctx)
	}
	table, err := e.config.Compile(cloud)
	if err != nil {
		e.fail("configuration: %v", err)
	} else {
		for _, k := range daemon.Keys(table, false) {
			e.token(ctx, k.Identity, k.Audience)
		}
		e.authority("authority", daemon.AuthorityOptions(e.config, table))
		if o, needed := daemon.RSAAuthorityOptions(e.config, table); needed {
			e.authority("RSA authority", o)
		}
		e.trust(ctx, daemon.AuthorityOptions(e.config, table))
	}
	e.redirect()
	if e.failed > 0 {
		return fmt.Errorf("%d checks failed", e.failed)
	}
	return nil
}

// cloud asks IMDS which cloud this is, which also tells whether it is there.
func (e *examination) cloud(ctx context.Context) *azure.Cloud {
	assumed := e.config.LikelyCloud()
	environment, err := e.imds.Environment(ctx)
	if err != nil {
		e.fail("IMDS at %s: %v", e.config.IMDS.Endpoint, err) // ends with what to do
		return assumed
	}
	named, known := azure.CloudFromEnvironment(environment)
	_, auto := e.config.Cloud()
	switch {
	case !known:
		e.warn("IMDS: it names the cloud %q, which is not known; define it under cloud", environment)
	case auto:
		e.ok("IMDS: it answers and names the cloud %s", named.Name)
		return named
	case named.Name != assumed.Name:
		e.warn("IMDS: it names the cloud %s, and the configuration says %s; correct cloud unless that is meant", named.Name, assumed.Name)
	default:
		e.ok("IMDS: it answers, and its cloud is the configuration's")
	}
	return assumed
}

func (e *examination) token(ctx context.Context, id imds.Identity, audience string) {
	token, err := e.tokens.Token(ctx, id, audience)
	if err != nil {
		e.fail("%v", err) // names the token, and ends with what to do
		return
	}
	e.ok("token for %s (%s): it is valid for %s", audience, id, token.Expires().Sub(e.now()).Round(time.Minute))
	e.pin(id, token)
	e.clock(token)
}

// pin tells, once for an identity that the configuration leaves to IMDS, which
// one that is, and how to keep to it: where a user-assigned one is the machine's
// only one, IMDS picks another as soon as a policy adds a system-assigned one.
func (e *examination) pin(id imds.Identity, token *imds.Token) {
	claims, err := token.Claims()
	if err != nil || claims.ResourceID == "" || id.Pinned() || slices.Contains(e.unpinned, id) {
		return
	}
	e.unpinned = append(e.unpinned, id)
	if line := daemon.Pin(claims); line != "" {
		e.warn("identity: none is configured, and IMDS picks the user-assigned %s (object id %s) as long as it is the only one; to pin it, write %s", claims.ResourceID, claims.ObjectID, line)
		return
	}
	e.ok("identity: none is configured, and tokens are issued to the system-assigned one of %s (object id %s)", claims.ResourceID, claims.ObjectID)
}

// clock compares this machine's with the token issuer's.
func (e *examination) clock(token *imds.Token) {
	if ahead := token.ClockAhead(); ahead > 0 {
		e.fail("clock: this machine's is ahead by %s or more; set it (timedatectl set-ntp true)", ahead.Round(time.Minute))
		return
	}
	claims, err := token.Claims()
	if err != nil || claims.NotBefore.IsZero() {
		return
	}
	if behind := claims.NotBefore.Sub(e.now()); behind > clockTolerance {
		e.fail("clock: this machine's is behind by %s or more; set it (timedatectl set-ntp true)", behind.Round(time.Minute))
	}
}

func (e *examination) authority(which string, o authority.Options) {
	root, err := authority.Load(o)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.warn("%s: there is none yet; the first start of bearerd makes it, or `bearerd ca init`", which)
	case err != nil:
		e.fail("%v", err)
	default:
		if err := root.Covers(slices.Concat(o.Permit, o.Wildcards)...); err != nil {
			e.fail("%v", err)
			return
		}
		e.ok("%s: it covers the routes and expires on %s", which, root.Expires().Format(time.DateOnly))
	}
}
