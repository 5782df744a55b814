//go:build unix

package source_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/source"
)

// user is the Azure CLI's own.
func user() imds.Identity { return imds.Identity{Source: source.AzureCLI} }

// install puts a script in PATH that stands for the Azure CLI and writes down
// what it is given. The script follows.
func install(t *testing.T, script string) (arguments func() []string) {
	t.Helper()
	directory := t.TempDir()
	list := filepath.Join(directory, "arguments")
	text := "#!/bin/sh\nfor a in \"$@\"; do printf '%s\\n' \"$a\" >> " + list + "; done\n" + script
	if err := os.WriteFile(filepath.Join(directory, "az"), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", directory+":/usr/bin:/bin")
	return func() []string {
		got, err := os.ReadFile(list)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(string(got), "\n"), "\n")
	}
}

// prints is a script that prints the JSON and no more.
func prints(json string) string { return "cat <<'END'\n" + json + "\nEND\n" }

func TestAzureCLIIsAsked(t *testing.T) {
	at := time.Now().Add(time.Hour).Truncate(time.Second)
	arguments := install(t, prints(fmt.Sprintf(`{"accessToken":"%s","expiresOn":"2001-01-01 00:00:00.000000","expires_on":%d,"subscription":"s","tenant":"t","tokenType":"Bearer"}`, canary, at.Unix())))
	var statuses []string
	s := open(t, source.AzureCLI, source.Options{Observe: func(status string, _ time.Duration) { statuses = append(statuses, status) }})
	if token := fetch(t, s, user()); !token.Expires().Equal(at) {
		t.Errorf("the token ends at %s, want %s", token.Expires(), at)
	}
	want := []string{"account", "get-access-token", "--resource", vault, "--output", "json"}
	if got := arguments(); !equal(got, want) {
		t.Errorf("az was given %q, want %q", got, want)
	}
	fetch(t, s, user())
	if got := arguments(); len(got) != 2*len(want) {
		t.Errorf("two attempts were not two runs: %q", got)
	}
	if !equal(statuses, []string{"200", "200"}) {
		t.Errorf("the observer heard %v", statuses)
	}
}

// The Azure CLI before 2.54 tells local time alone.
func TestAzureCLILocalTime(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	before := time.Local
	time.Local = berlin
	t.Cleanup(func() { time.Local = before })
	for local, want := range map[string]string{
		"2026-07-01 12:00:00.000000": "2026-07-01T10:00:00Z",
		"2026-12-01 12:00:00":        "2026-12-01T11:00:00Z",
		"2026-10-25 02:30:00.000000": "2026-10-25T00:30:00Z", // and an hour later once more
		"2026-10-25 03:30:00.000000": "2026-10-25T02:30:00Z",
	} {
		install(t, prints(fmt.Sprintf(`{"accessToken":"%s","expiresOn":"%s"}`, canary, local)))
		at, err := time.Parse(time.RFC3339, want)
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, source.AzureCLI, source.Options{Now: func() time.Time { return at.Add(-20 * time.Minute) }})
		if token := fetch(t, s, user()); !token.Expires().Equal(at) {
			t.Errorf("the token ends at %s, want %s", token.Expires(), at)
		}
	}
}

func TestAzureCLIFailures(t *testing.T) {
	future := strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
	tests := []struct {
		name, script string
		class        imds.Class
		say          string
	}{
		{"not signed in", "echo \"ERROR: Please run 'az login' to setup account.\" >&2; exit 1", imds.Denied, "az: exit status 1 (ERROR: Please run 'az login' to setup account.); run az login as bearerd's user"},
		{"a token among the reasons", "printf 'bad \\033[31m eyJhbGciOiJ9." + canary + "' >&2; exit 2", imds.Denied, "exit status 2 (bad  [31m [token])"},
		{"endless reasons", "yes no | head -c 100000 >&2; exit 1", imds.Denied, "..."},
		{"a token and a failure", prints(`{"accessToken":"`+canary+`","expires_on":`+future+`}`) + "exit 3", imds.Denied, "exit status 3"},
		{"endless output", "yes " + canary + " | head -c 2000000", imds.Unavailable, "more than 1048576 bytes"},
		{"no JSON", "echo " + canary, imds.Malformed, "not the JSON of a token"},
		{"nothing", "", imds.Malformed, "not the JSON of a token"},
		{"no token", prints(`{"expires_on":` + future + `}`), imds.Malformed, "no access_token"},
		{"no expiry", prints(`{"accessToken":"` + canary + `"}`), imds.Malformed, "no usable expiry"},
		{"an odd expiry", prints(`{"accessToken":"` + canary + `","expiresOn":"soon"}`), imds.Malformed, "no usable expiry"},
		{"another kind", prints(`{"accessToken":"` + canary + `","tokenType":"pop","expires_on":` + future + `}`), imds.Malformed, "not a bearer token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			install(t, tt.script)
			failed := refused(t, open(t, source.AzureCLI, source.Options{}), user(), tt.class)
			if !strings.Contains(failed.Error(), tt.say) || failed.Status != 0 {
				t.Errorf("got %v, want %q", failed, tt.say)
			}
			if len(failed.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(failed.Error()))
			}
		})
	}
}

func TestAzureCLIIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	failed := refused(t, open(t, source.AzureCLI, source.Options{}), user(), imds.Misconfigured)
	if !strings.Contains(failed.Hint(), "install the Azure CLI") {
		t.Errorf("got %v", failed)
	}
}

// An audience comes from a configuration, and in bearerd's own endpoint for
// tokens from a caller.
func TestAudienceCannotBeAnOptionOfTheAzureCLI(t *testing.T) {
	arguments := install(t, "exit 1")
	s := open(t, source.AzureCLI, source.Options{})
	for _, audience := range []string{"", "-", "--help", "--tenant=x", "-otsv", "@/etc/passwd", "a b", "a\nb", "a;id", "$(id)", "ä", "/etc/passwd", strings.Repeat("a", 1025)} {
		_, err := s.Token(t.Context(), user(), audience)
		if failed, ok := errors.AsType[*imds.Error](err); !ok || failed.Class != imds.Misconfigured {
			t.Errorf("%q: got %v", audience, err)
		}
	}
	if got := arguments(); !equal(got, []string{""}) {
		t.Errorf("az was given %q", got)
	}
	for _, id := range []imds.Identity{{ClientID: clientID}, {ObjectID: objectID}, {ResourceID: resourceID}} {
		id.Source = source.AzureCLI
		refused(t, s, id, imds.Misconfigured)
	}
	for _, audience := range []string{"api://contoso-internal", "https://storage.azure.com/", objectID} {
		if _, err := s.Token(t.Context(), user(), audience); err == nil || !strings.Contains(err.Error(), "exit status 1") {
			t.Errorf("%q: got %v", audience, err)
		}
	}
}

// The Azure CLI is a script that starts another program, which holds its output.
func TestAzureCLIThatHangsIsEndedWithItsChildren(t *testing.T) {
	child := filepath.Join(t.TempDir(), "child")
	install(t, "sleep 300 & echo $! > "+child+"; wait")
	s := open(t, source.AzureCLI, source.Options{Timeout: 300 * time.Millisecond})
	started := time.Now()
	failed := refused(t, s, user(), imds.Unavailable)
	if !errors.Is(failed, context.DeadlineExceeded) || !strings.Contains(failed.Error(), "az did not end within 300ms") {
		t.Errorf("got %v", failed)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	text, err := os.ReadFile(child)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if !ended(t, pid) {
		t.Error("the child lives on")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Token(ctx, user(), vault); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// ended waits for a process that was killed to be gone, or a zombie that nobody
// has fetched yet.
func ended(t *testing.T, pid int) bool {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for time.Now().Before(deadline) {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return true
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return true
		}
	}
	return false
}

func TestAzureCLIRunsOnceAtATime(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "lock")
	at := strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
	install(t, "mkdir "+lock+" || exit 9\nsleep 0.05\nrmdir "+lock+"\n"+prints(`{"accessToken":"`+canary+`","expires_on":`+at+`}`))
	s := open(t, source.AzureCLI, source.Options{})
	failures := make(chan error, 4)
	for range cap(failures) {
		go func() {
			_, err := s.Token(t.Context(), user(), vault)
			failures <- err
		}()
	}
	for range cap(failures) {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
}
