package source_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	_ "unsafe" // for go:linkname

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/source"
)

// arcDirectory is MSAL's rule of where key files are: /var/opt/azcmagent/tokens,
// which only root can make, and which is a real agent's on some machines. The
// tests name a directory of their own instead. Whether MSAL holds to its rule is
// tested without this.
//
//go:linkname arcDirectory github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity.getAzureArcPlatformPath
var arcDirectory func(platform string) string

const arcKey = "arc-key"

// agent is a fake of the Azure Arc agent: a call without the content of the key
// file gets a challenge that names it.
type agent struct {
	*rig
	key    string // path of the key file that the challenge names
	answer http.HandlerFunc
}

// newAgent starts an agent whose key files are in a directory of the test's.
func newAgent(t *testing.T) *agent {
	t.Helper()
	directory, before := t.TempDir(), arcDirectory
	arcDirectory = func(string) string { return directory }
	t.Cleanup(func() { arcDirectory = before })
	a := startAgent(t, filepath.Join(directory, "1.key"))
	write(t, a.key, arcKey)
	return a
}

func startAgent(t *testing.T, key string) *agent {
	t.Helper()
	a := &agent{key: key, answer: good}
	a.rig = &rig{endpoint: newEndpoint(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Basic "+arcKey {
			w.Header().Set("WWW-Authenticate", "Basic realm="+a.key)
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":"unauthorized_client","error_description":"no key"}`)
			return
		}
		a.answer(w, r)
	})}
	setenv(t, "IDENTITY_ENDPOINT", a.URL+"/metadata/identity/oauth2/token", "IMDS_ENDPOINT", "http://localhost:40342")
	a.Source = open(t, source.Arc, source.Options{})
	return a
}

func TestArcAnswersTheChallenge(t *testing.T) {
	for name, id := range map[string]imds.Identity{
		"":           {},
		"client_id":  {ClientID: clientID},
		"object_id":  {ObjectID: objectID},
		"msi_res_id": {ResourceID: resourceID},
	} {
		t.Run("by "+name, func(t *testing.T) {
			a := newAgent(t)
			value := id.ClientID + id.ObjectID + id.ResourceID
			a.answer = func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `{"`+name+`":"`+strings.ToUpper(value)+`",`+goodBody()[1:])
			}
			id.Source = source.Arc
			fetch(t, a, id)
			fetch(t, a, id)
			calls := a.seen()
			if len(calls) != 4 {
				t.Fatalf("two attempts of a challenge and an answer were %d calls", len(calls))
			}
			for i, c := range calls {
				if c.method != http.MethodGet || c.path != "/metadata/identity/oauth2/token" || c.query.Get("api-version") != "2020-06-01" || c.query.Get("resource") != vault || c.header.Get("Metadata") != "true" {
					t.Errorf("got %+v", c)
				}
				if name != "" && c.query.Get(name) != value || name == "" && len(c.query) != 2 {
					t.Errorf("got the query %v", c.query)
				}
				if got := c.header.Get("Authorization"); got != []string{"", "Basic " + arcKey}[i%2] {
					t.Errorf("call %d has the authorization %q", i, got)
				}
			}
		})
	}
}

// An older agent takes no notice of the id: its token is the machine's.
func TestArcTokenOfAnotherIdentityIsNotTaken(t *testing.T) {
	for name, body := range map[string]string{
		"no echo":          goodBody(),
		"another's":        `{"client_id":"` + objectID + `",` + goodBody()[1:],
		"of another field": `{"object_id":"` + clientID + `",` + goodBody()[1:],
		"no string":        `{"client_id":["` + clientID + `"],` + goodBody()[1:],
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t)
			a.answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
			failed := refused(t, a, imds.Identity{Source: source.Arc, ClientID: clientID}, imds.Misconfigured)
			if !strings.Contains(failed.Error(), "did not confirm") {
				t.Errorf("got %v", failed)
			}
		})
	}
}

// Whoever can answer on the agent's port must not get at other files.
func TestArcReadsKeyFilesAlone(t *testing.T) {
	a := newAgent(t)
	directory := filepath.Dir(a.key)
	if err := os.Mkdir(filepath.Join(directory, "deeper"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"1.txt": arcKey, "long.key": arcKey + strings.Repeat(" ", 4097-len(arcKey)), "deeper/1.key": arcKey} {
		write(t, filepath.Join(directory, name), content)
	}
	outside := filepath.Join(t.TempDir(), "1.key")
	write(t, outside, arcKey)
	for _, key := range []string{
		"", outside, filepath.Join(directory, "1.txt"), filepath.Join(directory, "long.key"), filepath.Join(directory, "deeper/1.key"),
		directory + "/deeper/../../" + filepath.Base(filepath.Dir(outside)) + "/1.key", filepath.Join(directory, "none.key"),
	} {
		before := len(a.seen())
		a.key = key
		failed := refused(t, a, imds.Identity{Source: source.Arc}, imds.Denied)
		if !strings.Contains(failed.Error(), "names no key file") || !strings.Contains(failed.Hint(), "group himds") || failed.Status != 401 {
			t.Errorf("%s: got %v", key, failed)
		}
		if n := len(a.seen()) - before; n != 1 {
			t.Errorf("%s: the agent was asked %d times", key, n)
		}
	}
	whole := filepath.Join(directory, "whole.key")
	write(t, whole, strings.Repeat("x", 4096))
	a.key = whole // which may be read, though it is the wrong key
	failed := refused(t, a, imds.Identity{Source: source.Arc}, imds.Denied)
	if strings.Contains(failed.Error(), "names no key file") {
		t.Errorf("got %v", failed)
	}
}

func TestArcReadsTheAgentsDirectoryAlone(t *testing.T) {
	key := filepath.Join(t.TempDir(), "1.key")
	write(t, key, arcKey)
	a := startAgent(t, key)
	refused(t, a, imds.Identity{Source: source.Arc}, imds.Denied)
	if n := len(a.seen()); n != 1 {
		t.Errorf("the agent was asked %d times", n)
	}
	if got := arcDirectory("linux"); got != "/var/opt/azcmagent/tokens" {
		t.Errorf("the directory is %s", got)
	}
}

func TestArcFailures(t *testing.T) {
	a := newAgent(t)
	for status, class := range map[int]imds.Class{429: imds.Throttled, 404: imds.Updating, 500: imds.Unavailable, 401: imds.Denied, 400: imds.Misconfigured} {
		a.answer = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
		}
		before := len(a.seen())
		if failed := refused(t, a, imds.Identity{Source: source.Arc}, class); failed.Status != status || failed.RetryAfter.Seconds() != 7 {
			t.Errorf("got %v and a wait of %s", failed, failed.RetryAfter)
		}
		if n := len(a.seen()) - before; n != 2 {
			t.Errorf("status %d: the agent was asked %d times", status, n)
		}
	}
}

func TestArcWithoutItsChallenge(t *testing.T) {
	a := newAgent(t)
	for status, class := range map[int]imds.Class{200: imds.Malformed, 429: imds.Throttled, 410: imds.Updating, 503: imds.Unavailable, 403: imds.Denied} {
		a.script(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			good(w, r)
		})
		before := len(a.seen())
		if failed := refused(t, a, imds.Identity{Source: source.Arc}, class); failed.Status != status {
			t.Errorf("got %v", failed)
		}
		if n := len(a.seen()) - before; n != 1 {
			t.Errorf("status %d: the agent was asked %d times", status, n)
		}
	}
}
