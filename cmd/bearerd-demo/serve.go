package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"text/template"

	"github.com/bearerd/bearerd/test/azuretest"
)

// byHand is what to try in another terminal.
const byHand = `An emulated Azure and bearerd are up, on loopback alone. End them with Ctrl-C.

  bearerd         {{.URL}}      log below; configuration {{.Config}}
  status          http://{{.Admin}}/      metrics http://{{.Admin}}/metrics
  emulated IMDS   {{.IMDS}}

By base URL, in another terminal:

  curl '{{.URL}}/vault/secrets/db?api-version=7.4'
  curl '{{.URL}}/arm/subscriptions/{{.Subscription}}/resourcegroups?api-version=2021-04-01'
  curl -X PUT '{{.URL}}/blob/demo?restype=container' -H 'Content-Length: 0'

By proxy variable, trusting the authority's root:

  export HTTPS_PROXY={{.URL}} CURL_CA_BUNDLE={{.Root}}
  curl 'https://payroll.vault.azure.net/secrets/db?api-version=7.4'

For an SDK that asks IMDS by itself, bearerd in IMDS's place:

  export AZURE_POD_IDENTITY_AUTHORITY_HOST={{.InIMDSsPlace}}

To see what goes wrong on real machines (kind=? lists all; times=N or for=30s; resource=AUDIENCE):

  curl -X POST '{{.IMDS}}/emulator/fault?kind=429&retry_after=5&times=3'
  curl -X POST '{{.IMDS}}/emulator/fault?kind=410&for=70s'
  curl -X POST '{{.IMDS}}/emulator/clear'
  curl -X POST '{{.IMDS}}/emulator/forget'      # the next tokens are others
  curl -X POST '{{.IMDS}}/emulator/revoke'      # the services refuse the tokens that they have seen

`

func serveWorld(ctx context.Context, listen string, out, log io.Writer) (err error) {
	w, err := start(ctx, settings{listen: listen, level: "info", access: "all", log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	root := filepath.Join(w.dir, "root.pem")
	if err := os.WriteFile(root, w.daemon.Root().RootPEM(), 0o600); err != nil {
		return err
	}
	err = template.Must(template.New("").Parse(byHand)).Execute(out, map[string]string{
		"URL": w.url, "Admin": w.daemon.AdminAddress(), "IMDS": w.cloud.IMDSEndpoint(), "InIMDSsPlace": "http://" + w.daemon.Addresses()[1], "Config": w.config, "Root": root,
		"Subscription": azuretest.Subscription,
	})
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-w.daemon.Done():
	}
	return nil
}
