package sdk

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/bearerd/bearerd/test/azuretest"
)

// azsecrets writes, reads and lists, without a credential and with a dummy. With
// one, its first request is the probe without a body: were the token attached
// there, the write would be lost.
func TestSecrets(t *testing.T) {
	d, cloud := startForCloud(t)
	for i, s := range steerings(t, d) {
		for name, credential := range map[string]azcore.TokenCredential{"none": nil, "dummy": dummy{}} {
			if credential != nil && strings.HasPrefix(s.url("", ""), "http://") {
				continue // the SDK brings no credential to a plain-http URL
			}
			t.Run(s.name+"/credential "+name, func(t *testing.T) {
				options := &azsecrets.ClientOptions{ClientOptions: s.options}
				client, err := azsecrets.NewClient(s.url(azuretest.VaultHost, "vault"), credential, options)
				if err != nil {
					t.Fatal(err)
				}
				secrets(t, client, name+string(rune('a'+i)))
			})
		}
	}
	for _, r := range cloud.Recorder.Requests() {
		if r.Method == http.MethodPut && r.Read == 0 {
			t.Errorf("a write reached the vault without its body: %s", r)
		}
	}
}

func secrets(t *testing.T, client *azsecrets.Client, prefix string) {
	t.Helper()
	ctx := t.Context()
	names := []string{prefix + "-1", prefix + "-2", prefix + "-3"}
	for _, name := range names {
		value := "value of " + name
		if _, err := client.SetSecret(ctx, name, azsecrets.SetSecretParameters{Value: &value}, nil); err != nil {
			t.Fatal(err)
		}
		got, err := client.GetSecret(ctx, name, "", nil)
		if err != nil || *got.Value != value {
			t.Fatalf("%s: got %v (%v), want %q", name, got.Value, err, value)
		}
		update := azsecrets.UpdateSecretPropertiesParameters{ContentType: to.Ptr("text/plain")}
		if _, err := client.UpdateSecretProperties(ctx, name, got.ID.Version(), update, nil); err != nil {
			t.Error(err)
		}
	}
	var listed []string
	for pages := client.NewListSecretPropertiesPager(nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Value {
			if name := item.ID.Name(); strings.HasPrefix(name, prefix) {
				listed = append(listed, name)
			}
		}
	}
	if !slices.Equal(listed, names) {
		t.Errorf("listed were %q, want %q", listed, names)
	}
	backup, err := client.BackupSecret(ctx, names[0], nil)
	if err != nil || len(backup.Value) == 0 {
		t.Errorf("backup: %v", err)
	}
	if _, err := client.DeleteSecret(ctx, names[0], nil); err != nil {
		t.Error(err)
	}
	if _, err := client.RecoverDeletedSecret(ctx, names[0], nil); err != nil {
		t.Error(err)
	}
}

// A write is what a client begins with when the token that bearerd holds was
// revoked: it is renewed, and the write replayed.
func TestWriteAfterRevocation(t *testing.T) {
	d, cloud := startForCloud(t)
	s := steerings(t, d)[1]
	set := func(value string) {
		t.Helper()
		client, err := azsecrets.NewClient(s.url(azuretest.VaultHost, "vault"), dummy{}, &azsecrets.ClientOptions{ClientOptions: s.options})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.SetSecret(t.Context(), "name", azsecrets.SetSecretParameters{Value: &value}, nil); err != nil {
			t.Fatal(err)
		}
		got, err := client.GetSecret(t.Context(), "name", "", nil)
		if err != nil || *got.Value != value {
			t.Fatalf("got %v (%v), want %q", got.Value, err, value)
		}
	}
	set("first")
	if cloud.Tokens.Revoke() == 0 {
		t.Fatal("the vault has accepted no token, so none can be revoked")
	}
	d.IMDS.Forget()
	set("second")
	if n := len(d.IMDS.Minted()); n != 2 {
		t.Errorf("bearerd asked for %d tokens, want 2", n)
	}
}
