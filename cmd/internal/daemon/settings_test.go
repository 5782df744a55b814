package daemon

import (
	"slices"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/cmd/internal/admin"
)

func settingsOf(t *testing.T, text string) []admin.Setting {
	t.Helper()
	c, err := Parse("bearerd.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c.settings()
}

// What holds is told key by key, with whether the file says so.
func TestSettings(t *testing.T) {
	all := settingsOf(t, `
unmatched: refuse
imds: {rate: 2.5}
listen: [{address: "127.0.0.1:1"}, {address: "unix:/run/x.sock", mode: imds}]
routes:
  - {service: keyvault, hosts: [a.vault.azure.net, b.vault.azure.net], identity: {client_id: 00000000-0000-0000-0000-000000000001}}
  - {service: storage, callers: {users: ["1001"]}}
cloud: {name: own, base: public}
`)
	for _, want := range []admin.Setting{
		{Key: "unmatched", Value: "refuse", Set: true}, {Key: "own", Value: "pass"},
		{Key: "imds.rate", Value: "2.5", Set: true}, {Key: "imds.burst", Value: "5"}, {Key: "drain.max", Value: "30s"},
		{Key: "listen[0].address", Value: "127.0.0.1:1", Set: true}, {Key: "listen[1].mode", Value: "imds", Set: true},
		{Key: "routes[0].hosts", Value: "[a.vault.azure.net, b.vault.azure.net]", Set: true},
		{Key: "routes[0].identity.client_id", Value: "00000000-0000-0000-0000-000000000001", Set: true},
		{Key: "routes[1].callers.users", Value: "[1001]", Set: true},
		{Key: "cloud.name", Value: "own", Set: true}, {Key: "cloud.base", Value: "public", Set: true},
	} {
		if !slices.Contains(all, want) {
			t.Errorf("%+v is not there", want)
		}
	}
	for _, s := range all {
		if !s.Set && (strings.HasPrefix(s.Key, "listen[") || strings.HasPrefix(s.Key, "routes[")) {
			t.Errorf("%+v is said of an element, and the file does not say it", s)
		}
	}
	if t.Failed() {
		t.Log(all)
	}
}

func TestSettingsOfTheDefaults(t *testing.T) {
	all := Default().settings()
	for _, want := range []admin.Setting{{Key: "cloud", Value: "auto"}, {Key: "listen[0].address", Value: "127.0.0.1:8180"}, {Key: "routes", Value: "[]"}, {Key: "redirect.ports", Value: "[443, 80]"}} {
		if !slices.Contains(all, want) {
			t.Errorf("%+v is not there: %v", want, all)
		}
	}
	for _, s := range all {
		if s.Set {
			t.Errorf("%+v: there is no file", s)
		}
	}
}

// A field that routes require is what an attacker has to guess.
func TestSettingsHideSecrets(t *testing.T) {
	const canary = "c4n4ry"
	for _, s := range settingsOf(t, "routes: [{service: keyvault, require_header: {X-Vault-Caller: "+canary+"}}]\n") {
		if strings.Contains(s.Value, canary) {
			t.Errorf("%+v", s)
		}
		if s.Key == "routes[0].require_header" && s.Value == "{X-Vault-Caller: (hidden)}" {
			return
		}
	}
	t.Error("it is not told that there is one")
}
