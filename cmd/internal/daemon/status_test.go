package daemon

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/cmd/internal/admin"
	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/proxy/route"
)

// The status tells what came of calls, and follows a reload.
func TestStatusTellsOfCallsAndOfTheConfiguration(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+anyPort+"routes: [{service: keyvault, hosts: [payroll.vault.azure.net], gateway: vault, methods: [GET]}]\n")
	request, err := http.NewRequest(http.MethodDelete, "http://"+r.Addresses()[0]+"/vault/secrets/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := r.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	r.client.CloseIdleConnections()
	s := r.status()
	for len(s.Refusals) == 0 { // the call ends after its answer
		s = r.status()
	}
	if got := s.Routes[0].Traffic; got != (admin.Traffic{Requests: 1, ClientErrors: 1, SentBytes: got.SentBytes}) {
		t.Errorf("traffic %+v", got)
	}
	if got := s.Refusals[0]; got.Code != route.CodeNotPermitted || got.Status != 403 || !strings.Contains(got.Reason, "GET only") || got.Count != 1 {
		t.Errorf("refusal %+v", got)
	}
	if s.Listeners[0].Accepted != 1 || !strings.HasPrefix(s.Go, "go1.") || s.Redirect != nil {
		t.Errorf("%+v", s)
	}
	methods := func() string {
		settings := r.status().Config.Settings
		return settings[slices.IndexFunc(settings, func(s admin.Setting) bool { return s.Key == "routes[0].methods" })].Value
	}
	if got := methods(); got != "[GET]" {
		t.Errorf("methods %s", got)
	}
	r.edit("[GET]", "[GET, PUT]")
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := methods(); got != "[GET, PUT]" {
		t.Errorf("methods after a reload %s", got)
	}
}
