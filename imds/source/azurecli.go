package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/bearerd/bearerd/imds"
)

const (
	maxAudience = 1024
	maxOutput   = 1 << 20 // of the Azure CLI: the answer has 3 KiB
	maxHint     = 4 << 10
	// pipesAfter is how long the Azure CLI's children may hold its output after
	// it has ended.
	pipesAfter = time.Second
)

// cli asks the Azure CLI for a token of the user that is signed in with it, on a
// developer's machine.
type cli struct {
	timeout time.Duration
	now     func() time.Time
	observe func(string, time.Duration)
	// turn is held by the one run under way: two can ruin the files that the
	// Azure CLI keeps.
	turn chan struct{}
}

func newCLI(o Options) *cli {
	c := &cli{timeout: o.Timeout, now: o.Now, observe: o.Observe, turn: make(chan struct{}, 1)}
	if c.observe == nil {
		c.observe = func(string, time.Duration) {}
	}
	return c
}

// Token makes one attempt to get a token
// (https://learn.microsoft.com/cli/azure/account#az-account-get-access-token).
func (c *cli) Token(ctx context.Context, id imds.Identity, audience string) (*imds.Token, error) {
	if fail := check(AzureCLI, id, audience); fail != nil {
		return nil, fail
	}
	if id.ClientID != "" || id.ObjectID != "" || id.ResourceID != "" {
		return nil, refuse(imds.Misconfigured, id, audience, errors.New("the Azure CLI gives tokens of its own user alone"),
			"name no client_id, object_id or resource_id beside source: azurecli")
	}
	if !validAudience(audience) {
		return nil, refuse(imds.Misconfigured, id, audience, errors.New("the audience is not one that the Azure CLI can be asked for"), "correct the route's audience")
	}
	attempt, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-attempt.Done():
		return nil, c.failed(ctx, attempt, id, audience, attempt.Err(), nil)
	}
	asked := c.now()
	output, hint, err := run(attempt, audience)
	came := c.now()
	if err != nil {
		c.observe("error", came.Sub(asked))
		return nil, c.failed(ctx, attempt, id, audience, err, hint)
	}
	c.observe("200", came.Sub(asked))
	token, err := imds.Answer{Status: 200, Body: translate(output), Asked: asked, Came: came}.Token(id, audience)
	if fail, ok := errors.AsType[*imds.Error](err); ok {
		fail.Status = 0 // nobody spoke HTTP
		fail.Advice = "run az account get-access-token by hand, and update the Azure CLI if it prints something else than a token"
	}
	return token, err
}

// validAudience holds an audience to what one is made of, so that it can be no
// option of the command's.
func validAudience(audience string) bool {
	if audience == "" || len(audience) > maxAudience || !isAlphanumeric(rune(audience[0])) {
		return false
	}
	return !strings.ContainsFunc(audience, func(r rune) bool { return !isAlphanumeric(r) && !strings.ContainsRune("-._~:/", r) })
}

// run runs the command, found in PATH, and gives what it printed.
func run(ctx context.Context, audience string) (output, hint []byte, err error) {
	// A vector of arguments: no shell reads the audience.
	cmd := exec.CommandContext(ctx, "az", "account", "get-access-token", "--resource", audience, "--output", "json")
	stdout, stderr := &bounded{limit: maxOutput}, &bounded{limit: maxHint}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "AZURE_CORE_NO_COLOR=true") // the hint is for a log
	endWithChildren(cmd)
	cmd.WaitDelay = pipesAfter
	err = cmd.Run()
	if err == nil && stdout.cut {
		err = fmt.Errorf("az printed more than %d bytes", maxOutput)
	}
	return stdout.kept, stderr.kept, err
}

// failed tells why there is no output. What of it says why is the command's hint.
func (c *cli) failed(ctx, attempt context.Context, id imds.Identity, audience string, err error, hint []byte) *imds.Error {
	ended, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil: // the caller's own reason
		return refuse(imds.Unavailable, id, audience, ctx.Err(), "ask again")
	case attempt.Err() != nil:
		return refuse(imds.Unavailable, id, audience, fmt.Errorf("az did not end within %s: %w", c.timeout, context.DeadlineExceeded), "run az account get-access-token by hand to see what holds it up")
	case exited:
		fail := refuse(imds.Denied, id, audience, fmt.Errorf("az: %s", ended.ProcessState), "run az login as bearerd's user")
		fail.Description = imds.Printable(string(hint))
		return fail
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, exec.ErrDot):
		return refuse(imds.Misconfigured, id, audience, errors.New("there is no az in PATH"), "install the Azure CLI, or correct the PATH of bearerd's environment")
	}
	return refuse(imds.Unavailable, id, audience, err, "run az account get-access-token by hand to see what is wrong")
}

// translate writes the command's answer as an endpoint would. expires_on is a
// Unix time; expiresOn, all that the Azure CLI before 2.54 has, is local time
// (https://github.com/Azure/azure-cli/issues/19700).
func translate(output []byte) []byte {
	var a struct {
		Token     string      `json:"accessToken"`
		Type      string      `json:"tokenType"`
		Expires   json.Number `json:"expires_on"`
		LocalTime string      `json:"expiresOn"`
	}
	if json.Unmarshal(output, &a) != nil {
		return nil
	}
	expires := a.Expires.String()
	if at, err := parseLocal(a.LocalTime); expires == "" && err == nil {
		expires = strconv.FormatInt(at.Unix(), 10)
	}
	out, err := json.Marshal(map[string]string{"access_token": a.Token, "token_type": a.Type, "expires_on": expires})
	if err != nil {
		return nil // cannot be: three strings
	}
	return out
}

// parseLocal reads a local time. The one that comes twice, when summer time
// ends, is taken for the first.
func parseLocal(text string) (time.Time, error) {
	const layout = "2006-01-02 15:04:05.999999"
	at, err := time.ParseInLocation(layout, text, time.Local)
	if earlier := at.Add(-time.Hour); err == nil && earlier.Format(layout) == at.Format(layout) {
		return earlier, nil
	}
	return at, err
}

// bounded keeps the beginning of what is written to it and drops the rest, so
// that the writer can end.
type bounded struct {
	kept  []byte
	limit int
	cut   bool
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	fits := min(len(p), b.limit-len(b.kept))
	b.kept = append(b.kept, p[:fits]...)
	b.cut = b.cut || fits < len(p)
	return len(p), nil
}
