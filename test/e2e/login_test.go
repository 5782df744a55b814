//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

const (
	loginHost = "login.microsoftonline.com"
	appID     = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
)

// startForLogins starts bearerd, which answers the logins of one app, in front
// of the fake vault and Resource Manager, of Azurite, and of an Entra that no
// answered login may reach. No other host can be reached at all.
func startForLogins(t *testing.T) (*rig.Daemon, *azuretest.Cloud, *azuretest.Entra) {
	t.Helper()
	imds, entra := rig.StartIMDS(t, imdstest.Options{}), new(azuretest.Entra)
	cloud := imds.StartCloud(t, azuretest.Options{Others: map[string]http.Handler{
		loginHost: entra, "login.windows.net": entra, "login.microsoft.com": entra, "sts.windows.net": entra,
	}})
	upstream := cloud.ConnectTo()
	maps.Copy(upstream, env.store.ConnectTo())
	d := env.Start(t, rig.Settings{
		IMDS: imds, Upstream: upstream, CA: cloud.CAPEM(),
		More: "unmatched: refuse\nentra: {tenants: [" + imds.Tenant() + "], clients: [" + appID + "]}\n",
		Routes: `
  - {service: keyvault, gateway: vault, hosts: [payroll.vault.azure.net]}
  - {service: storage, gateway: blob, hosts: [acct.blob.core.windows.net]}
  - {service: arm, gateway: arm}
`,
	})
	return d, cloud, entra
}

// wantNoLogin fails the test if Entra was asked for anything, or if nothing was
// answered in its place.
func wantNoLogin(t *testing.T, d *rig.Daemon, entra *azuretest.Entra) {
	t.Helper()
	for _, l := range entra.Logins() {
		t.Errorf("Entra was sent %s https://%s%s", l.Method, l.Host, l.URI)
	}
	if metrics := rig.Get(t, d.Admin+"/metrics"); !strings.Contains(metrics, `bearerd_logins_total{result="answered"}`) || strings.Contains(metrics, `bearerd_logins_total{result="answered"} 0`) {
		t.Error("no login was answered")
	}
}

// azureCLI makes calls of Debian's azure-cli, as a program that knows nothing of
// bearerd but the proxy variables.
func azureCLI(t *testing.T, d *rig.Daemon) func(args ...string) string {
	t.Helper()
	config := t.TempDir()
	environment := append(env.BaseEnv(), viaProxyVariables().env(d)...)
	environment = append(environment, "AZURE_CONFIG_DIR="+config, "AZURE_CORE_COLLECT_TELEMETRY=0", "AZURE_CORE_SURVEY_MESSAGE=0", "NO_PROXY=", "no_proxy=")
	return func(args ...string) string {
		t.Helper()
		text := rig.Run(t, environment, config, "az", args...)
		d.Saw(text)
		return text
	}
}

// Debian's azure-cli logs in as an app whose secret nobody knows any more, and
// works against Key Vault, Storage and Resource Manager.
func TestAzureCLIWithServicePrincipal(t *testing.T) {
	d, cloud, entra := startForLogins(t)
	az := azureCLI(t, d)
	cloud.Vault.SetSecret(vaultHost, "db", "from the vault")
	name := container(t)
	file := filepath.Join(t.TempDir(), "blob.txt")
	if err := os.WriteFile(file, []byte("uploaded by az"), 0o600); err != nil {
		t.Fatal(err)
	}

	account := "/subscriptions/" + azuretest.Subscription + "/resourceGroups/prod/providers/Microsoft.Storage/storageAccounts/acct"
	made := curl(t, d, viaBaseURL(), d.URL+"/arm"+account+"?api-version=2023-01-01", "--request", "PUT", "--header", "Content-Type: application/json", "--data", `{"location":"westeurope"}`)
	if made.status != http.StatusAccepted {
		t.Fatalf("making a resource got %d %s", made.status, made.body)
	}

	az("login", "--service-principal", "-u", appID, "-p", rig.CallerCredential, "--tenant", d.IMDS.Tenant())
	// Debian's package lacks the library (azure.keyvault.v7_0) by which
	// "az keyvault secret" works; the same call by the same login is this.
	if text := az("rest", "--url", "https://"+vaultHost+"/secrets/db?api-version=7.4", "--resource", "https://vault.azure.net"); !strings.Contains(text, `"value": "from the vault"`) {
		t.Errorf("az rest said\n%s", text)
	}
	login := []string{"--account-name", "acct", "--auth-mode", "login"}
	az(append([]string{"storage", "container", "create", "--name", name}, login...)...)
	az(append([]string{"storage", "blob", "upload", "--container-name", name, "--name", "b.txt", "--file", file, "--no-progress"}, login...)...)
	if text := az(append([]string{"storage", "blob", "list", "--container-name", name}, login...)...); !strings.Contains(text, `"name": "b.txt"`) {
		t.Errorf("az storage blob list said\n%s", text)
	}
	if text := az("resource", "list"); !strings.Contains(text, `"name": "acct"`) {
		t.Errorf("az resource list said\n%s", text)
	}
	if text := az("group", "list"); !strings.Contains(text, `"name": "prod"`) {
		t.Errorf("az group list said\n%s", text)
	}
	wantNoLogin(t, d, entra)
}

// The SDKs for JavaScript, and rclone, log in by themselves with a secret that
// is none.
func TestAppsWithAClientSecret(t *testing.T) {
	for _, test := range []struct {
		client client
		args   func(d *rig.Daemon, name string) []string
	}{
		{script("Azure SDKs for JavaScript", "node", filepath.Join(env.NPM, "login.mjs")), func(d *rig.Daemon, name string) []string {
			return []string{d.IMDS.Tenant(), appID, rig.CallerCredential, "https://" + vaultHost, "https://" + rig.BlobHost, name, azuretest.Subscription}
		}},
		{script("rclone", "sh", clientFile("rclone_login.sh")), func(d *rig.Daemon, name string) []string {
			return []string{name, d.IMDS.Tenant(), appID, rig.CallerCredential}
		}},
	} {
		t.Run(test.client.name, func(t *testing.T) {
			d, _, entra := startForLogins(t)
			test.client.run(t, d, viaProxyVariables(), test.args(d, container(t))...)
			wantNoLogin(t, d, entra)
		})
	}
}

// curl logs in by every version, host and way of steering, and reads a secret
// with what it is given.
func TestLoginByCurl(t *testing.T) {
	d, cloud, entra := startForLogins(t)
	cloud.Vault.SetSecret(vaultHost, "x", "value")
	tenant := d.IMDS.Tenant()
	for _, s := range []steering{viaProxyVariables(), viaAbsoluteURL(), viaBaseURL()} {
		for _, host := range []string{loginHost, "login.windows.net", "login.microsoft.com", "sts.windows.net"} {
			base := s.base(d, host, "entra")
			for path, what := range map[string]string{"/oauth2/token": "resource=https://vault.azure.net", "/oauth2/v2.0/token": "scope=https://vault.azure.net/.default"} {
				a := curl(t, d, s, base+"/"+tenant+path, "--data", "grant_type=client_credentials", "--data", "client_id="+appID,
					"--data-urlencode", "client_secret="+rig.CallerCredential, "--data-urlencode", what)
				var granted struct {
					AccessToken string `json:"access_token"`
				}
				if err := json.Unmarshal([]byte(a.body), &granted); err != nil || a.status != http.StatusOK || granted.AccessToken == "" {
					t.Fatalf("%s%s by %s: got %d %s", host, path, s.name, a.status, a.body)
				}
				bearer := []string{"--header", "Authorization: Bearer " + granted.AccessToken}
				if a := curl(t, d, s, s.base(d, vaultHost, "vault")+"/secrets/x?api-version=7.4", bearer...); a.status != http.StatusOK {
					t.Errorf("%s%s by %s: the vault answered %d %s", host, path, s.name, a.status, a.body)
				}
				if a := curl(t, d, s, s.base(d, rig.BlobHost, "blob")+"/c/b", bearer...); a.status != http.StatusUnauthorized || a.header.Get("Bearerd-Error") != "BearerdPlaceholder" {
					t.Errorf("%s%s by %s: at another service the placeholder got %d %v", host, path, s.name, a.status, a.header)
				}
				// Whoever is sent it past bearerd refuses it.
				if _, err := cloud.Tokens.Verify("Bearer "+granted.AccessToken, "https://vault.azure.net"); err == nil {
					t.Error("a service takes the placeholder itself")
				}
			}
		}
	}
	wantNoLogin(t, d, entra)
}

// The logins of others reach Entra byte for byte, whatever they hold, and
// Entra's own answer comes back.
func TestOtherLoginsReachEntra(t *testing.T) {
	d, _, entra := startForLogins(t)
	tenant := d.IMDS.Tenant()
	file := filepath.Join(t.TempDir(), "form")
	for _, test := range []struct{ name, target, form string }{
		{"another client", "/" + tenant + "/oauth2/v2.0/token", "client_id=99999999-bbbb-cccc-dddd-eeeeeeeeeeee&grant_type=client_credentials&client_secret=" + rig.CallerCredential},
		{"another tenant", "/common/oauth2/token?api-version=1.0", "client_id=" + appID + "&grant_type=client_credentials&client_secret=x"},
		{"a person", "/" + tenant + "/oauth2/v2.0/token", "client_id=" + appID + "&grant_type=password&username=u%40x&password=+%2B%zz"},
		{"a device", "/" + tenant + "/oauth2/v2.0/devicecode", "client_id=" + appID + "&scope=x"},
		{"bytes", "/" + tenant + "/oauth2/v2.0/token", "\x00\xff&=&&;" + strings.Repeat("\r\n", 10)},
		{"more than a login", "/" + tenant + "/oauth2/v2.0/token", "client_id=" + appID + "&grant_type=client_credentials&x=" + strings.Repeat("y", 300<<10)},
	} {
		if err := os.WriteFile(file, []byte(test.form), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, s := range []steering{viaProxyVariables(), viaBaseURL()} {
			for _, version := range []string{"--http1.1", "--http2"} {
				before := len(entra.Logins())
				a := curl(t, d, s, s.base(d, loginHost, "entra")+test.target, version, "--data-binary", "@"+file, "--header", "Authorization: Basic dTpw", "--header", "client-request-id: 4711")
				if a.status != http.StatusBadRequest || a.header.Get("Bearerd-Error") != "" || !strings.Contains(a.body, "this is Entra") {
					t.Errorf("%s by %s: got %d %v %s", test.name, s.name, a.status, a.header, a.body)
				}
				got := entra.Logins()[before:]
				if len(got) != 1 || got[0].Method != "POST" || got[0].Host != loginHost || got[0].URI != test.target ||
					!bytes.Equal(got[0].Body, []byte(test.form)) || got[0].Length != int64(len(test.form)) ||
					!slices.Equal(got[0].Header["Authorization"], []string{"Basic dTpw"}) || got[0].Header.Get("Client-Request-Id") != "4711" {
					t.Errorf("%s by %s: Entra was sent %d calls, and not the one that left", test.name, s.name, len(got))
				}
			}
		}
	}
	if n := len(d.IMDS.Minted()); n != 0 {
		t.Errorf("%d tokens were asked for", n)
	}
}
