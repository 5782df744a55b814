package proxy

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

// recorder keeps the calls that reach the upstream.
type recorder struct {
	mu    sync.Mutex // guards calls
	calls []*http.Request
}

func (r *recorder) handle(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, req)
	w.WriteHeader(http.StatusCreated)
}

func (r *recorder) all() []*http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls
}

// withRoutes gives a world other routes than testRules.
func withRoutes(t testing.TB, rules ...route.Rule) worldOption {
	t.Helper()
	cloud, _ := azure.CloudNamed("public")
	table, err := route.Compile(rules, cloud)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *Options, _ *httptest.Server) { o.Routes = table }
}

const (
	dfsHost   = "acct.dfs.core.windows.net"
	otherHost = "other.blob.core.windows.net"
)

// sourceRules let one container be written and one read, and each account's data
// be read by a route of its own.
func sourceRules() []route.Rule {
	return []route.Rule{
		{Name: "write", Service: "storage", Hosts: []string{blobHost}, Paths: []string{"/in/**"}, Operations: []string{"storage.blob.*"}, Gateway: "blob"},
		{Name: "read", Service: "storage", Hosts: []string{otherHost}, Paths: []string{"/public/**"}, Operations: []string{"storage.blob.get"}, Identity: imds.Identity{ClientID: "00000000-0000-0000-0000-000000000002"}, Gateway: "other"},
		{Name: "paths", Service: "storage", Hosts: []string{dfsHost}, Paths: []string{"/fs/in/**"}, Operations: []string{"storage.dfs.*"}, Gateway: "dfs"},
		{Name: "vault", Service: "keyvault", Hosts: []string{vaultHost}},
	}
}

// A source that a route takes is read with that route's token, and no other
// source ever is.
func TestSourceOfACopyGetsATokenOnlyWhereARouteReadsIt(t *testing.T) {
	up := &recorder{}
	w := newWorld(t, up.handle, withRoutes(t, sourceRules()...))
	live := liveToken(t)
	for _, test := range []struct {
		name, source, own string
		status            int
		want              string // X-Ms-Copy-Source-Authorization as the service gets it
	}{
		{"a routed account", "https://" + otherHost + "/public/a", "", 201, "Bearer token-1"},
		{"a routed account with a dead credential", "https://" + otherHost + "/public/a", "Bearer placeholder", 201, "Bearer token-1"},
		{"a routed account with a live credential", "https://" + otherHost + "/public/a", "Bearer " + live, 201, "Bearer " + live},
		{"a signature", "https://" + otherHost + "/public/a?sv=2021&se=2099&sp=r&sig=x", "", 201, ""},
		{"another path of the account", "https://" + otherHost + "/private/a", "", 403, ""},
		{"another path of the own account", "https://" + blobHost + "/private/a", "", 403, ""},
		{"a vault", "https://" + vaultHost + "/secrets/db", "", 403, ""},
		{"a foreign host", "https://evil.example/in/a", "", 403, ""},
		{"a foreign host that looks like one", "https://" + otherHost + ".evil.example/public/a", "", 403, ""},
		{"userinfo", "https://" + otherHost + "@evil.example/public/a", "", 403, ""},
		{"dot segments", "https://" + otherHost + "/public/..%2fprivate/a", "", 403, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := len(up.all())
			r := newRequest(t, "PUT", w.base("/blob/in/new"), nil)
			r.Header.Set("X-Ms-Copy-Source", test.source)
			r.Header.Set("X-Ms-Requires-Sync", "true")
			r.Header.Set("X-Ms-Version", "2019-12-12")
			if test.own != "" {
				r.Header.Set("X-Ms-Copy-Source-Authorization", test.own)
			}
			answer, body := do(t, w.plain(), r)
			if answer.StatusCode != test.status {
				t.Fatalf("got %d %s", answer.StatusCode, body)
			}
			if test.status == 403 {
				wantProblem(t, answer, body, 403, route.CodeNotPermitted)
				if n := len(up.all()); n != before {
					t.Error("it reached the service")
				}
				return
			}
			got := up.all()[before].Header
			if got.Get("X-Ms-Copy-Source-Authorization") != test.want || got.Get("Authorization") != "Bearer token-1" {
				t.Errorf("the service got %q", got)
			}
			if raised := got.Get("X-Ms-Version") == "2020-10-02"; raised != strings.HasPrefix(test.want, "Bearer token") {
				t.Errorf("the service got the version %s", got.Get("X-Ms-Version"))
			}
		})
	}
}

// Without restrictions a copy from anywhere goes on, and the token for a source
// still goes to Storage alone.
func TestSourceElsewhereGetsNoTokenOnAnUnrestrictedRoute(t *testing.T) {
	up := &recorder{}
	w := newWorld(t, up.handle)
	for _, source := range []string{"https://" + vaultHost + "/secrets/db", "https://" + apiHost + "/a", "https://evil.example/a", "http://" + blobHost + "/c/a", "/acct/c/a"} {
		before := len(up.all())
		r := newRequest(t, "PUT", w.base("/blob/c/new?comp=block&blockid=AA"), nil)
		r.Header.Set("X-Ms-Version", "2019-12-12") // a path was a source once, and the service judges who names one still
		r.Header.Set("X-Ms-Copy-Source", source)
		if answer, body := do(t, w.plain(), r); answer.StatusCode != 201 {
			t.Fatalf("%s: got %d %s", source, answer.StatusCode, body)
		}
		if got := up.all()[before].Header; got["X-Ms-Copy-Source-Authorization"] != nil {
			t.Errorf("%s: the service got %q", source, got)
		}
	}
}

// An app that knows only base URLs names its source by one.
func TestSourceByBaseURLIsMappedBack(t *testing.T) {
	up := &recorder{}
	w := newWorld(t, up.handle, withRoutes(t, sourceRules()...))
	r := newRequest(t, "PUT", w.base("/blob/in/new?comp=block&blockid=AA"), nil)
	r.Header.Set("X-Ms-Copy-Source", w.base("/other/public/a?snapshot=1"))
	if answer, body := do(t, w.plain(), r); answer.StatusCode != 201 {
		t.Fatalf("got %d %s", answer.StatusCode, body)
	}
	got := up.all()[0].Header
	if got.Get("X-Ms-Copy-Source") != "https://"+otherHost+"/public/a?snapshot=1" || got.Get("X-Ms-Copy-Source-Authorization") != "Bearer token-1" {
		t.Errorf("the service got %q", got)
	}
	// What is none of our gateways is not mapped, and so nobody's.
	r = newRequest(t, "PUT", w.base("/blob/in/new"), nil)
	r.Header.Set("X-Ms-Copy-Source", w.base("/nobody/public/a"))
	answer, body := do(t, w.plain(), r)
	wantProblem(t, answer, body, 403, route.CodeNotPermitted)
}

// The rename of any path into one that the caller may read would show it all.
func TestCallerCannotRenameAForeignPathIntoAnAllowedOne(t *testing.T) {
	up := &recorder{}
	w := newWorld(t, up.handle, withRoutes(t, sourceRules()...))
	for source, want := range map[string]int{
		"/fs/in/old": 201, "/fs/secret": 403, "/other/in/old": 403, "/fs/in/../secret": 403, "/fs/in%2F..%2Fsecret": 403,
		"https://" + dfsHost + "/fs/in/old": 403, "/fs?resource=filesystem": 403,
	} {
		r := newRequest(t, "PUT", w.base("/dfs/fs/in/new"), nil)
		r.Header.Set("X-Ms-Rename-Source", source)
		if answer, body := do(t, w.plain(), r); answer.StatusCode != want {
			t.Errorf("%s: got %d %s, want %d", source, answer.StatusCode, body, want)
		}
	}
}

// As a trailer the field would name a source, or bring a credential, unjudged.
func TestSourceCannotComeAsATrailer(t *testing.T) {
	e := requestEdits{routed: true}
	for _, name := range []string{"X-Ms-Copy-Source", "X-Ms-Rename-Source", "X-Ms-File-Rename-Source", "X-Ms-Copy-Source-Authorization", "X-Ms-Requires-Sync"} {
		if !e.dropsTrailer(name) {
			t.Errorf("%s passes", name)
		}
	}
}

// What the service says of the source tells nothing of the token.
func TestUnreadableSourceIsNoReasonToRefresh(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Ms-Error-Code", "CannotVerifyCopySource")
		w.Header().Set("WWW-Authenticate", "Bearer authorization_uri=https://login.microsoftonline.com/t/oauth2/authorize resource_id=https://storage.azure.com")
		w.WriteHeader(http.StatusUnauthorized)
	})
	r := newRequest(t, "PUT", w.base("/blob/c/new"), nil)
	r.Header.Set("X-Ms-Copy-Source", "https://evil.example/a")
	if answer, _ := do(t, w.plain(), r); answer.StatusCode != 401 || w.tokens.renewals.Load() != 0 {
		t.Errorf("got %d after %d renewals", answer.StatusCode, w.tokens.renewals.Load())
	}
}

// After a 401 for the call itself both tokens are the fresh one.
func TestSourceTokenIsReplacedOnReplay(t *testing.T) {
	var seen []string
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization")+" "+r.Header.Get("X-Ms-Copy-Source-Authorization"))
		if len(seen) == 1 {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	r := newRequest(t, "PUT", w.base("/blob/c/new?comp=page"), nil)
	r.Header.Set("X-Ms-Copy-Source", "https://"+blobHost+"/c/a")
	do(t, w.plain(), r)
	if got := strings.Join(seen, "; "); got != "Bearer token-1 Bearer token-1; Bearer token-2 Bearer token-2" {
		t.Errorf("the service got %s", got)
	}
}

// liveToken makes one that is well-formed and has not expired.
func liveToken(t testing.TB) string {
	t.Helper()
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	return part(`{"alg":"RS256","typ":"JWT"}`) + "." + part(fmt.Sprintf(`{"aud":"x","exp":%d}`, time.Now().Add(time.Hour).Unix())) + "." + part("signature")
}
