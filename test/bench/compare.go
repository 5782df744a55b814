package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/bearerd/bearerd/imds/imdstest"
)

// compare starts every program and gives each its turns. self is this
// program's file, root the repository's folder.
func compare(ctx context.Context, p plan, self, root string) (*report, error) {
	dir, err := os.MkdirTemp("", "bearerd-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	imds := httptest.NewServer(imdstest.New(imdstest.Options{}))
	defer imds.Close()

	s := &scene{dir: dir}
	if s.token, err = askToken(ctx, imds.URL); err != nil {
		return nil, err
	}
	certFile, keyFile, err := s.issueCertificate()
	if err != nil {
		return nil, err
	}
	if s.upstream, err = freeAddress(); err != nil {
		return nil, err
	}
	service, err := s.startUpstream(ctx, certFile, keyFile)
	if err != nil {
		return nil, err
	}
	defer service.stop()
	binary := filepath.Join(dir, "bearerd")
	if err := build(ctx, root, binary); err != nil {
		return nil, err
	}

	contenders, err := s.startAll(ctx, self, binary, imds.URL)
	defer func() {
		for _, c := range contenders {
			c.stop()
		}
	}()
	if err != nil {
		return nil, err
	}
	return takeTurns(ctx, p, contenders, describe(ctx, p, root))
}

func (s *scene) startAll(ctx context.Context, self, binary, imds string) (contenders []*contender, err error) {
	for _, program := range []struct {
		name, path string
		start      func(address string) (*process, error)
	}{
		{nginxName, "/secrets/x", func(a string) (*process, error) { return s.startNginx(ctx, a) }},
		{haproxyName, "/secrets/x", func(a string) (*process, error) { return s.startHAProxy(ctx, a) }},
		{reverseProxyName, "/secrets/x", func(a string) (*process, error) { return s.startReverseProxy(ctx, self, a) }},
		{bearerdName, "/vault/secrets/x", func(a string) (*process, error) { return s.startBearerd(ctx, binary, a, imds) }},
	} {
		address, err := freeAddress()
		if err != nil {
			return contenders, err
		}
		running, err := program.start(address)
		if err != nil {
			return contenders, fmt.Errorf("start %s: %w", program.name, err)
		}
		contenders = append(contenders, &contender{process: running, name: program.name, url: "http://" + address + program.path})
	}
	return contenders, nil
}

// takeTurns measures the contenders round by round; each round begins with
// another one, so that none always follows the same neighbour.
func takeTurns(ctx context.Context, p plan, contenders []*contender, about []string) (*report, error) {
	r := &report{about: about, turns: make(map[string][]measurement)}
	for _, c := range contenders {
		r.names = append(r.names, c.name)
	}
	for round := range p.rounds {
		for i := range contenders {
			c := contenders[(round+i)%len(contenders)]
			m, err := measure(ctx, p, c)
			if err != nil {
				return nil, err
			}
			r.turns[c.name] = append(r.turns[c.name], m)
		}
	}
	return r, nil
}

// askToken gets from the emulator a token like the one that bearerd will
// inject, so that all programs add a header of the same length.
func askToken(ctx context.Context, imds string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, imds+"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Metadata", "true")
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var body struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return "", err
	}
	if body.AccessToken == "" {
		return "", errors.New("the emulated IMDS gave no token: " + resp.Status)
	}
	return body.AccessToken, nil
}

// describe says where and of what the figures were taken.
func describe(ctx context.Context, p plan, root string) []string {
	return append(describeMachine(ctx, root),
		"peers: "+firstLine(ctx, "", "nginx", "-v")+"; "+firstLine(ctx, "", "haproxy", "-v"),
		fmt.Sprintf("command: wrk -t1 -c%d -d%s", p.connections, p.duration),
	)
}

// describeMachine names the machine and what of the project was measured.
func describeMachine(ctx context.Context, root string) []string {
	return []string{
		"machine: " + processorModel() + ", " + fmt.Sprint(runtime.NumCPU()) + " cores, " + runtime.Version(),
		"commit: " + firstLine(ctx, root, "git", "describe", "--always", "--dirty"),
	}
}

// firstLine is the first line that a program says. It is for people; a missing
// version is no reason to stop.
func firstLine(ctx context.Context, dir, name string, args ...string) string {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	text, _ := cmd.CombinedOutput()
	first, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return first
}

func processorModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return runtime.GOARCH
}
