// Command app writes and reads a secret as an app on a machine with a managed
// identity does:
//
//	app azidentity|msal VAULT NAME [CLIENT_ID]
//
// It is told of nothing but the vault, and prints ok.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"
)

const value = "written as the machine"

func main() {
	clientID := ""
	switch len(os.Args) {
	case 4:
	case 5:
		clientID = os.Args[4]
	default:
		fmt.Fprintln(os.Stderr, "usage: app azidentity|msal VAULT NAME [CLIENT_ID]")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	run := byAzidentity
	if os.Args[1] == "msal" {
		run = byMSAL
	}
	if err := run(ctx, os.Args[2], os.Args[3], clientID); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func byAzidentity(ctx context.Context, vault, name, clientID string) error {
	options := &azidentity.ManagedIdentityCredentialOptions{}
	if clientID != "" {
		options.ID = azidentity.ClientID(clientID)
	}
	credential, err := azidentity.NewManagedIdentityCredential(options)
	if err != nil {
		return err
	}
	client, err := azsecrets.NewClient(vault, credential, nil)
	if err != nil {
		return err
	}
	written := value
	if _, err := client.SetSecret(ctx, name, azsecrets.SetSecretParameters{Value: &written}, nil); err != nil {
		return err
	}
	got, err := client.GetSecret(ctx, name, "", nil)
	if err == nil && *got.Value != value {
		err = fmt.Errorf("the secret is %q", *got.Value)
	}
	return err
}

func byMSAL(ctx context.Context, vault, name, clientID string) error {
	id := managedidentity.SystemAssigned()
	if clientID != "" {
		id = managedidentity.UserAssignedClientID(clientID)
	}
	client, err := managedidentity.New(id)
	if err != nil {
		return err
	}
	token, err := client.AcquireToken(ctx, "https://vault.azure.net")
	if err != nil {
		return err
	}
	body := []byte(`{"value":"` + value + `"}`)
	for _, method := range []string{http.MethodPut, http.MethodGet} {
		request, err := http.NewRequestWithContext(ctx, method, vault+"/secrets/"+name+"?api-version=7.4", bytes.NewReader(body))
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+token.AccessToken)
		request.Header.Set("Content-Type", "application/json")
		if method == http.MethodGet {
			request.Body, request.ContentLength = nil, 0
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || !bytes.Contains(text, []byte(value)) {
			return fmt.Errorf("%s: %s %s (%v)", method, response.Status, text, err)
		}
	}
	return nil
}
