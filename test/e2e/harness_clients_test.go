//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

// steering is one way of bringing a client's calls to bearerd.
type steering struct {
	name string
	// base is the URL that the client is given for a service.
	base func(d *rig.Daemon, host, gateway string) string
	// env are the settings of the client's process.
	env func(d *rig.Daemon) []string
	// java are the same for a JVM, which reads no environment.
	java func(d *rig.Daemon) []string
}

func viaProxyVariables() steering {
	return steering{
		name: "proxy variables",
		base: func(_ *rig.Daemon, host, _ string) string { return "https://" + host },
		env: func(d *rig.Daemon) []string {
			return []string{
				"HTTPS_PROXY=" + d.URL, "https_proxy=" + d.URL,
				"SSL_CERT_FILE=" + d.Root, "CURL_CA_BUNDLE=" + d.Root,
				"REQUESTS_CA_BUNDLE=" + d.Root, "NODE_EXTRA_CA_CERTS=" + d.Root,
			}
		},
		java: func(d *rig.Daemon) []string {
			host, port, _ := strings.Cut(strings.TrimPrefix(d.URL, "http://"), ":")
			return []string{
				"-Dhttps.proxyHost=" + host, "-Dhttps.proxyPort=" + port,
				"-Djavax.net.ssl.trustStore=" + d.TrustStore, "-Djavax.net.ssl.trustStorePassword=changeit",
			}
		},
	}
}

func viaAbsoluteURL() steering {
	return steering{
		name: "absolute URL",
		base: func(_ *rig.Daemon, host, _ string) string { return "http://" + host },
		env: func(d *rig.Daemon) []string {
			return []string{"HTTP_PROXY=" + d.URL, "http_proxy=" + d.URL}
		},
		java: func(d *rig.Daemon) []string {
			host, port, _ := strings.Cut(strings.TrimPrefix(d.URL, "http://"), ":")
			return []string{"-Dhttp.proxyHost=" + host, "-Dhttp.proxyPort=" + port}
		},
	}
}

func viaBaseURL() steering {
	return steering{
		name: "base URL",
		base: func(d *rig.Daemon, _, gateway string) string { return d.URL + "/" + gateway },
		env:  func(*rig.Daemon) []string { return nil },
		java: func(*rig.Daemon) []string { return nil },
	}
}

func everySteering() []steering {
	return []steering{viaProxyVariables(), viaAbsoluteURL(), viaBaseURL()}
}

// client is a program of testdata/clients that makes a fixed series of calls
// against a base URL, checks the answers, and prints "ok" last.
type client struct {
	name string
	// argv gives the command for the script's arguments.
	argv func(d *rig.Daemon, s steering, args ...string) []string
}

func script(name, interpreter, file string) client {
	return client{name: name, argv: func(_ *rig.Daemon, _ steering, args ...string) []string {
		return append([]string{interpreter, file}, args...)
	}}
}

func javaClient(name, file string) client {
	return client{name: name, argv: func(d *rig.Daemon, s steering, args ...string) []string {
		return append(append(append([]string{"java"}, s.java(d)...), file), args...)
	}}
}

// run makes the client's calls and requires that it found all as expected.
func (c client) run(t *testing.T, d *rig.Daemon, s steering, args ...string) {
	t.Helper()
	argv := c.argv(d, s, args...)
	text := rig.Run(t, append(env.BaseEnv(), s.env(d)...), t.TempDir(), argv[0], argv[1:]...)
	d.Saw(text)
	if lines := strings.Split(strings.TrimSpace(text), "\n"); lines[len(lines)-1] != "ok" {
		t.Fatalf("the client did not say ok:\n%s", text)
	}
}

func clientFile(name string) string { return filepath.Join(env.Source, "testdata", "clients", name) }

// parseAnswer reads what curl wrote: the last header section (a 100 Continue
// may come first) and the body.
func parseAnswer(head, body string) (a answer, err error) {
	text, err := os.ReadFile(head)
	if err != nil {
		return a, err
	}
	sections := strings.Split(strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n")), "\n\n")
	status, fields, _ := strings.Cut(sections[len(sections)-1], "\n")
	if _, err := fmt.Sscanf(status, "HTTP/%s %d", new(string), &a.status); err != nil {
		return a, fmt.Errorf("status line %q: %w", status, err)
	}
	a.header = make(http.Header)
	for line := range strings.Lines(fields) {
		name, value, _ := strings.Cut(line, ":")
		a.header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	content, err := os.ReadFile(body)
	if errors.Is(err, os.ErrNotExist) {
		err = nil // curl makes no file for an answer without a body
	}
	a.body = string(content)
	return a, err
}

// answer is what curl was given.
type answer struct {
	status int
	header http.Header
	body   string
}

// curl makes one call with curl, with the steering's settings.
func curl(t *testing.T, d *rig.Daemon, s steering, url string, args ...string) answer {
	t.Helper()
	dir := t.TempDir()
	head, body := filepath.Join(dir, "head"), filepath.Join(dir, "body")
	argv := append([]string{"--silent", "--show-error", "--max-time", "30", "--dump-header", head, "--output", body, "--suppress-connect-headers"}, args...)
	rig.Run(t, append(env.BaseEnv(), s.env(d)...), dir, "curl", append(argv, url)...)
	a, err := parseAnswer(head, body)
	if err != nil {
		t.Fatal(err)
	}
	d.Saw(fmt.Sprint(a.status, a.header, a.body))
	return a
}
