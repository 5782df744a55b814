//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// Whatever answers in IMDS's place, nothing of it is ever sent to a service:
// the app hears why, in Azure's shape and with when to come back; and once IMDS
// is itself again, so is bearerd.
func TestUnusableAnswersOfIMDS(t *testing.T) {
	for name, fault := range map[string]imdstest.Fault{
		"HTML":              imdstest.HTML(),
		"truncated JSON":    imdstest.Truncated(),
		"cut connection":    imdstest.Cut(),
		"reset":             imdstest.Reset(),
		"no expiry":         imdstest.NoExpiry(),
		"expired token":     imdstest.Expired(),
		"10 MiB":            imdstest.Huge(),
		"redirect":          imdstest.Redirect("http://127.0.0.1:1/"),
		"no answer":         imdstest.Hang(),
		"updating":          imdstest.Unavailable(http.StatusGone),
		"throttled":         imdstest.Throttled(imdstest.Seconds(1)),
		"server error":      imdstest.Unavailable(http.StatusBadGateway),
		"not assigned":      imdstest.NotAssigned(),
		"line break inside": imdstest.Altered(func(answer map[string]any) { answer["access_token"] = "a\r\nX-Injected: b" }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			imds := rig.StartIMDS(t, imdstest.Options{})
			imds.Script(fault.Always())
			cloud := imds.StartCloud(t, azuretest.Options{})
			cloud.Vault.SetSecret(vaultHost, "x", "value")
			d := env.Start(t, rig.Settings{
				IMDS: imds, Upstream: cloud.ConnectTo(), CA: cloud.CAPEM(), Routes: vaultRoute,
				IMDSMore: ", token_wait: 300ms",
			})
			for _, s := range everySteering() {
				a := curl(t, d, s, s.base(d, vaultHost, "vault")+"/secrets/x?api-version=7.4")
				if a.status != http.StatusServiceUnavailable || a.header.Get("Bearerd-Error") != "BearerdTokenUnavailable" {
					t.Errorf("%s: got %d %v, want our 503", s.name, a.status, a.header)
				}
				if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds < 1 {
					t.Errorf("%s: Retry-After is %q, want seconds", s.name, a.header.Get("Retry-After"))
				}
				rig.ParseAzureError(t, a.body)
			}
			if got := cloud.Recorder.Requests(); len(got) != 0 {
				t.Errorf("the vault was sent %v", got)
			}
			if name == "not assigned" {
				return // asked again only slowly
			}
			imds.Clear()
			recovered(t, d)
		})
	}
}

// recovered waits until a call gets through.
func recovered(t *testing.T, d *rig.Daemon) {
	t.Helper()
	rig.Eventually(t, "bearerd has a token again", func() error {
		return rig.Answers(d.URL+"/vault/secrets/x?api-version=7.4", http.StatusOK)
	})
}

// What no retry can heal is said as what it is, with what to do.
func TestMisconfiguredIdentity(t *testing.T) {
	for _, c := range []struct {
		name, routes string
		imds         imdstest.Options
		hint         string
	}{
		{"several identities", vaultRoute, imdstest.Options{NoSystem: true, Identities: []imdstest.Identity{
			{ClientID: "11111111-0000-0000-0000-000000000001"}, {ClientID: "11111111-0000-0000-0000-000000000002"},
		}}, "client_id"},
		{"unknown audience", `
  - {hosts: [payroll.vault.azure.net], audience: "https://nobody.example", gateway: vault, name: wrong}
`, imdstest.Options{Resources: []string{azuretest.VaultAudience}}, "audience"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := env.Start(t, rig.Settings{IMDS: rig.StartIMDS(t, c.imds), Upstream: map[string]string{vaultHost: rig.FreeAddress(t)}, Routes: c.routes})
			began := time.Now()
			a := curl(t, d, viaBaseURL(), d.URL+"/vault/secrets/x")
			if a.status != http.StatusBadGateway || a.header.Get("Bearerd-Error") != "BearerdTokenMisconfigured" || a.header.Get("Retry-After") != "" {
				t.Errorf("got %d %v, want our 502 without an invitation to retry", a.status, a.header)
			}
			if message := rig.ParseAzureError(t, a.body).Error.Message; !strings.Contains(message, c.hint) {
				t.Errorf("no word of %s in: %s", c.hint, message)
			}
			// token_wait, which is 10 s, is for what waiting may heal.
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the answer took %v, want it at once", took)
			}
		})
	}
}

// Each route is served with the identity that it names, in each of the ways to
// name one; the process's own is for the others.
func TestUserAssignedIdentities(t *testing.T) {
	assigned := []imdstest.Identity{
		{ClientID: "11111111-0000-0000-0000-0000000000c1", ObjectID: "11111111-0000-0000-0000-0000000000b1", ResourceID: "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one"},
		{ClientID: "22222222-0000-0000-0000-0000000000c2", ObjectID: "22222222-0000-0000-0000-0000000000b2", ResourceID: "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/two"},
	}
	one, two := assigned[0], assigned[1]
	imds := rig.StartIMDS(t, imdstest.Options{Identities: assigned})
	cloud := imds.StartCloud(t, azuretest.Options{Hosts: []string{"a.vault.azure.net", "b.vault.azure.net", "c.vault.azure.net", "d.vault.azure.net"}})
	d := env.Start(t, rig.Settings{
		IMDS: imds, Upstream: cloud.ConnectTo(), CA: cloud.CAPEM(),
		More: fmt.Sprintf("identity: {client_id: %s}\n", one.ClientID),
		Routes: fmt.Sprintf(`
  - {service: keyvault, hosts: [a.vault.azure.net], gateway: a}
  - {service: keyvault, hosts: [b.vault.azure.net], gateway: b, identity: {object_id: %s}}
  - {service: keyvault, hosts: [c.vault.azure.net], gateway: c, identity: {resource_id: %s}}
  - {service: keyvault, hosts: [d.vault.azure.net], gateway: d, identity: {}}
`, two.ObjectID, two.ResourceID),
	})
	for _, c := range []struct {
		gateway string
		system  bool
		want    imdstest.Identity
	}{{"a", false, one}, {"b", false, two}, {"c", false, two}, {"d", true, imdstest.Identity{}}} {
		cloud.Recorder.Reset()
		if a := curl(t, d, viaBaseURL(), d.URL+"/"+c.gateway+"/secrets?api-version=7.4"); a.status != http.StatusOK {
			t.Errorf("%s: got %d %s", c.gateway, a.status, a.body)
			continue
		}
		got := cloud.Recorder.Requests()[0].Caller.ClientID
		if c.system {
			if got == "" || got == one.ClientID || got == two.ClientID {
				t.Errorf("%s: the vault was called as %q, want the system-assigned identity", c.gateway, got)
			}
		} else if got != c.want.ClientID {
			t.Errorf("%s: the vault was called as %q, want %q", c.gateway, got, c.want.ClientID)
		}
	}
}
