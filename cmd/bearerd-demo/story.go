package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
)

// story is the demo's run: the world, and two apps in it.
type story struct {
	*world
	out     io.Writer
	direct  *http.Client // is given a base URL
	proxied *http.Client // has proxy variables, and trusts the authority's root
}

// step is one thing that an app does and what must come of it. It gives a line
// on what was seen.
type step struct {
	title string
	do    func(s *story, ctx context.Context) (seen string, err error)
}

func steps() []step {
	return []step{
		{"an app reads a secret by base URL: plain HTTP on loopback, no SDK, no token", (*story).secretByBaseURL},
		{"another reads it through HTTPS_PROXY, its URL unchanged", (*story).secretByProxy},
		{"a blob is written and read back; Storage insists on a recent x-ms-version, which bearerd adds", (*story).blob},
		{"a list of Resource Manager's is paged through the base URL, page by page", (*story).pages},
		{"a write to Resource Manager is refused, for its route is for reading only", (*story).refused},
		{"a host that no route names is tunnelled untouched, and gets no token", (*story).unrouted},
		{"IMDS answers 429: what is cached is served at once, a new audience waits as long as IMDS asks", (*story).throttled},
		{"the vault revokes the token: bearerd gets another and sends the call again", (*story).revoked},
		{"a hundred calls later, IMDS has been asked once for each audience, and nothing odd reached a service", (*story).counted},
	}
}

func tellStory(ctx context.Context, listen string, out io.Writer, steps []step) (err error) {
	log := &journal{}
	w, err := start(ctx, settings{listen: listen, level: "debug", access: "all", log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	s := &story{world: w, out: out}
	proxy, err := url.Parse(w.url)
	if err != nil {
		return err
	}
	if s.direct, err = w.app(nil); err != nil {
		return err
	}
	defer s.direct.CloseIdleConnections()
	if s.proxied, err = w.app(proxy, w.daemon.Root().RootPEM(), w.cloud.CAPEM()); err != nil {
		return err
	}
	defer s.proxied.CloseIdleConnections()

	fmt.Fprintf(out, "bearerd %s in front of an emulated Azure, all on loopback; no app below holds a credential.\n\n", w.url)
	for i, step := range steps {
		seen, err := step.do(s, ctx)
		if err != nil {
			fmt.Fprintf(out, "%d. %s\n   FAILED: %v\n", i+1, step.title, err)
			return fmt.Errorf("step %d failed; bearerd's log:\n%s", i+1, log)
		}
		fmt.Fprintf(out, "%d. %s\n   %s\n", i+1, step.title, seen)
	}
	fmt.Fprintf(out, "\nAll %d steps hold. To try it by hand: go run ./cmd/bearerd-demo --serve\n", len(steps))
	return nil
}

// call makes one call and gives the answer's body; any status but want is an
// error.
func (s *story) call(ctx context.Context, client *http.Client, want int, method, target, body string, header ...string) (string, *http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return "", nil, err
	}
	for _, field := range header {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Set(name, value)
	}
	answer, err := client.Do(r)
	if err != nil {
		return "", nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", nil, err
	}
	if answer.StatusCode != want {
		return "", nil, fmt.Errorf("%s %s gave %s, want %d: %s", method, target, answer.Status, want, text)
	}
	return string(text), answer, nil
}

const secretPath = "/secrets/db?api-version=7.4"

// secret reads the secret and checks its value.
func (s *story) secret(ctx context.Context, client *http.Client, base string) (string, error) {
	text, answer, err := s.call(ctx, client, http.StatusOK, http.MethodGet, base+secretPath, "")
	if err != nil {
		return "", err
	}
	var secret struct{ Value string }
	if err := json.Unmarshal([]byte(text), &secret); err != nil || secret.Value != "correct horse battery staple" {
		return "", fmt.Errorf("the secret is %q (%v)", text, err)
	}
	return fmt.Sprintf("GET %s%s -> %s, %s, %q", base, secretPath, answer.Proto, answer.Status, secret.Value), nil
}

func (s *story) secretByBaseURL(ctx context.Context) (string, error) {
	return s.secret(ctx, s.direct, s.url+"/vault")
}

func (s *story) secretByProxy(ctx context.Context) (string, error) {
	return s.secret(ctx, s.proxied, "https://"+azuretest.VaultHost)
}

func (s *story) blob(ctx context.Context) (string, error) {
	container := "https://" + azuretest.BlobHost + "/reports"
	if _, _, err := s.call(ctx, s.proxied, http.StatusCreated, http.MethodPut, container+"?restype=container", ""); err != nil {
		return "", err
	}
	if _, _, err := s.call(ctx, s.proxied, http.StatusCreated, http.MethodPut, container+"/today.txt", "all is well", "X-Ms-Blob-Type: BlockBlob"); err != nil {
		return "", err
	}
	text, _, err := s.call(ctx, s.direct, http.StatusOK, http.MethodGet, s.url+"/blob/reports/today.txt", "")
	if err != nil || text != "all is well" {
		return "", fmt.Errorf("the blob is %q (%w)", text, err)
	}
	return fmt.Sprintf("PUT %s/today.txt, GET %s/blob/reports/today.txt -> %q", container, s.url, text), nil
}

func (s *story) pages(ctx context.Context) (string, error) {
	next := s.url + "/arm/subscriptions/" + azuretest.Subscription + "/resourcegroups?api-version=2021-04-01"
	var pages, groups int
	for next != "" {
		if !strings.HasPrefix(next, s.url+"/arm/") {
			return "", fmt.Errorf("the next page is %s, which leads around bearerd", next)
		}
		text, _, err := s.call(ctx, s.direct, http.StatusOK, http.MethodGet, next, "")
		if err != nil {
			return "", err
		}
		var page struct {
			Value    []json.RawMessage
			NextLink string
		}
		if err := json.Unmarshal([]byte(text), &page); err != nil {
			return "", err
		}
		pages, groups, next = pages+1, groups+len(page.Value), page.NextLink
	}
	if pages < 2 || groups < 3 {
		return "", fmt.Errorf("%d groups on %d pages, want several pages", groups, pages)
	}
	return fmt.Sprintf("%d resource groups on %d pages; every nextLink led back to %s/arm", groups, pages, s.url), nil
}

func (s *story) refused(ctx context.Context) (string, error) {
	target := s.url + "/arm/subscriptions/" + azuretest.Subscription + "/resourcegroups/new?api-version=2021-04-01"
	text, answer, err := s.call(ctx, s.direct, http.StatusForbidden, http.MethodPut, target, `{"location":"westeurope"}`)
	if err != nil {
		return "", err
	}
	code := answer.Header.Get("Bearerd-Error")
	if code != "BearerdNotPermitted" {
		return "", fmt.Errorf("the refusal is not bearerd's: %q %s", code, text)
	}
	return fmt.Sprintf("PUT .../resourcegroups/new -> %s, Bearerd-Error: %s", answer.Status, code), nil
}

func (s *story) unrouted(ctx context.Context) (string, error) {
	text, _, err := s.call(ctx, s.proxied, http.StatusOK, http.MethodGet, "https://"+plainHost+"/", "")
	if err != nil {
		return "", err
	}
	var echoed azuretest.Echoed
	if err := json.Unmarshal([]byte(text), &echoed); err != nil {
		return "", err
	}
	if len(echoed.Header["Authorization"]) > 0 {
		return "", errors.New("the host was sent a token")
	}
	return fmt.Sprintf("GET https://%s/ -> no Authorization arrived", plainHost), nil
}

func (s *story) throttled(ctx context.Context) (string, error) {
	s.imds.Script(imdstest.Throttled(imdstest.Seconds(1)))
	began := time.Now()
	waited := make(chan error, 1)
	go func() {
		_, _, err := s.call(ctx, s.direct, http.StatusOK, http.MethodGet, s.url+"/contoso/hello", "")
		waited <- err
	}()
	_, err := s.secret(ctx, s.direct, s.url+"/vault")
	cached := time.Since(began)
	if err := errors.Join(err, <-waited); err != nil {
		return "", err
	}
	took := time.Since(began)
	if cached > 500*time.Millisecond || took < time.Second {
		return "", fmt.Errorf("the cached token took %v and the new one %v, want at once and a second", cached, took)
	}
	return fmt.Sprintf("the vault answered after %v; %s after %v, once the pause was over", cached.Round(time.Millisecond), apiHost, took.Round(100*time.Millisecond)), nil
}

func (s *story) revoked(ctx context.Context) (string, error) {
	before := len(s.imds.Calls())
	s.cloud.Tokens.Revoke()
	s.imds.Forget()
	if _, err := s.secret(ctx, s.direct, s.url+"/vault"); err != nil {
		return "", err
	}
	if asked := len(s.imds.Calls()) - before; asked != 1 {
		return "", fmt.Errorf("IMDS was asked %d times, want once", asked)
	}
	return "the vault said 401; IMDS was asked once more; the app saw 200", nil
}

func (s *story) counted(ctx context.Context) (string, error) {
	before := len(s.imds.Calls())
	for range 100 {
		if _, err := s.secret(ctx, s.direct, s.url+"/vault"); err != nil {
			return "", err
		}
	}
	asked := make(map[string]int)
	for _, c := range s.imds.Calls() {
		if c.Status == http.StatusOK {
			asked[c.Resource]++
		}
	}
	// The vault's once more, for its token was revoked.
	if len(s.imds.Calls()) != before || len(asked) != 4 || asked[azuretest.VaultAudience] != 2 {
		return "", fmt.Errorf("IMDS gave out tokens %v times, want each audience once and the vault's twice", asked)
	}
	if odd := s.cloud.Recorder.Violations(); len(odd) > 0 {
		return "", fmt.Errorf("the services were sent what no proxy may forward: %q", odd)
	}
	return fmt.Sprintf("%d calls reached the services; IMDS gave out %d tokens", len(s.cloud.Recorder.Requests()), len(asked)+1), nil
}
