package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

const regionalHost = "westus." + armHost

// testBase is the base URL of a route with one host.
func testBase(t testing.TB, host string) *baseURL {
	t.Helper()
	return baseOf(t, route.Rule{Name: "up", Hosts: []string{host}, Audience: "api://up", Gateway: "g"})
}

func baseOf(t testing.TB, rule route.Rule) *baseURL {
	t.Helper()
	cloud, _ := azure.CloudNamed("public")
	table, err := route.Compile([]route.Rule{rule}, cloud)
	if err != nil {
		t.Fatal(err)
	}
	return &baseURL{gateway: table.Routes()[0], origin: "http://us", prefix: "/g"}
}

// Azure Resource Manager points to its regional hosts, where operations go on.
func TestLinksToRegionalHostsComeBackThroughTheBaseURL(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		h := rw.Header()
		h.Set("Azure-AsyncOperation", r.URL.Query().Get("link"))
		h.Set("Content-Type", "application/json")
		h.Set("X-Asked", r.Host+" "+r.Header.Get("Authorization"))
		fmt.Fprintf(rw, `{"nextLink":%q}`, r.URL.Query().Get("link"))
	})
	for _, tt := range []struct{ at, link, want string }{
		{"/arm/", "https://" + regionalHost + "/operations/1?a=b", w.base("/arm~" + regionalHost + "/operations/1?a=b")},
		{"/arm/", "https://WESTUS." + armHost + ":443/operations/1", w.base("/arm~" + regionalHost + "/operations/1")},
		{"/arm~" + regionalHost + "/", "https://" + regionalHost + "/operations/1", w.base("/arm~" + regionalHost + "/operations/1")},
		{"/arm~" + regionalHost + "/", "https://" + armHost + "/operations/1", w.base("/arm/operations/1")},
		{"/arm/", "https://a." + regionalHost + "/", ""},
		{"/arm/", "https://" + regionalHost + ".evil.example/", ""},
		{"/arm/", "https://" + regionalHost + "@evil.example/", ""},
		{"/arm/", "https://" + regionalHost + ":8443/", ""},
		{"/arm/", "http://" + regionalHost + "/", ""},
		{"/arm/", "https://" + vaultHost + "/", ""}, // another route's
	} {
		if tt.want == "" {
			tt.want = tt.link
		}
		answer, body := do(t, w.plain(), newRequest(t, "GET", w.base(tt.at+"x?link="+strings.NewReplacer("?", "%3F", "&", "%26").Replace(tt.link)), nil))
		if got := answer.Header.Get("Azure-AsyncOperation"); got != tt.want {
			t.Errorf("at %s, %q became %q, want %q", tt.at, tt.link, got, tt.want)
		}
		if want := fmt.Sprintf(`{"nextLink":%q}`, tt.want); body != want {
			t.Errorf("at %s the body became %s, want %s", tt.at, body, want)
		}
	}
	answer, _ := do(t, w.plain(), newRequest(t, "GET", w.base("/arm~"+regionalHost+"/x?link=/operations/1"), nil))
	if got, want := answer.Header.Get("Azure-AsyncOperation"), "/arm~"+regionalHost+"/operations/1"; got != want {
		t.Errorf("a relative link became %q, want %q", got, want)
	}
	if got := answer.Header.Get("X-Asked"); got != regionalHost+" Bearer token-1" {
		t.Errorf("asked was %q", got)
	}
}

// A base URL leads to no host but those that its own route names, whatever is
// written after the mark.
func TestBaseURLLeadsToNoHostOfAnotherRoute(t *testing.T) {
	var asked atomic.Int64
	w := newWorld(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	for _, segment := range []string{
		"arm~", "arm~~" + regionalHost, "arm~evil.example", "arm~" + regionalHost + ".evil.example", "arm~a." + regionalHost,
		"arm~" + regionalHost + ":443", "arm~" + regionalHost + ":8443", "arm~x@" + regionalHost, "arm~127.0.0.1", "arm~[::1]",
		"arm~" + vaultHost, "vault~" + regionalHost, "vault~x.vault.azure.net", "blob~" + armHost, "nobody~" + regionalHost, "arm%7E" + regionalHost,
	} {
		answer, body := do(t, w.plain(), newRequest(t, "GET", w.base("/"+segment+"/x"), nil))
		wantProblem(t, answer, body, http.StatusNotFound, CodeUnknownGateway)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d calls have left", n)
	}
}

// What explain says of a regional base URL is what happens.
func TestExplainKnowsRegionalBaseURLs(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, r.Host) })
	call, ok := Gateway(&azure.Call{Method: "GET", Path: "/arm~" + regionalHost + "/x"}, Settings{Routes: w.server.settings.Load().routes})
	if !ok || call.Host != regionalHost || call.Port != 443 || call.Path != "/x" {
		t.Errorf("explained is %+v, %t", call, ok)
	}
	if _, body := do(t, w.plain(), newRequest(t, "GET", w.base("/arm~"+regionalHost+"/x"), nil)); body != regionalHost {
		t.Errorf("asked was %s", body)
	}
}
