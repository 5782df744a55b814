//go:build e2e

package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

const armRoute = `
  - {service: arm, gateway: arm}
`

const (
	groups   = "/subscriptions/" + azuretest.Subscription + "/resourcegroups"
	resource = groups + "/dev/providers/Microsoft.Web/serverfarms/plan"
)

// Resource groups come in pages, and a resource is created by an operation that
// is polled by absolute URLs. All of that keeps coming through bearerd.
func TestResourceManagerPagesAndOperations(t *testing.T) {
	d, _ := startForCloud(t, azuretest.Options{ARM: azuretest.ARMOptions{Polls: 2}}, armRoute)
	for _, s := range []steering{viaProxyVariables(), viaBaseURL()} {
		base := s.base(d, azuretest.ARMHost, "arm")
		t.Run(s.name+"/pages", func(t *testing.T) {
			script("", rig.Python, clientFile("pages.py")).run(t, d, s, base, groups+"?api-version=2021-04-01", "dev", "prod", "shared", "staging", "test")
		})
		t.Run(s.name+"/operation", func(t *testing.T) {
			script("", rig.Python, clientFile("operation.py")).run(t, d, s, base, resource)
		})
	}
}

// Without any route in the configuration, ARM is for reading: a write is
// refused by bearerd, with the reason, and reaches nobody. Key Vault and
// Storage are for everything.
func TestDefaultRoutesLetResourceManagerBeRead(t *testing.T) {
	d, cloud := startForCloud(t, azuretest.Options{}, "")
	for _, s := range everySteering() {
		t.Run(s.name, func(t *testing.T) {
			url := s.base(d, azuretest.ARMHost, "arm") + resource + "?api-version=2024-03-01"
			for _, args := range [][]string{
				{"--request", "PUT", "--header", "Content-Type: application/json", "--data", "{}"},
				{"--request", "DELETE"},
				{"--request", "POST", "--data", ""},
				// A write in disguise.
				{"--header", "X-HTTP-Method-Override: DELETE"},
			} {
				a := curl(t, d, s, url, args...)
				if e := rig.ParseAzureError(t, a.body); a.status != http.StatusForbidden || e.Error.Code != "BearerdNotPermitted" || !strings.Contains(e.Error.Message, "arm") {
					t.Errorf("%q: got %d %s, want 403 BearerdNotPermitted that names the route", args, a.status, a.body)
				}
			}
			if got := cloud.Recorder.Requests(); len(got) != 0 {
				t.Errorf("Resource Manager was sent %v", got)
			}
			a := curl(t, d, s, s.base(d, azuretest.ARMHost, "arm")+groups+"?api-version=2021-04-01")
			if a.status != http.StatusOK || !strings.Contains(a.body, `"prod"`) {
				t.Errorf("reading got %d %s", a.status, a.body)
			}
			cloud.Recorder.Reset()
		})
	}
	s := viaProxyVariables()
	script("", "bash", clientFile("vault.sh")).run(t, d, s, s.base(d, vaultHost, ""), secretName(t))
	script("", "bash", clientFile("storage.sh")).run(t, d, s, s.base(d, rig.BlobHost, ""), container(t))
}
