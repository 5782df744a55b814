package imdstest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestRequestsAreJudged(t *testing.T) {
	s := New(Options{Key: sharedKey()})
	set := func(name, value string) func(*http.Request, url.Values) {
		return func(_ *http.Request, q url.Values) { q.Set(name, value) }
	}
	header := func(name string, values ...string) func(*http.Request, url.Values) {
		return func(r *http.Request, _ url.Values) { r.Header[name] = values }
	}
	tests := []struct {
		name   string
		edit   func(r *http.Request, query url.Values)
		status int
		says   string
	}{
		{"good", nil, 200, `"access_token":"eyJ`},
		{"POST", func(r *http.Request, _ url.Values) { r.Method = http.MethodPost }, 405, "GET only"},
		{"HEAD", func(r *http.Request, _ url.Values) { r.Method = http.MethodHead }, 405, "GET only"},
		{"another path", func(r *http.Request, _ url.Values) { r.URL.Path = tokenPath + "s" }, 404, "not_found"},
		{"another spelling of the path", func(r *http.Request, _ url.Values) { r.URL.RawPath = "/metadata%2fidentity/oauth2/token" }, 404, "not_found"},
		{"no header", func(r *http.Request, _ url.Values) { r.Header.Del("Metadata") }, 400, "bad_request_102"},
		{"a false header", header("Metadata", "false"), 400, "bad_request_102"},
		{"two headers", header("Metadata", "true", "true"), 400, "bad_request_102"},
		{"through a proxy", header("X-Forwarded-For", "10.0.0.1"), 400, "X-Forwarded-For"},
		{"through a proxy that says nothing", header("X-Forwarded-For", ""), 400, "X-Forwarded-For"},
		{"a name twice", func(_ *http.Request, q url.Values) { q.Add("resource", vault) }, 400, "twice: resource"},
		{"a broken query", func(r *http.Request, _ url.Values) { r.URL.RawQuery = "resource=%zz" }, 400, "not well formed"},
		{"App Service's name", set("mi_res_id", "x"), 400, "not known: mi_res_id"},
		{"bypass_cache", set("bypass_cache", "true"), 200, "access_token"},
		{"no version", func(_ *http.Request, q url.Values) { q.Del("api-version") }, 400, "api-version"},
		{"an unknown version", set("api-version", "2016-01-01"), 400, "api-version"},
		{"two versions in one", set("api-version", "2018-02-01 2023-07-01"), 400, "api-version"},
		{"no resource", func(_ *http.Request, q url.Values) { q.Del("resource") }, 400, "'resource' is missing"},
		{"no resource's look", set("resource", "vault"), 400, "invalid_resource"},
		{"no host", set("resource", "https://"), 400, "invalid_resource"},
		{"an application", set("resource", "api://contoso-internal"), 200, "access_token"},
		{"an application's id", set("resource", "CFA8B339-82A2-471A-A3C9-0FC0BE7A4093"), 200, "access_token"},
		{"an unknown client", set("client_id", "x"), 400, "Identity not found"},
		{"an empty client", set("client_id", ""), 400, "Identity not found"},
		{"two ids", func(_ *http.Request, q url.Values) { q.Set("client_id", "x"); q.Set("object_id", "x") }, 400, "exclude one another"},
	}
	for _, tt := range tests {
		if w := ask(s, tt.edit); !says(w, tt.status, tt.says) {
			t.Errorf("%s: got %d %s, want %d and %q", tt.name, w.Code, w.Body, tt.status, tt.says)
		}
	}
}

func TestResourcesMayBeNamed(t *testing.T) {
	s := New(Options{Key: sharedKey(), Resources: []string{vault, "https://storage.azure.com/"}})
	for resource, status := range map[string]int{
		vault: 200, vault + "/": 200, "https://storage.azure.com": 200, "https://typo.azure.net": 400, "": 400,
	} {
		w := ask(s, func(_ *http.Request, q url.Values) { q.Set("resource", resource) })
		if w.Code != status {
			t.Errorf("%q: got %d %s", resource, w.Code, w.Body)
		}
	}
}

func TestIdentitiesChangeInMidRun(t *testing.T) {
	one := Identity{"c1", "o1", "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one"}
	s := New(Options{Key: sharedKey(), NoSystem: true, Identities: []Identity{one}})
	object := func() string { return claimsOf(t, ask(s, nil)).ObjectID }
	if got := object(); got != "o1" {
		t.Errorf("the only one is %s", got)
	}
	s.Assign(true, one)
	if got := object(); got != systemIdentity().ObjectID {
		t.Errorf("after a system-assigned one has come, the token is %s's", got)
	}
	s.Assign(false)
	if w := ask(s, nil); !says(w, 400, "Identity not found") {
		t.Errorf("without any: %d %s", w.Code, w.Body)
	}
}

func TestIdentitiesAreChosen(t *testing.T) {
	one := Identity{"c1", "o1", "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one"}
	two := Identity{"c2", "o2", "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/two"}
	system := systemIdentity().Identity
	tests := []struct {
		name      string
		o         Options
		id, value string
		want      Identity // of the token; zero: refused
		says      string
	}{
		{"the system's", Options{}, "", "", system, ""},
		{"the system's among others", Options{Identities: []Identity{one, two}}, "", "", system, ""},
		{"the only one", Options{NoSystem: true, Identities: []Identity{two}}, "", "", two, ""},
		{"none named of several", Options{NoSystem: true, Identities: []Identity{one, two}}, "", "", Identity{}, "Multiple user assigned identities exist"},
		{"none at all", Options{NoSystem: true}, "", "", Identity{}, "Identity not found"},
		{"by client", Options{Identities: []Identity{one, two}}, "client_id", "C2", two, ""},
		{"by object", Options{Identities: []Identity{one, two}}, "object_id", "o2", two, ""},
		{"by resource", Options{Identities: []Identity{one, two}}, "msi_res_id", strings.ToLower(two.ResourceID), two, ""},
		{"a client by its object", Options{Identities: []Identity{one}}, "client_id", "o1", Identity{}, "Identity not found"},
		{"by an id that none has", Options{Identities: []Identity{{ClientID: "c"}}}, "object_id", "", Identity{}, "Identity not found"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Key = sharedKey()
			s := New(tt.o)
			w := ask(s, func(_ *http.Request, q url.Values) {
				if tt.id != "" {
					q.Set(tt.id, tt.value)
				}
			})
			if tt.says != "" {
				if !says(w, 400, tt.says) || !says(w, 400, "invalid_request") {
					t.Errorf("got %d %s", w.Code, w.Body)
				}
				return
			}
			got := claimsOf(t, w)
			if got.ClientID != tt.want.ClientID || got.ObjectID != tt.want.ObjectID || got.ResourceID != tt.want.ResourceID {
				t.Errorf("the token is of %+v", got)
			}
			if calls := s.Calls(); len(calls) != 1 || calls[0].Identity != tt.want {
				t.Errorf("got the calls %+v", calls)
			}
			if shown := strings.Contains(w.Body.String(), `"client_id"`); shown != (tt.want != system) {
				t.Errorf("client_id is shown: %t", shown)
			}
		})
	}
}

func TestEnvironmentIsTold(t *testing.T) {
	get := func(query string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "http://imds.test"+environmentPath+query, nil)
		r.Header.Set("Metadata", "true")
		w := httptest.NewRecorder()
		New(Options{Key: sharedKey()}).ServeHTTP(w, r)
		return w
	}
	if w := get("?api-version=2021-02-01&format=text"); w.Code != 200 || w.Body.String() != "AzurePublicCloud" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	for _, query := range []string{"", "?format=text", "?api-version=2021-02-01", "?api-version=2021-02-01&format=json"} {
		if w := get(query); w.Code != 400 || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: got %d %s", query, w.Code, w.Body)
		}
	}
}
