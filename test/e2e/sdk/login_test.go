package sdk

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

const (
	loginHost = "login.microsoftonline.com"
	appID     = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
)

// startForLogins starts bearerd, which answers one app's logins, in front of the
// fakes, of Azurite, and of an Entra that no answered login may reach.
func startForLogins(t *testing.T) (*rig.Daemon, *azuretest.Entra) {
	t.Helper()
	imds, entra := rig.StartIMDS(t, imdstest.Options{}), new(azuretest.Entra)
	cloud := imds.StartCloud(t, azuretest.Options{Others: map[string]http.Handler{loginHost: entra}})
	upstream := cloud.ConnectTo()
	maps.Copy(upstream, env.store.ConnectTo())
	return env.Start(t, rig.Settings{
		IMDS: imds, Upstream: upstream, CA: cloud.CAPEM(), Routes: routes,
		More: "unmatched: refuse\nentra: {tenants: [" + imds.Tenant() + "], clients: [" + appID + "]}\n",
	}), entra
}

// certificate is one that Entra has never seen, as is its key.
func certificate(t *testing.T) (*x509.Certificate, *rsa.PrivateKey) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// azidentity's credentials of an app log in through bearerd, with a secret or a
// certificate that is none, and Key Vault's, Storage's and Resource Manager's
// clients work with them.
func TestAppCredentials(t *testing.T) {
	cert, key := certificate(t)
	for name, credential := range map[string]func(tenant string, o azcore.ClientOptions) (azcore.TokenCredential, error){
		"secret": func(tenant string, o azcore.ClientOptions) (azcore.TokenCredential, error) {
			return azidentity.NewClientSecretCredential(tenant, appID, rig.CallerCredential, &azidentity.ClientSecretCredentialOptions{ClientOptions: o})
		},
		"certificate": func(tenant string, o azcore.ClientOptions) (azcore.TokenCredential, error) {
			return azidentity.NewClientCertificateCredential(tenant, appID, []*x509.Certificate{cert}, key, &azidentity.ClientCertificateCredentialOptions{ClientOptions: o})
		},
	} {
		for i := range 2 { // both ways of HTTP
			// Azurite ends connections that are idle for 5 s, about as long as
			// Resource Manager's operations take: each case has its own.
			d, entra := startForLogins(t)
			s := steerings(t, d)[i]
			t.Run(s.name+"/"+name, func(t *testing.T) {
				app, err := credential(d.IMDS.Tenant(), s.options)
				if err != nil {
					t.Fatal(err)
				}
				useApp(t, app, s.options, name+string(rune('a'+i)))
			})
			wantNoLogin(t, entra)
		}
	}
}

// useApp makes calls of each service as the app.
func useApp(t *testing.T, app azcore.TokenCredential, options azcore.ClientOptions, name string) {
	t.Helper()
	vault, err := azsecrets.NewClient("https://"+azuretest.VaultHost, app, &azsecrets.ClientOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	secrets(t, vault, name)
	store, err := azblob.NewClient("https://"+rig.BlobHost, app, &azblob.ClientOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	blobs(t, store, "app"+name)
	listCreateAndDelete(t, app, &arm.ClientOptions{ClientOptions: options})
	_, err = app.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://graph.microsoft.com/.default"}})
	if err == nil || !strings.Contains(err.Error(), "AADSTS500011") || !strings.Contains(err.Error(), "add a route") {
		t.Errorf("a login for what no route has: %v", err)
	}
}

func wantNoLogin(t *testing.T, entra *azuretest.Entra) {
	t.Helper()
	for _, l := range entra.Logins() {
		t.Errorf("Entra was sent %s %s", l.Method, l.URI)
	}
}

// MSAL's confidential client, with a secret and with a certificate, gets a token
// that it keeps until its end.
func TestMSALConfidentialClient(t *testing.T) {
	d, entra := startForLogins(t)
	cert, key := certificate(t)
	bySecret, err := confidential.NewCredFromSecret(rig.CallerCredential)
	if err != nil {
		t.Fatal(err)
	}
	byCertificate, err := confidential.NewCredFromCert([]*x509.Certificate{cert}, key)
	if err != nil {
		t.Fatal(err)
	}
	verifier := azuretest.NewVerifier(d.IMDS.Tenant(), d.IMDS.PublicKey(), nil)
	for name, credential := range map[string]confidential.Credential{"secret": bySecret, "certificate": byCertificate} {
		for _, host := range []string{loginHost, "login.windows.net"} {
			client, err := confidential.New("https://"+host+"/"+d.IMDS.Tenant(), appID, credential, confidential.WithHTTPClient(d.AppClient(t, true)))
			if err != nil {
				t.Fatal(err)
			}
			var token string
			for range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				result, err := client.AcquireTokenByCredential(ctx, []string{"https://vault.azure.net/.default"})
				cancel()
				if err != nil {
					t.Fatalf("%s at %s: %v", name, host, err)
				}
				if left := time.Until(result.ExpiresOn); left < 14*time.Minute || left > 15*time.Minute {
					t.Errorf("%s at %s: the token ends in %v, want 15 min", name, host, left)
				}
				if token != "" && token != result.AccessToken {
					t.Errorf("%s at %s: MSAL asked again for a token that had not ended", name, host)
				}
				token = result.AccessToken
			}
			if _, err := verifier.Verify("Bearer "+token, "https://vault.azure.net"); err == nil {
				t.Error("a service would take the placeholder itself")
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+azuretest.VaultHost+"/secrets?api-version=7.4", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			answer, err := d.AppClient(t, true).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				t.Errorf("%s at %s: the vault answered %s", name, host, answer.Status)
			}
		}
	}
	wantNoLogin(t, entra)
}
