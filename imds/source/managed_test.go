package source_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/source"
)

// App Service takes object_id for an alias of principal_id
// (https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference).
func TestRequestsAreTheDocumentedOnes(t *testing.T) {
	secret := func(name, value string) map[string]string { return map[string]string{name: value} }
	tests := []struct {
		source string
		id     imds.Identity
		method string
		path   string
		query  url.Values
		form   url.Values
		header map[string]string
	}{
		{source.AppService, imds.Identity{}, "GET", "/msi/token", url.Values{"api-version": {"2019-08-01"}, "resource": {vault}}, nil, secret("X-Identity-Header", "app-secret")},
		{source.AppService, imds.Identity{ClientID: clientID}, "GET", "/msi/token", url.Values{"api-version": {"2019-08-01"}, "resource": {vault}, "client_id": {clientID}}, nil, secret("X-Identity-Header", "app-secret")},
		{source.AppService, imds.Identity{ObjectID: objectID}, "GET", "/msi/token", url.Values{"api-version": {"2019-08-01"}, "resource": {vault}, "object_id": {objectID}}, nil, secret("X-Identity-Header", "app-secret")},
		{source.AppService, imds.Identity{ResourceID: resourceID}, "GET", "/msi/token", url.Values{"api-version": {"2019-08-01"}, "resource": {vault}, "mi_res_id": {resourceID}}, nil, secret("X-Identity-Header", "app-secret")},
		{source.ServiceFabric, imds.Identity{}, "GET", "/metadata/identity/oauth2/token", url.Values{"api-version": {"2019-07-01-preview"}, "resource": {vault}}, nil, secret("Secret", "fabric-secret")},
		{source.AzureML, imds.Identity{}, "GET", "/msi/token", url.Values{"api-version": {"2017-09-01"}, "resource": {vault}, "clientid": {"the-default"}}, nil, secret("Secret", "ml-secret")},
		{source.AzureML, imds.Identity{ClientID: clientID}, "GET", "/msi/token", url.Values{"api-version": {"2017-09-01"}, "resource": {vault}, "clientid": {clientID}}, nil, secret("Secret", "ml-secret")},
		{source.CloudShell, imds.Identity{}, "POST", "/oauth2/token", url.Values{}, url.Values{"resource": {vault}}, secret("Metadata", "true")},
	}
	for _, tt := range tests {
		tt.id.Source = tt.source
		t.Run(tt.id.String(), func(t *testing.T) {
			r := place(t, tt.source, good)
			token := fetch(t, r, tt.id)
			if left := time.Until(token.Expires()); left < 23*time.Hour || left > 24*time.Hour {
				t.Errorf("the token lives for %s", left)
			}
			calls := r.seen()
			if len(calls) != 1 {
				t.Fatalf("the endpoint was asked %d times", len(calls))
			}
			got := calls[0]
			if got.method != tt.method || got.path != tt.path || !maps.EqualFunc(got.query, tt.query, equal) || !maps.EqualFunc(got.form, tt.form, equal) {
				t.Errorf("got %s %s?%s with %s", got.method, got.path, got.query.Encode(), got.form.Encode())
			}
			for name, want := range tt.header {
				if values := got.header[name]; len(values) != 1 || values[0] != want {
					t.Errorf("the header %s is %q, want %q", name, values, want)
				}
			}
			if got.header["X-Forwarded-For"] != nil || got.header["Authorization"] != nil {
				t.Errorf("the header has %v", got.header)
			}
		})
	}
}

func equal(a, b []string) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// When to ask is the cache's to decide: a source that answers from a store of
// its own would hand back the token that a service has just refused.
func TestEveryAttemptAsks(t *testing.T) {
	for _, name := range asked() {
		t.Run(name, func(t *testing.T) {
			r := place(t, name, good)
			for range 3 {
				fetch(t, r, imds.Identity{Source: name})
			}
			if n := len(r.seen()); n != 3 {
				t.Errorf("three attempts asked %d times", n)
			}
			if fmt.Sprint(r.statuses) != "[200 200 200]" {
				t.Errorf("the observer heard %v", r.statuses)
			}
		})
	}
}

func TestFailedAttemptAsksOnce(t *testing.T) {
	for _, name := range asked() {
		for _, status := range []int{404, 408, 410, 429, 500, 501, 502, 503, 504} {
			t.Run(fmt.Sprint(name, status), func(t *testing.T) {
				r := place(t, name, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
				if _, err := r.Token(t.Context(), imds.Identity{Source: name}, vault); err == nil {
					t.Error("there was a token")
				}
				if n := len(r.seen()); n != 1 {
					t.Errorf("the endpoint was asked %d times", n)
				}
				if fmt.Sprint(r.statuses) != fmt.Sprintf("[%d]", status) {
					t.Errorf("the observer heard %v", r.statuses)
				}
			})
		}
	}
}

func TestStatusTellsTheClass(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		class  imds.Class
		say    string
	}{
		{"throttled", 429, "", imds.Throttled, "asks again"},
		{"not ready", 404, "", imds.Updating, "asks again"},
		{"updating", 410, "", imds.Updating, "asks again"},
		{"failing", 500, `{"error":"unknown","error_description":"try again"}`, imds.Unavailable, "passing failure"},
		{"failing, by a page with a token", 503, "<html>" + canary, imds.Unavailable, "passing failure"},
		{"unknown audience", 400, `{"error":"invalid_resource","error_description":"AADSTS500011"}`, imds.Misconfigured, "invalid_resource (AADSTS500011); check the route's audience"},
		{"a message alone", 400, `{"statusCode":400,"message":"No managed identity\r\nfound"}`, imds.Misconfigured, "(No managed identity  found)"},
		{"an object", 400, `{"error":{"code":"bad_request","message":"no"}}`, imds.Misconfigured, "bad_request (no)"},
		{"no identity", 400, `{"error":"invalid_request","error_description":"Identity not found"}`, imds.NotAssigned, "Identity not found"},
		{"not allowed", 401, `{"error":"unauthorized_client"}`, imds.Denied, "unauthorized_client"},
		{"forbidden", 403, "", imds.Denied, "status 403"},
		{"a token in a 201", 201, goodBody(), imds.Malformed, "something else"},
		{"a token in a 202", 202, goodBody(), imds.Malformed, "something else"},
		{"a page", 200, "<html>" + canary, imds.Malformed, "something else"},
		{"no token", 200, "{}", imds.Malformed, "no access_token"},
		{"an expired token", 200, `{"access_token":"` + canary + `","expires_on":"1506484173"}`, imds.Malformed, "expired"},
		{"a token that breaks out of its header", 200, `{"access_token":"` + canary + `\r\nX-Evil: 1","expires_in":"60"}`, imds.Malformed, "no header may carry"},
	}
	for _, name := range asked() {
		for _, tt := range tests {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				r := place(t, name, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Retry-After", "7")
					w.WriteHeader(tt.status)
					_, _ = io.WriteString(w, tt.body)
				})
				failed := refused(t, r, imds.Identity{Source: name}, tt.class)
				if failed.Status != tt.status || !strings.Contains(failed.Error(), tt.say) {
					t.Errorf("got %v, want %q", failed, tt.say)
				}
				if tt.status >= 400 && failed.RetryAfter != 7*time.Second {
					t.Errorf("got a wait of %s", failed.RetryAfter)
				}
			})
		}
	}
}

// A store that lives as long as the process would keep tokens past their use,
// where nobody looks for them.
func TestMSALHoldsNoToken(t *testing.T) {
	r := place(t, source.AppService, good)
	fetch(t, r, imds.Identity{Source: source.AppService, ClientID: "held"})
	client, err := managedidentity.New(managedidentity.UserAssignedClientID("held"), managedidentity.WithHTTPClient(http.DefaultClient))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := client.AcquireToken(t.Context(), vault)
	if err != nil || len(r.seen()) != 1 {
		t.Fatalf("MSAL did not answer from its cache: %v", err)
	}
	if strings.Contains(fmt.Sprintf("%+v", kept), canary) {
		t.Errorf("MSAL holds the token: %+v", kept)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	for _, name := range asked() {
		t.Run(name, func(t *testing.T) {
			elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
			defer elsewhere.Close()
			r := place(t, name, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
			})
			refused(t, r, imds.Identity{Source: name}, imds.Malformed)
		})
	}
}

// What MSAL makes of the environment later must not carry a request elsewhere,
// to IMDS least of all.
func TestCallsGoToTheEndpointOfTheStartAlone(t *testing.T) {
	setenv(t, "IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token", "IDENTITY_HEADER", "app-secret")
	var calls []string
	s := open(t, source.AppService, source.Options{Local: roundTripper(func(r *http.Request) (*http.Response, error) {
		calls = append(calls, r.URL.Host)
		return nil, io.ErrUnexpectedEOF
	})})
	id := imds.Identity{Source: source.AppService}
	refused(t, s, id, imds.Unavailable)
	t.Setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:2/msi/token")
	refused(t, s, id, imds.Misconfigured)
	t.Setenv("IDENTITY_ENDPOINT", "") // MSAL falls back on IMDS
	refused(t, s, id, imds.Misconfigured)
	if !equal(calls, []string{"127.0.0.1:1"}) {
		t.Errorf("got calls to %q", calls)
	}
}

// TestMain has set a proxy. The wildcard address leads to loopback, and unlike
// loopback's own it is not exempt from the environment's proxies.
func TestEnvironmentsProxyIsNotUsed(t *testing.T) {
	e := newEndpoint(t, false, good)
	_, port, err := net.SplitHostPort(e.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	text := "http://0.0.0.0:" + port
	r, err := http.NewRequest(http.MethodGet, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	if proxy, err := http.ProxyFromEnvironment(r); proxy == nil {
		t.Fatalf("the environment has no proxy for %s: %v", text, err)
	}
	setenv(t, "IDENTITY_ENDPOINT", text, "IDENTITY_HEADER", "app-secret")
	fetch(t, open(t, source.AppService, source.Options{}), imds.Identity{Source: source.AppService})
}

func TestAttemptEndsInTime(t *testing.T) {
	r := place(t, source.AppService, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s := open(t, source.AppService, source.Options{Timeout: 50 * time.Millisecond})
	failed := refused(t, s, imds.Identity{Source: source.AppService}, imds.Unavailable)
	if !errors.Is(failed, context.DeadlineExceeded) || !strings.Contains(failed.Error(), "no answer within 50ms") {
		t.Errorf("got %v", failed)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Token(ctx, imds.Identity{Source: source.AppService}, vault); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	r := place(t, source.AppService, good)
	r.Close()
	failed := refused(t, r, imds.Identity{Source: source.AppService}, imds.Unavailable)
	if failed.Status != 0 || !strings.Contains(failed.Error(), "connection refused") {
		t.Errorf("got %v", failed)
	}
}

func TestBodyIsBounded(t *testing.T) {
	r := place(t, source.AppService, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"padding":"`+strings.Repeat("x", 2<<20)+`",`+goodBody()[1:])
	})
	failed := refused(t, r, imds.Identity{Source: source.AppService}, imds.Malformed)
	if !strings.Contains(failed.Error(), "longer than 1048576 bytes") {
		t.Errorf("got %v", failed)
	}
}

func TestIdentitiesThatASourceDoesNotKnowAreNotAskedFor(t *testing.T) {
	tests := map[string][]imds.Identity{
		source.AppService:    {{ClientID: "c", ObjectID: "o"}},
		source.ServiceFabric: {{ClientID: clientID}, {ObjectID: objectID}, {ResourceID: resourceID}},
		source.AzureML:       {{ObjectID: objectID}, {ResourceID: resourceID}},
		source.CloudShell:    {{ClientID: clientID}, {ObjectID: objectID}, {ResourceID: resourceID}},
		source.Workload:      {{ObjectID: objectID}, {ResourceID: resourceID}},
	}
	for name, identities := range tests {
		t.Run(name, func(t *testing.T) {
			r := place(t, name, good)
			for _, id := range identities {
				id.Source = name
				refused(t, r, id, imds.Misconfigured)
			}
			refused(t, r, imds.Identity{Source: "elsewhere"}, imds.Misconfigured)
			if _, err := r.Token(t.Context(), imds.Identity{}, vault); err == nil {
				t.Error("it was asked for IMDS's identity")
			}
			if n := len(r.seen()); n != 0 {
				t.Errorf("the endpoint was asked %d times", n)
			}
		})
	}
}
