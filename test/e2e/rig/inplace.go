package rig

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
)

// What StartInIMDSsPlace arranges: a vault that no route names, and the client
// id of a user-assigned identity.
const (
	UnroutedVault = "unrouted.vault.azure.net"
	UserClientID  = "11111111-0000-0000-0000-0000000000c1"
)

// InPlace is a bearerd that also answers in IMDS's place.
type InPlace struct {
	*Daemon
	Cloud  *azuretest.Cloud
	caFile string // of the vaults
}

// StartInIMDSsPlace starts a bearerd that answers at the address as IMDS does,
// for the system-assigned identity and a user-assigned one. Its routes are for
// other vaults than UnroutedVault, which it only tunnels to: what that one takes,
// an app has sent with a token that it was given.
func (r *Rig) StartInIMDSsPlace(t *testing.T, address string) *InPlace {
	t.Helper()
	imds := StartIMDS(t, imdstest.Options{Identities: []imdstest.Identity{{ClientID: UserClientID}}})
	cloud := imds.StartCloud(t, azuretest.Options{Hosts: []string{azuretest.VaultHost, "other.vault.azure.net", UnroutedVault}})
	p := &InPlace{Cloud: cloud, caFile: filepath.Join(t.TempDir(), "vaults.pem")}
	if err := os.WriteFile(p.caFile, cloud.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Daemon = r.Start(t, Settings{
		IMDS: imds, Upstream: cloud.ConnectTo(), CA: cloud.CAPEM(),
		Listen: "  - {address: \"" + address + "\", mode: imds, insecure_allow_network: true}\n",
		Routes: `
  - {service: keyvault, hosts: [payroll.vault.azure.net], gateway: vault}
  - {service: keyvault, hosts: [other.vault.azure.net], gateway: other, identity: {client_id: ` + UserClientID + `}}
`,
	})
	return p
}

// RunTwoApps runs an app in two processes at a time, until both say ok. It gets
// its tokens by itself: it reaches the vaults through bearerd's tunnels, and
// whoever plays IMDS directly.
func (p *InPlace) RunTwoApps(t *testing.T, env, argv []string) {
	t.Helper()
	env = slices.Concat(p.rig.BaseEnv(), env, []string{
		"HTTPS_PROXY=" + p.URL, "https_proxy=" + p.URL, "NO_PROXY=127.0.0.1,169.254.169.254",
		"SSL_CERT_FILE=" + p.caFile, "CURL_CA_BUNDLE=" + p.caFile, "NODE_EXTRA_CA_CERTS=" + p.caFile,
	})
	var apps [2]*Process
	for i := range apps {
		var err error
		if apps[i], err = Launch(env, t.TempDir(), argv[0], argv[1:]...); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(apps[i].Stop)
	}
	for _, app := range apps {
		if code := app.Exited(t, time.Minute); code != 0 || strings.TrimSpace(app.Out.String()) != "ok" {
			t.Errorf("the app did not say ok and exited with %d:\n%s", code, app.Out)
		}
	}
}

// CalledAs requires that the unrouted vault was called since the last time, and
// by nobody but the identity. An empty client id is the system-assigned one's.
func (p *InPlace) CalledAs(t *testing.T, clientID string) {
	t.Helper()
	served := 0
	for _, r := range p.Cloud.Recorder.Requests() {
		if r.Status == http.StatusUnauthorized { // how the SDKs begin
			continue
		}
		served++
		if got := r.Caller.ClientID; r.Host != UnroutedVault || r.Status != http.StatusOK || clientID != "" && got != clientID || clientID == "" && (got == "" || got == UserClientID) {
			t.Errorf("%s as %q, want the identity %q", r, got, clientID)
		}
	}
	if served == 0 {
		t.Error("the vault was not called")
	}
	p.Cloud.Recorder.Reset()
}

// AskedOnce requires that IMDS was asked for one token for each identity, all in
// all, and that a call that a route takes is served with the one that is there.
func (p *InPlace) AskedOnce(t *testing.T) {
	t.Helper()
	for _, gateway := range []string{"vault", "other"} {
		if err := Answers(p.URL+"/"+gateway+"/secrets?api-version=7.4", http.StatusOK); err != nil {
			t.Error(err)
		}
	}
	if s := p.IMDS.Stats(); s.Calls != 2 {
		t.Errorf("IMDS was asked %d times, want once for each identity", s.Calls)
	}
}
