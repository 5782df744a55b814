package main

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/imds"
)

// getToken gives a token as a program gets it from a client.
type getToken func(context.Context) (string, error)

// tokenClient is a client of managed identities, with its own defaults. Its
// calls go through transport, and not to IMDS's address.
type tokenClient struct {
	name string
	open func(t testing.TB, transport http.RoundTripper, audience string) getToken
}

const (
	cacheName  = "bearerd"
	azureName  = "azidentity"
	azcoreName = "azidentity in an SDK client"
	msalName   = "MSAL"
)

func tokenClients() []tokenClient {
	return []tokenClient{{cacheName, openCache}, {azureName, openCredential}, {azcoreName, openSDKClient}, {msalName, openMSAL}}
}

func openCache(t testing.TB, transport http.RoundTripper, audience string) getToken {
	client, err := imds.New(imds.Options{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	c := cache.New(cache.Options{Source: client})
	t.Cleanup(c.Close)
	key := cache.Key{Audience: audience}
	return func(ctx context.Context) (string, error) {
		token, err := c.Token(ctx, key)
		if err != nil {
			return "", err
		}
		return token.Secret(), nil
	}
}

func newCredential(t testing.TB, transport http.RoundTripper) *azidentity.ManagedIdentityCredential {
	o := azidentity.ManagedIdentityCredentialOptions{ClientOptions: azcore.ClientOptions{Transport: &http.Client{Transport: transport}}}
	credential, err := azidentity.NewManagedIdentityCredential(&o)
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

// openCredential asks the credential itself, as a program does that attaches
// the token by its own means.
func openCredential(t testing.TB, transport http.RoundTripper, audience string) getToken {
	credential := newCredential(t, transport)
	o := policy.TokenRequestOptions{Scopes: []string{audience + "/.default"}}
	return func(ctx context.Context) (string, error) {
		token, err := credential.GetToken(ctx, o)
		return token.Token, err
	}
}

// openSDKClient is one client of the Azure SDK, which keeps a token of its own
// before the credential. The service that it calls answers at once.
func openSDKClient(t testing.TB, transport http.RoundTripper, audience string) getToken {
	bearer := runtime.NewBearerTokenPolicy(newCredential(t, transport), []string{audience + "/.default"}, nil)
	pipeline := runtime.NewPipeline("bench", "v0", runtime.PipelineOptions{PerRetry: []policy.Policy{bearer}},
		&policy.ClientOptions{Transport: &http.Client{Transport: answers{}}})
	return func(ctx context.Context) (string, error) {
		r, err := runtime.NewRequest(ctx, http.MethodGet, audience)
		if err != nil {
			return "", err
		}
		resp, err := pipeline.Do(r)
		if err != nil {
			return "", err
		}
		token, _ := strings.CutPrefix(resp.Request.Header.Get("Authorization"), "Bearer ")
		return token, nil
	}
}

// answers is a service that takes every call.
type answers struct{}

// RoundTrip implements http.RoundTripper.
func (answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

func openMSAL(t testing.TB, transport http.RoundTripper, audience string) getToken {
	client, err := managedidentity.New(managedidentity.SystemAssigned(), managedidentity.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context) (string, error) {
		token, err := client.AcquireToken(ctx, audience)
		return token.AccessToken, err
	}
}
