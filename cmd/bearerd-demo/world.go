package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"text/template"
	"time"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
)

// The names in the world beside those of package azuretest.
const (
	apiHost     = "api.contoso.example"
	apiAudience = "api://contoso"
	plainHost   = "www.contoso.example" // no route names it
)

// configuration is bearerd's, as a user would write it.
const configuration = `cloud: public
listen: [{address: "{{.Listen}}"}, {address: "127.0.0.1:0", mode: imds}]
admin: {address: "127.0.0.1:0"}
imds: {endpoint: "{{.IMDS}}"}
upstream:
  ca_file: {{.CAFile}}
  connect_to:
{{- range $host, $address := .ConnectTo}}
    {{$host}}: "{{$address}}"
{{- end}}
routes:
  - {service: keyvault, hosts: [payroll.vault.azure.net], gateway: vault, required: true}
  - {service: storage, hosts: [acct.blob.core.windows.net], gateway: blob}
  - {service: arm, methods: [GET, HEAD], gateway: arm}
  - {name: contoso, hosts: [api.contoso.example], audience: "api://contoso", gateway: contoso}
state_dir: {{.Dir}}/state
log: {level: {{.Level}}, format: console, access: {{.Access}}}
`

// world is the emulated Azure with bearerd in front of it.
type world struct {
	dir    string // temporary
	imds   *imdstest.Server
	cloud  *azuretest.Cloud
	daemon *daemon.Daemon
	config string // the configuration file
	url    string // of the explicit listener
}

// settings are what the two ways of running differ in.
type settings struct {
	listen, level, access string
	log                   io.Writer
}

func start(ctx context.Context, s settings) (w *world, err error) {
	w = &world{imds: imdstest.New(imdstest.Options{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.dir, err = os.MkdirTemp("", "bearerd-demo-"); err != nil {
		return w, err
	}
	w.cloud, err = azuretest.Start(azuretest.Options{
		Tenant: w.imds.Tenant(), Key: w.imds.PublicKey(), IMDS: w.control(),
		Others: map[string]http.Handler{
			apiHost: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				azuretest.Protect(w.cloud.Tokens, apiAudience, azuretest.Echo{}).ServeHTTP(rw, r)
			}),
			plainHost: azuretest.Echo{},
		},
	})
	if err != nil {
		return w, err
	}
	w.cloud.Vault.SetSecret(azuretest.VaultHost, "db", "correct horse battery staple")
	if err := w.configure(s); err != nil {
		return w, err
	}
	c, err := daemon.Load(w.config, true)
	if err != nil {
		return w, err
	}
	w.daemon, err = daemon.Start(ctx, daemon.Options{Config: c, Version: "demo", Log: s.log})
	if err != nil {
		return w, err
	}
	w.url = "http://" + w.daemon.Addresses()[0]
	return w, nil
}

// configure writes the configuration and what it names.
func (w *world) configure(s settings) error {
	caFile := filepath.Join(w.dir, "azure-root.pem")
	if err := os.WriteFile(caFile, w.cloud.CAPEM(), 0o600); err != nil {
		return err
	}
	var text bytes.Buffer
	err := template.Must(template.New("").Parse(configuration)).Execute(&text, map[string]any{
		"Listen": s.listen, "IMDS": w.cloud.IMDSEndpoint(), "CAFile": caFile, "ConnectTo": w.cloud.ConnectTo(),
		"Dir": w.dir, "Level": s.level, "Access": s.access,
	})
	w.config = filepath.Join(w.dir, "bearerd.yaml")
	return errors.Join(err, os.WriteFile(w.config, text.Bytes(), 0o600))
}

func (w *world) close() error {
	var errs []error
	if w.daemon != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		errs = append(errs, w.daemon.Shutdown(ctx))
	}
	if w.cloud != nil {
		errs = append(errs, w.cloud.Close())
	}
	if w.dir != "" {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}

// app is a client without any credential.
func (w *world) app(proxy *url.URL, trusted ...[]byte) (*http.Client, error) {
	roots := x509.NewCertPool()
	for _, pem := range trusted {
		if !roots.AppendCertsFromPEM(pem) {
			return nil, errors.New("a root to trust is no certificate")
		}
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}, nil
}

// journal keeps bearerd's log, to be shown where a step fails.
type journal struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// Write implements io.Writer.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// String implements fmt.Stringer.
func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}
