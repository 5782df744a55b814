//go:build linux

package unchanged

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

const imdsAddress = "169.254.169.254:80"

// Programs that know IMDS by its address alone get their tokens from bearerd,
// with nothing changed in them or told to them, and a service takes these. All
// of them together cost one call of IMDS for each identity.
func TestUnchangedProgramsShareTheCache(t *testing.T) {
	p := env.StartInIMDSsPlace(t, imdsAddress)
	for _, c := range []struct {
		name string
		argv []string
	}{
		{"azidentity", []string{env.app, "azidentity"}},
		{"MSAL for Go", []string{env.app, "msal"}},
		{"Azure SDK for JavaScript", []string{"node", filepath.Join(env.NPM, "identity.mjs")}},
		{"curl", []string{"bash", filepath.Join(env.Source, "testdata", "clients", "imds.sh"), "http://169.254.169.254"}},
	} {
		for name, clientID := range map[string]string{"system-assigned": "", "user-assigned": rig.UserClientID} {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				argv := append(c.argv, "https://"+rig.UnroutedVault, "secret")
				if clientID != "" {
					argv = append(argv, clientID)
				}
				p.RunTwoApps(t, nil, argv)
				p.CalledAs(t, clientID)
			})
		}
	}
	p.AskedOnce(t)
}

// A refusal reaches the person who reads the program's error, with what to do.
func TestUnchangedProgramsReadTheRefusals(t *testing.T) {
	d := env.Start(t, rig.Settings{
		IMDS:     rig.StartIMDS(t, imdstest.Options{}),
		Upstream: map[string]string{rig.UnroutedVault: env.CA.ServeTLS(t, http.HandlerFunc(challenge), rig.UnroutedVault)},
		Routes:   "\n  - {service: storage}\n",
		Listen:   "  - {address: \"" + imdsAddress + "\", mode: imds, insecure_allow_network: true}\n",
	})
	environment := append(env.BaseEnv(), "HTTPS_PROXY="+d.URL, "SSL_CERT_FILE="+env.CAFile)
	for _, kind := range []string{"azidentity", "msal"} {
		t.Run(kind, func(t *testing.T) {
			text, err := rig.Try(t, environment, "", env.app, kind, "https://"+rig.UnroutedVault, "secret")
			if err == nil || !strings.Contains(text, "no route of bearerd has this audience") {
				t.Errorf("the program said (%v):\n%s", err, text)
			}
		})
	}
	if n := d.IMDS.Stats().Calls; n != 0 {
		t.Errorf("IMDS was asked %d times", n)
	}
}

// challenge is how a vault begins, which azidentity's app asks first.
func challenge(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("WWW-Authenticate", `Bearer authorization="https://login.microsoftonline.com/7e4a0000-0000-4000-8000-000000000001", resource="https://vault.azure.net"`)
	w.WriteHeader(http.StatusUnauthorized)
}
