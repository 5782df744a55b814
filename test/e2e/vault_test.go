//go:build e2e

package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// secretName gives a name that no other test of the vault uses.
func secretName(t *testing.T) string { return "s-" + container(t) }

// Unmodified programs without a credential write, read, list and delete secrets
// in a vault that verifies every token.
func TestSecretsByEveryClientAndSteering(t *testing.T) {
	d, _ := startForCloud(t, azuretest.Options{}, vaultRoute)
	for _, s := range everySteering() {
		for _, c := range []client{
			script("curl", "bash", clientFile("vault.sh")),
			script("urllib", rig.Python, clientFile("vault_urllib.py")),
			javaClient("java.net.http", clientFile("Vault.java")),
		} {
			t.Run(s.name+"/"+c.name, func(t *testing.T) {
				c.run(t, d, s, s.base(d, vaultHost, "vault"), secretName(t))
			})
		}
	}
	if calls := len(d.IMDS.Minted()); calls != 1 {
		t.Errorf("bearerd asked for %d tokens, want 1", calls)
	}
}

// The Key Vault client of Azure's SDK sends its first request without
// authorisation and without its body. With a credential that is none it gets
// its challenge, comes back, and what it writes arrives whole. (It refuses to
// bring a credential to a plain-http URL, so there is one way of steering.)
func TestSecretsBySDKWithDummyCredential(t *testing.T) {
	d, cloud := startForCloud(t, azuretest.Options{}, vaultRoute)
	c := script("Azure SDK for JavaScript", "node", filepath.Join(env.NPM, "secrets.mjs"))
	c.run(t, d, viaProxyVariables(), "https://"+vaultHost, secretName(t), rig.CallerCredential)
	for _, r := range cloud.Recorder.Requests() {
		if r.Method == http.MethodPut && r.Read == 0 {
			t.Errorf("a write reached the vault without its body: %s", r)
		}
	}
}

// A write that looks like the SDKs' probe is answered by bearerd, in each way
// of steering, and nothing reaches the vault.
func TestProbeIsAnsweredHere(t *testing.T) {
	d, cloud := startForCloud(t, azuretest.Options{}, vaultRoute)
	for _, s := range everySteering() {
		t.Run(s.name, func(t *testing.T) {
			a := curl(t, d, s, s.base(d, vaultHost, "vault")+"/secrets/x?api-version=7.4", "--request", "PUT", "--data", "")
			challenge := a.header.Get("WWW-Authenticate")
			if a.status != http.StatusUnauthorized || a.header.Get("Bearerd-Error") != "BearerdChallenge" {
				t.Errorf("got %d %v, want our 401", a.status, a.header)
			}
			if !strings.Contains(challenge, `resource="https://vault.azure.net"`) || !strings.Contains(challenge, "/"+d.IMDS.Tenant()+`"`) {
				t.Errorf("the challenge %s does not name the vault's audience and the tenant", challenge)
			}
		})
	}
	if got := cloud.Recorder.Requests(); len(got) != 0 {
		t.Errorf("the vault was asked: %v", got)
	}
}

// A list's next links keep coming through: unchanged to an app that sees the
// vault's own name, and mapped to the base URL for one that does not.
func TestSecretListPages(t *testing.T) {
	d, cloud := startForCloud(t, azuretest.Options{}, vaultRoute)
	names := []string{"a", "b", "c", "d", "e"}
	for _, name := range names {
		cloud.Vault.SetSecret(vaultHost, name, "x")
	}
	for _, s := range []steering{viaProxyVariables(), viaBaseURL()} {
		t.Run(s.name, func(t *testing.T) {
			c := script("pages", rig.Python, clientFile("pages.py"))
			c.run(t, d, s, slices.Concat([]string{s.base(d, vaultHost, "vault"), "/secrets?api-version=7.4"}, names)...)
		})
	}
}

// A token that the service takes no more is renewed once, and the call is
// replayed with its body. The app sees nothing of it.
func TestRevokedTokenIsRenewedAndReplayed(t *testing.T) {
	for _, s := range everySteering() {
		t.Run(s.name, func(t *testing.T) {
			d, cloud := startForCloud(t, azuretest.Options{}, vaultRoute)
			url := s.base(d, vaultHost, "vault") + "/secrets/x?api-version=7.4"
			write := func(value string) answer {
				return curl(t, d, s, url, "--request", "PUT", "--header", "Content-Type: application/json", "--data", `{"value":"`+value+`"}`)
			}
			if a := write("first"); a.status != http.StatusOK {
				t.Fatalf("got %d %s before anything was revoked", a.status, a.body)
			}
			if cloud.Tokens.Revoke() != 1 {
				t.Fatal("the vault has accepted no token, so none can be revoked")
			}
			d.IMDS.Forget()
			if a := write("second"); a.status != http.StatusOK || !strings.Contains(a.body, "second") {
				t.Errorf("got %d %s after the token was revoked", a.status, a.body)
			}
			var statuses []int
			for _, r := range cloud.Recorder.Requests() {
				statuses = append(statuses, r.Status)
			}
			if !slices.Equal(statuses, []int{200, 401, 200}) {
				t.Errorf("the vault answered %v, want one refusal and one replay", statuses)
			}
			if n := len(d.IMDS.Minted()); n != 2 {
				t.Errorf("bearerd asked for %d tokens, want 2", n)
			}
		})
	}
}

// A body that is longer than the spool cannot be sent twice: the service's
// refusal goes to the app, and its next call has the renewed token.
func TestRevokedTokenUnderALongUpload(t *testing.T) {
	d, cloud := startForCloud(t, azuretest.Options{}, storageRoutes)
	file := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(file, make([]byte, 300<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	put := func(url string, args ...string) answer {
		return curl(t, d, viaBaseURL(), d.URL+"/blob"+url, append([]string{"--request", "PUT"}, args...)...)
	}
	upload := func() answer {
		return put("/long/blob", "--header", "x-ms-blob-type: BlockBlob", "--data-binary", "@"+file)
	}
	if a := put("/long?restype=container", "--data", ""); a.status != http.StatusCreated {
		t.Fatalf("got %d %s before anything was revoked", a.status, a.body)
	}
	cloud.Tokens.Revoke()
	d.IMDS.Forget()
	if a := upload(); a.status != http.StatusUnauthorized || a.header.Get("Bearerd-Error") != "" {
		t.Errorf("got %d %v, want Storage's own 401", a.status, a.header)
	}
	if a := upload(); a.status != http.StatusCreated || cloud.Blobs.Size(rig.BlobHost, "long", "blob") != 300<<10 {
		t.Errorf("the next upload got %d %s, and %d bytes arrived", a.status, a.body, cloud.Blobs.Size(rig.BlobHost, "long", "blob"))
	}
}

// Where IMDS gives the rejected token again, as the real one does for a day,
// nothing is gained by a replay: the service's refusal goes to the app.
func TestRevokedTokenThatIMDSRepeats(t *testing.T) {
	d, cloud := startForCloud(t, azuretest.Options{}, vaultRoute)
	cloud.Vault.SetSecret(vaultHost, "x", "value")
	url := d.URL + "/vault/secrets/x?api-version=7.4"
	if a := curl(t, d, viaBaseURL(), url); a.status != http.StatusOK {
		t.Fatalf("got %d %s before anything was revoked", a.status, a.body)
	}
	cloud.Tokens.Revoke()
	for range 5 {
		a := curl(t, d, viaBaseURL(), url)
		if a.status != http.StatusUnauthorized || a.header.Get("Bearerd-Error") != "" || a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("got %d %v %s, want the vault's own 401", a.status, a.header, a.body)
		}
	}
	if n := len(d.IMDS.Minted()); n > 2 {
		t.Errorf("IMDS was asked %d times, want one renewal for all calls", n)
	}
}
