package sdk

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// emulated is a client whose connections to IMDS end at the emulator, and which
// can connect to nothing else. The SDK knows IMDS by its address alone: it reads
// no variable that would lead it elsewhere.
func emulated(t *testing.T, imds *rig.IMDS) *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr != "169.254.169.254:80" {
			t.Errorf("the SDK asks %s", addr)
			return nil, fmt.Errorf("%s is not emulated", addr)
		}
		return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(imds.URL, "http://"))
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// The SDK's managed-identity client takes the emulated IMDS for the real one:
// it gets tokens from it for every kind of identity, with the claims that a
// service goes by. Each case has an audience of its own, for the SDK's cache is
// the process's.
func TestManagedIdentityCredentialJudgesTheEmulator(t *testing.T) {
	user := imdstest.Identity{
		ClientID: "11111111-0000-0000-0000-0000000000c1", ObjectID: "11111111-0000-0000-0000-0000000000b1",
		ResourceID: "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one",
	}
	imds := rig.StartIMDS(t, imdstest.Options{Identities: []imdstest.Identity{user}})
	verifier := azuretest.NewVerifier(imds.Tenant(), imds.PublicKey(), nil)
	for _, c := range []struct {
		name, audience string
		id             azidentity.ManagedIDKind
		want           string // client id; empty: the system-assigned identity's
	}{
		{"system-assigned", "https://vault.azure.net", nil, ""},
		{"client id", "https://storage.azure.com", azidentity.ClientID(user.ClientID), user.ClientID},
		{"object id", "https://management.azure.com", azidentity.ObjectID(user.ObjectID), user.ClientID},
		{"resource id", "https://graph.microsoft.com", azidentity.ResourceID(user.ResourceID), user.ClientID},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(imds.Calls())
			token, err := getToken(t, imds, c.id, c.audience)
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(token.ExpiresOn); left < 23*time.Hour || left > 25*time.Hour {
				t.Errorf("the SDK reads that the token ends in %v, want 24 h", left)
			}
			claims, err := verifier.Verify("Bearer "+token.Token, c.audience)
			if err != nil {
				t.Errorf("a service would refuse the token: %v", err)
			}
			if c.want != "" && claims.ClientID != c.want || c.want == "" && claims.ClientID == user.ClientID {
				t.Errorf("the token is %s's", claims.ClientID)
			}
			calls := imds.Calls()[before:]
			if len(calls) != 1 || calls[0].Status != http.StatusOK || calls[0].Resource != c.audience {
				t.Errorf("the emulator saw %+v, want one good call for %s", calls, c.audience)
			}
		})
	}
}

// The emulator refuses in a way that the SDK understands, and does not retry.
func TestManagedIdentityCredentialReadsTheEmulatorsRefusals(t *testing.T) {
	two := []imdstest.Identity{{ClientID: "22222222-0000-0000-0000-0000000000c1"}, {ClientID: "22222222-0000-0000-0000-0000000000c2"}}
	imds := rig.StartIMDS(t, imdstest.Options{NoSystem: true, Identities: two})
	for _, c := range []struct {
		name, says string
		id         azidentity.ManagedIDKind
	}{
		{"several", "Multiple user assigned identities", nil},
		{"not assigned", "Identity not found", azidentity.ClientID("33333333-0000-0000-0000-0000000000c3")},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := imds.Stats().Calls
			_, err := getToken(t, imds, c.id, "https://nobody.example/"+strings.ReplaceAll(c.name, " ", "-"))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("the SDK says %v, want the emulator's %s", err, c.says)
			}
			if n := imds.Stats().Calls - before; n != 1 {
				t.Errorf("the emulator was asked %d times", n)
			}
		})
	}
}

func getToken(t *testing.T, imds *rig.IMDS, id azidentity.ManagedIDKind, audience string) (azcore.AccessToken, error) {
	t.Helper()
	credential, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{
		ClientOptions: azcore.ClientOptions{Transport: emulated(t, imds)}, ID: id,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{audience + "/.default"}})
}
