package source_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/source"
)

const tenant = "00000000-0000-0000-0000-00000000000a"

// tokenFile writes a service account's token and gives its path.
func tokenFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "azure-identity-token")
	write(t, name, content)
	return name
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWorkloadSendsTheAssertion(t *testing.T) {
	r := place(t, source.Workload, good)
	fetch(t, r, imds.Identity{Source: source.Workload})
	got := r.seen()[0]
	want := url.Values{
		"grant_type":            {"client_credentials"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {"assertion-1"},
		"client_id":             {clientID},
	}
	for name, values := range want {
		if !equal(got.form[name], values) {
			t.Errorf("%s is %q, want %q", name, got.form[name], values)
		}
	}
	if scopes := strings.Fields(got.form.Get("scope")); len(scopes) == 0 || scopes[0] != vault+"/.default" {
		t.Errorf("the scope is %q", scopes)
	}
	if got.method != http.MethodPost || got.path != "/"+tenant+"/oauth2/v2.0/token" {
		t.Errorf("got %s %s", got.method, got.path)
	}
	if got.form["claims"] != nil || len(got.query) != 0 {
		t.Errorf("got %v and %v", got.form, got.query)
	}
}

func TestWorkloadReadsTheTokenFileAnew(t *testing.T) {
	r := place(t, source.Workload, good)
	name := os.Getenv("AZURE_FEDERATED_TOKEN_FILE")
	for i, content := range []string{"first", "second\n", " third "} {
		write(t, name, content)
		fetch(t, r, imds.Identity{Source: source.Workload})
		if got := r.seen()[i].form.Get("client_assertion"); got != strings.TrimSpace(content) {
			t.Errorf("the assertion is %q, want %q", got, content)
		}
	}
}

func TestWorkloadTakesTheRoutesIdentity(t *testing.T) {
	r := place(t, source.Workload, good)
	fetch(t, r, imds.Identity{Source: source.Workload, ClientID: "another"})
	if got := r.seen()[0].form.Get("client_id"); got != "another" {
		t.Errorf("the client id is %q", got)
	}
	t.Setenv("AZURE_CLIENT_ID", "")
	s := open(t, source.Workload, source.Options{})
	failed := refused(t, s, imds.Identity{Source: source.Workload}, imds.Misconfigured)
	if !strings.Contains(failed.Error(), "AZURE_CLIENT_ID") || len(r.seen()) != 1 {
		t.Errorf("got %v", failed)
	}
}

// An audience that ends with a slash is another one than without.
func TestWorkloadScopeKeepsTheAudience(t *testing.T) {
	r := place(t, source.Workload, good)
	for i, audience := range []string{"https://storage.azure.com/", "https://vault.azure.net", "api://app", objectID} {
		if _, err := r.Token(t.Context(), imds.Identity{Source: source.Workload}, audience); err != nil {
			t.Fatal(err)
		}
		if got, _, _ := strings.Cut(r.seen()[i].form.Get("scope"), " "); got != audience+"/.default" {
			t.Errorf("the scope for %s is %s", audience, got)
		}
	}
}

func TestWorkloadAsksTheAuthorityAlone(t *testing.T) {
	t.Setenv("MSAL_FORCE_REGION", "westus")
	t.Setenv("REGION_NAME", "westus")
	r := place(t, source.Workload, good)
	s := open(t, source.Workload, source.Options{Entra: roundTripper(func(q *http.Request) (*http.Response, error) {
		if got := q.URL.Scheme + "://" + q.URL.Host; got != r.URL {
			t.Errorf("%s was asked", got)
			return nil, io.ErrUnexpectedEOF
		}
		return r.Client().Transport.RoundTrip(q)
	})})
	fetch(t, s, imds.Identity{Source: source.Workload})
	if n := len(r.seen()); n != 1 {
		t.Errorf("the authority was asked %d times", n)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestWorkloadWithoutItsTokenFile(t *testing.T) {
	r := place(t, source.Workload, good)
	name := os.Getenv("AZURE_FEDERATED_TOKEN_FILE")
	for content, say := range map[string]string{" \n": "is empty", strings.Repeat("x", 65<<10): "longer than 65536 bytes"} {
		write(t, name, content)
		if failed := refused(t, r, imds.Identity{Source: source.Workload}, imds.Unavailable); !strings.Contains(failed.Error(), say) {
			t.Errorf("got %v, want %q", failed, say)
		}
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if failed := refused(t, r, imds.Identity{Source: source.Workload}, imds.Unavailable); !errors.Is(failed, fs.ErrNotExist) {
		t.Errorf("got %v", failed)
	}
	if n := len(r.seen()); n != 0 {
		t.Errorf("the authority was asked %d times", n)
	}
}

func TestWorkloadErrorIsEntras(t *testing.T) {
	r := place(t, source.Workload, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(401)
		_, _ = fmt.Fprint(w, `{"error":"invalid_client","error_description":"AADSTS700213: No matching federated identity record found for presented assertion subject 'system:serviceaccount:a:b'. eyJhbGciOiJ9.`+canary+`"}`)
	})
	failed := refused(t, r, imds.Identity{Source: source.Workload}, imds.Denied)
	if failed.Code != "invalid_client" || !strings.Contains(failed.Description, "AADSTS700213") || !strings.Contains(failed.Advice, "federated-credential") {
		t.Errorf("got %v", failed)
	}
}

func TestWorkloadWantsAWholeEnvironment(t *testing.T) {
	whole := map[string]string{"AZURE_FEDERATED_TOKEN_FILE": "/f", "AZURE_TENANT_ID": tenant}
	tests := []struct{ name, value, say string }{
		{"AZURE_FEDERATED_TOKEN_FILE", "", "AZURE_FEDERATED_TOKEN_FILE is not in the environment"},
		{"AZURE_TENANT_ID", "", "AZURE_TENANT_ID is not in the environment"},
		{"AZURE_TENANT_ID", "a/../b", "a tenant's id or domain"},
		{"AZURE_TENANT_ID", "..", "a tenant's id or domain"},
		{"AZURE_TENANT_ID", "a?b", "a tenant's id or domain"},
		{"AZURE_AUTHORITY_HOST", "http://login.microsoftonline.com/", "has to be like https://login.microsoftonline.com/"},
		{"AZURE_AUTHORITY_HOST", "https://u:hunter2@login.microsoftonline.com/", "has to be like https://login.microsoftonline.com/"},
		{"AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/tenant", "has to be like https://login.microsoftonline.com/"},
		{"AZURE_AUTHORITY_HOST", "login.microsoftonline.com", "has to be like https://login.microsoftonline.com/"},
	}
	for _, tt := range tests {
		_, err := source.Open(source.Workload, source.Options{Getenv: func(name string) string {
			if name == tt.name {
				return tt.value
			}
			return whole[name]
		}})
		if err == nil || !strings.Contains(err.Error(), tt.say) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s=%s: got %v, want %q", tt.name, tt.value, err, tt.say)
		}
	}
}

// counted counts calls that get no answer.
func counted(n *int) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		*n++
		return nil, io.ErrUnexpectedEOF
	}
}
