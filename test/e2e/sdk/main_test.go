package sdk

import (
	"context"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// env is what all tests share. TestMain makes it before the first one.
var env environment

type environment struct {
	*rig.Rig
	store *rig.Azurite
}

func TestMain(m *testing.M) { os.Exit(rig.Main(m, "..", &env.Rig, &env.store)) }

const routes = `
  - {service: keyvault, gateway: vault, hosts: [payroll.vault.azure.net]}
  - {service: storage, gateway: blob, hosts: [acct.blob.core.windows.net]}
  - {service: storage, gateway: queue, hosts: [acct.queue.core.windows.net]}
  - {service: arm, gateway: arm}
`

// startForCloud starts bearerd in front of the fake services, which judge every
// token by its signature.
func startForCloud(t *testing.T) (*rig.Daemon, *azuretest.Cloud) {
	t.Helper()
	imds := rig.StartIMDS(t, imdstest.Options{})
	cloud := imds.StartCloud(t, azuretest.Options{})
	return env.Start(t, rig.Settings{IMDS: imds, Upstream: cloud.ConnectTo(), CA: cloud.CAPEM(), Routes: routes}), cloud
}

// steering is one way of bringing an app's calls to bearerd.
type steering struct {
	name    string
	url     func(host, gateway string) string
	options azcore.ClientOptions
}

// steerings are what an app changes: its transport, where the SDK would read
// the proxy variables by itself, or its URL.
func steerings(t *testing.T, d *rig.Daemon) []steering {
	t.Helper()
	options := func(client *http.Client) azcore.ClientOptions {
		// A failure shows at once, and is not healed by a retry.
		return azcore.ClientOptions{Transport: client, Retry: policy.RetryOptions{MaxRetries: -1}}
	}
	byName := func(host, _ string) string { return "https://" + host }
	return []steering{
		{"proxy variables, HTTP/1.1", byName, options(d.AppClient(t, false))},
		{"proxy variables, HTTP/2", byName, options(d.AppClient(t, true))},
		{"base URL", func(_, gateway string) string { return d.URL + "/" + gateway }, options(rig.Direct)},
	}
}

// dummy is a credential that is none. Apps that cannot be built without one
// are given it.
type dummy struct{}

func (dummy) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: rig.CallerCredential, ExpiresOn: time.Now().Add(time.Hour)}, nil
}
