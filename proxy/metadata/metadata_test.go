package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/imdstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	vault   = "https://vault.azure.net"
	storage = "https://storage.azure.com/"
	first   = "00000000-0000-0000-0000-000000000001"
	second  = "00000000-0000-0000-0000-000000000002"
)

// fakeTokens gives a token that names its key, or an error.
type fakeTokens struct{ err error }

func (f *fakeTokens) Token(_ context.Context, k cache.Key) (*imds.Token, error) {
	if f.err != nil {
		return nil, f.err
	}
	return imds.NewToken("secret-of-"+k.Identity.String(), time.Now().Add(time.Hour).Round(0), time.Time{}), nil
}

func serve(t *testing.T, f Tokens, allowed ...cache.Key) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(New(Options{Tokens: f, Allowed: func() []cache.Key { return allowed }}))
	t.Cleanup(s.Close)
	return s
}

func system(audience string) cache.Key { return cache.Key{Audience: audience} }

func user(id, audience string) cache.Key {
	return cache.Key{Identity: imds.Identity{ClientID: id}, Audience: audience}
}

// ask makes a call as a client of IMDS's does, after change.
func ask(t *testing.T, base, query string, change func(*http.Request)) (int, http.Header, map[string]string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, base+tokenPath+"?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Metadata", "true")
	if change != nil {
		change(r)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var body map[string]string
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Fatalf("the answer is not a JSON object of strings: %v", err)
	}
	return answer.StatusCode, answer.Header, body
}

func query(resource string, more ...string) string {
	v := url.Values{"api-version": {"2018-02-01"}, "resource": {resource}}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v.Encode()
}

func TestIdentityIsChosenAsIMDSDoes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		allowed []cache.Key
		query   string
		want    string // of the secret, or of the error
	}{
		{"the only one", []cache.Key{user(first, vault)}, query(vault), "client_id:" + first},
		{"the system-assigned one before others", []cache.Key{user(first, vault), system(vault)}, query(vault), "system-assigned"},
		{"the one that is named", []cache.Key{system(vault), user(first, vault), user(second, vault)}, query(vault, "client_id", second), "client_id:" + second},
		{"a slash more", []cache.Key{system(vault)}, query(vault + "/"), "system-assigned"},
		{"a slash less", []cache.Key{system(storage)}, query("https://storage.azure.com"), "system-assigned"},
		{"a later version", []cache.Key{system(vault)}, strings.Replace(query(vault), "2018-02-01", "2021-12-13", 1), "system-assigned"},

		{"an audience without a route", []cache.Key{system(vault)}, query(storage), "invalid_resource"},
		{"an identity without a route", []cache.Key{system(vault)}, query(vault, "client_id", first), "invalid_request"},
		{"an identity with another audience", []cache.Key{system(vault), user(first, storage)}, query(vault, "client_id", first), "invalid_request"},
		{"several without an id", []cache.Key{user(first, vault), user(second, vault)}, query(vault), "invalid_request"},
		{"two ids", []cache.Key{user(first, vault)}, query(vault, "client_id", first, "object_id", second), "invalid_request"},
		{"no audience", []cache.Key{system(vault)}, "api-version=2018-02-01", "bad_request_101"},
		{"no version", []cache.Key{system(vault)}, "resource=" + vault, "bad_request_101"},
		{"an audience twice", []cache.Key{system(vault)}, query(vault) + "&resource=" + vault, "invalid_request"},
		{"a long query", []cache.Key{system(vault)}, query(vault, "x", strings.Repeat("y", maxQuery)), "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, _, body := ask(t, serve(t, &fakeTokens{}, tt.allowed...).URL, tt.query, nil)
			if got := strings.TrimPrefix(body["access_token"], "secret-of-") + body["error"]; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if failed := body["error"] != ""; failed != (status == http.StatusBadRequest) || failed != (body["error_description"] != "") {
				t.Errorf("got %d with %v", status, body)
			}
		})
	}
}

// MSAL for Node, which @azure/identity asks by, ends the path with a slash.
func TestPathMayEndWithASlash(t *testing.T) {
	s := serve(t, &fakeTokens{}, system(vault))
	if status, _, body := ask(t, s.URL, query(vault), func(r *http.Request) { r.URL.Path += "/" }); status != http.StatusOK || body["access_token"] == "" {
		t.Errorf("got %d %v", status, body)
	}
}

// What a browser's page, or a server that fetches strangers' URLs, can send is
// not answered with a token.
func TestForgedRequestGetsNoToken(t *testing.T) {
	s := serve(t, &fakeTokens{}, system(vault))
	for name, change := range map[string]func(*http.Request){
		"no Metadata":      func(r *http.Request) { r.Header.Del("Metadata") },
		"Metadata: false":  func(r *http.Request) { r.Header.Set("Metadata", "false") },
		"Metadata twice":   func(r *http.Request) { r.Header.Add("Metadata", "true") },
		"X-Forwarded-For":  func(r *http.Request) { r.Header.Set("X-Forwarded-For", "10.0.0.1") },
		"POST":             func(r *http.Request) { r.Method = http.MethodPost },
		"another path":     func(r *http.Request) { r.URL.Path = "/metadata/instance" },
		"a foreign Host":   func(r *http.Request) { r.Host = "evil.example" },
		"a foreign Origin": func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") },
		"a foreign site":   func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
	} {
		if status, _, body := ask(t, s.URL, query(vault), change); status < 400 || body["access_token"] != "" || body["error"] == "" {
			t.Errorf("%s: got %d %v", name, status, body)
		}
	}
}

func TestFailuresHaveTheStatusThatClientsRetryBy(t *testing.T) {
	unavailable := func(class imds.Class) error {
		return &cache.UnavailableError{RetryAfter: 1500 * time.Millisecond, Err: &imds.Error{Class: class, Status: 400, Code: "invalid_request"}}
	}
	for _, tt := range []struct {
		err        error
		status     int
		retryAfter string
	}{
		{unavailable(imds.Throttled), 429, "2"},
		{unavailable(imds.Unavailable), 503, "2"},
		{unavailable(imds.Updating), 503, "2"},
		{unavailable(imds.NotAssigned), 400, ""},
		{unavailable(imds.Misconfigured), 400, ""},
		{unavailable(imds.Denied), 403, ""},
		{&cache.UnavailableError{Err: errors.New("not yet")}, 503, "1"},
	} {
		status, header, body := ask(t, serve(t, &fakeTokens{tt.err}, system(vault)).URL, query(vault), nil)
		if status != tt.status || header.Get("Retry-After") != tt.retryAfter || body["error"] == "" || body["error_description"] == "" {
			t.Errorf("%v: got %d, Retry-After %q, %v", tt.err, status, header.Get("Retry-After"), body)
		}
	}
}

// Our own client of IMDS takes the answer, with the end that we go by.
func TestAnswerIsReadByAnIMDSClient(t *testing.T) {
	machine := imdstest.New(imdstest.Options{Lifetime: 2 * time.Hour})
	source, err := imds.New(imds.Options{Transport: machine})
	if err != nil {
		t.Fatal(err)
	}
	c := cache.New(cache.Options{Source: source})
	defer c.Close()
	client, err := imds.New(imds.Options{Endpoint: serve(t, c, system(vault)).URL})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 5 {
		token, err := client.Token(t.Context(), imds.Identity{}, vault)
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(token.Expires()); left < 119*time.Minute || left > 2*time.Hour {
			t.Errorf("the token lives %v more, want what is left of 2 h", left)
		}
	}
	if calls := len(machine.Calls()); calls != 1 {
		t.Errorf("five callers made %d calls to IMDS, want one", calls)
	}
}

func TestLogHasNoToken(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	h := New(Options{Tokens: &fakeTokens{}, Allowed: func() []cache.Key { return []cache.Key{system(vault)} }, Logger: zap.New(core)})
	s := httptest.NewServer(h)
	defer s.Close()
	ask(t, s.URL, query(vault), nil)
	if logs.Len() != 1 {
		t.Fatalf("%d lines, want one", logs.Len())
	}
	for _, value := range logs.All()[0].ContextMap() {
		if text, ok := value.(string); ok && strings.Contains(text, "secret-of") {
			t.Errorf("the log has the token: %s", text)
		}
	}
}
