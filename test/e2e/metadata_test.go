//go:build e2e

package e2e

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// Programs that ask IMDS by themselves get their tokens from bearerd's listener
// in its place, and a service takes them. Two run at a time, and still there is
// one call of IMDS for each identity.
func TestTokensFromTheListenerInIMDSsPlace(t *testing.T) {
	at := rig.FreeAddress(t)
	p := env.StartInIMDSsPlace(t, at)
	vault := "https://" + rig.UnroutedVault
	for _, c := range []struct {
		name string
		argv []string
	}{
		{"curl", []string{"bash", clientFile("imds.sh"), "http://" + at}},
		{"Azure SDK for JavaScript", []string{"node", filepath.Join(env.NPM, "identity.mjs")}},
	} {
		for name, clientID := range map[string]string{"system-assigned": "", "user-assigned": rig.UserClientID} {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				argv := append(c.argv, vault, secretName(t))
				if clientID != "" {
					argv = append(argv, clientID)
				}
				// Without a slash at the end, to which the SDK would add its own.
				p.RunTwoApps(t, []string{"AZURE_POD_IDENTITY_AUTHORITY_HOST=http://" + at}, argv)
				p.CalledAs(t, clientID)
			})
		}
	}
	p.AskedOnce(t)
}

// What the listener does not answer with a token it refuses in IMDS's words,
// and IMDS is not even asked.
func TestRefusalsOfTheListenerInIMDSsPlace(t *testing.T) {
	at, socket := rig.FreeAddress(t), filepath.Join(t.TempDir(), "imds.sock")
	d := env.Start(t, rig.Settings{
		IMDS:   rig.StartIMDS(t, imdstest.Options{}),
		Routes: vaultRoute,
		Listen: "  - {address: \"" + at + "\", mode: imds}\n  - {address: \"unix:" + socket + "\", mode: imds}\n",
	})
	const (
		path   = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource="
		vault  = path + "https%3A%2F%2Fvault.azure.net"
		header = "Metadata: true"
	)
	for _, c := range []struct {
		name   string
		url    string
		args   []string
		status int
		code   string
	}{
		{"no Metadata", vault, nil, 400, "bad_request_102"},
		{"Metadata is false", vault, []string{"-H", "Metadata: false"}, 400, "bad_request_102"},
		{"forwarded", vault, []string{"-H", header, "-H", "X-Forwarded-For: 203.0.113.7"}, 400, "invalid_request"},
		{"an audience without a route", path + "https%3A%2F%2Fgraph.microsoft.com", []string{"-H", header}, 400, "invalid_resource"},
		{"an identity without a route", vault + "&client_id=" + rig.UserClientID, []string{"-H", header}, 400, "invalid_request"},
		{"no audience", strings.TrimSuffix(path, "&resource="), []string{"-H", header}, 400, "bad_request_101"},
		{"a foreign Host", vault, []string{"-H", header, "-H", "Host: rebound.example"}, 421, "invalid_request"},
		{"IMDS's Host", vault, []string{"-H", header, "-H", "Host: 169.254.169.254"}, 421, "invalid_request"},
		{"as a proxy", "http://169.254.169.254" + vault, []string{"-H", header, "--proxy", "http://" + at}, 421, "invalid_request"},
		{"a web page", vault, []string{"-H", header, "-H", "Origin: https://page.example"}, 403, "access_denied"},
		{"POST", vault, []string{"-H", header, "--data", ""}, 405, "method_not_allowed"},
		{"about the machine", "/metadata/instance?api-version=2021-02-01", []string{"-H", header}, 404, "not_found"},
		{"a foreign Host on a socket", vault, []string{"-H", header, "--unix-socket", socket, "-H", "Host: rebound.example"}, 421, "invalid_request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := c.url
			if strings.HasPrefix(url, "/") {
				url = "http://" + at + url
			}
			a := curl(t, d, viaBaseURL(), url, c.args...)
			var body map[string]string
			if err := json.Unmarshal([]byte(a.body), &body); err != nil {
				t.Fatalf("%d %s: %v", a.status, a.body, err)
			}
			if a.status != c.status || body["error"] != c.code || body["error_description"] == "" || len(body) != 2 || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
				t.Errorf("got %d %s, want %d %s in IMDS's shape", a.status, a.body, c.status, c.code)
			}
		})
	}
	if n := d.IMDS.Stats().Calls; n != 0 {
		t.Errorf("IMDS was asked %d times", n)
	}
	// The same call as it should be, which all of these differ from by one thing.
	for _, args := range [][]string{{"http://" + at + vault}, {"http://localhost" + vault, "--unix-socket", socket}} {
		status := rig.Run(t, env.BaseEnv(), "", "curl", append(args, "-s", "-H", header, "-o", "/dev/null", "-w", "%{http_code}")...)
		if status != "200" {
			t.Errorf("%s got %s, want a token", args[0], status)
		}
	}
}

// What IMDS itself refuses, or does not give at the moment, is told as IMDS
// tells it, so that a client's retries do as they would there.
func TestIMDSsFailuresThroughTheListener(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  imdstest.Fault
		status int
		code   string
		later  bool
	}{
		{"throttled", imdstest.Throttled(imdstest.Seconds(5)), http.StatusTooManyRequests, "too_many_requests", true},
		{"updating", imdstest.Unavailable(http.StatusGone), http.StatusServiceUnavailable, "temporarily_unavailable", true},
		{"not assigned", imdstest.NotAssigned(), http.StatusBadRequest, "invalid_request", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := rig.FreeAddress(t)
			imds := rig.StartIMDS(t, imdstest.Options{})
			imds.Script(c.fault.Always())
			d := env.Start(t, rig.Settings{
				IMDS: imds, Routes: vaultRoute, IMDSMore: ", token_wait: 300ms",
				Listen: "  - {address: \"" + at + "\", mode: imds}\n",
			})
			a := curl(t, d, viaBaseURL(), "http://"+at+"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net", "-H", "Metadata: true")
			var body map[string]string
			if err := json.Unmarshal([]byte(a.body), &body); err != nil {
				t.Fatalf("%d %s: %v", a.status, a.body, err)
			}
			if a.status != c.status || body["error"] != c.code || body["error_description"] == "" || (a.header.Get("Retry-After") != "") != c.later {
				t.Errorf("got %d %v %s, want %d %s", a.status, a.header, a.body, c.status, c.code)
			}
		})
	}
}
