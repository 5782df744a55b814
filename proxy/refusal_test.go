package proxy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/bearerd/bearerd/metrics"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

// What people are shown of refusals tells why, and nothing that the caller has
// sent: a path may hold a secret's name, a query a signature.
func TestRefusalsTellWhyAndNothingOfTheCall(t *testing.T) {
	const canary = "c4n4ry"
	var mu sync.Mutex
	var seen []Refusal
	w := newWorld(t, func(http.ResponseWriter, *http.Request) {}, func(o *Options, _ *httptest.Server) {
		cloud, _ := azure.CloudNamed("public")
		table, err := route.Compile([]route.Rule{{Service: "keyvault", Hosts: []string{vaultHost}, Gateway: "vault", Methods: []string{"GET"}, Paths: []string{"/secrets/*"}}}, cloud)
		if err != nil {
			t.Fatal(err)
		}
		o.Settings.Routes, o.Settings.RefuseUnmatched = table, true
		o.Refused = func(r Refusal) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, r)
		}
	})
	for _, request := range []string{
		"DELETE /vault/secrets/" + canary + "?x=" + canary,
		"GET /vault/keys/" + canary,
		"GET /vault/secrets/%2f" + canary,
		canary + " /vault/secrets/x",
		"GET /" + canary + "/x",
		"GET http://" + canary + ".example/",
		"GET /vault/secrets/x", // whose method override is not understood
	} {
		answer := w.raw(request+" HTTP/1.1\r\nHost: "+w.addr+"\r\nX-Http-Method-Override: "+canary+"\r\nConnection: close\r\n\r\n", "GET")
		answer.Body.Close()
	}
	w.server.Close() // finish runs after the answer is out
	if len(seen) != 7 {
		t.Errorf("%d refusals, want 7: %+v", len(seen), seen)
	}
	for i, r := range seen {
		if text := fmt.Sprintf("%+v", r); strings.Contains(strings.ToLower(text), canary) {
			t.Errorf("it holds what the caller sent: %s", text)
		}
		if r.At.IsZero() || r.Code == "" || r.Status < 400 {
			t.Errorf("%+v", r)
		}
		if i == 0 && (r.Code != route.CodeNotPermitted || r.Route != "keyvault" || !strings.Contains(r.Reason, "GET only")) {
			t.Errorf("the route's reason: %+v", r)
		}
		if r.Route == metrics.Unrouted && r.Reason != "" {
			t.Errorf("%+v", r)
		}
	}
}
