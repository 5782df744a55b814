//go:build e2e && linux

package systemd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"text/template"
	"time"

	notify "github.com/coreos/go-systemd/v22/daemon"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
)

const (
	secretURL  = "http://127.0.0.1:8180/vault/secrets/db?api-version=7.4"
	secretText = "correct horse battery staple"
	configFile = "/etc/bearerd/bearerd.yaml"
)

// configuration is what an operator writes.
const configuration = `cloud: public
listen: [{address: "127.0.0.1:8180"}]
imds: {endpoint: "{{.IMDS}}"}
upstream:
  ca_file: /etc/bearerd/azure.pem
  connect_to:
{{- range $host, $address := .ConnectTo}}
    {{$host}}: "{{$address}}"
{{- end}}
routes:
  - {service: keyvault, hosts: [payroll.vault.azure.net], gateway: vault, required: true}
log: {access: errors}
`

// azure is the machine's Azure, on its loopback, until SIGTERM. It writes a
// configuration that leads there.
func azure() error {
	imds := imdstest.New(imdstest.Options{})
	cloud, err := azuretest.Start(azuretest.Options{Tenant: imds.Tenant(), Key: imds.PublicKey(), IMDS: imds})
	if err != nil {
		return err
	}
	defer cloud.Close()
	cloud.Vault.SetSecret(azuretest.VaultHost, "db", secretText)
	var text bytes.Buffer
	err = template.Must(template.New("").Parse(configuration)).Execute(&text, map[string]any{"IMDS": cloud.IMDSEndpoint(), "ConnectTo": cloud.ConnectTo()})
	if err != nil {
		return err
	}
	if err := os.WriteFile(configFile, text.Bytes(), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile("/etc/bearerd/azure.pem", cloud.CAPEM(), 0o644); err != nil {
		return err
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	if _, err := notify.SdNotify(false, notify.SdNotifyReady); err != nil {
		return err
	}
	<-end
	return nil
}

// secret asks for the secret once.
func secret(client *http.Client) error {
	answer, err := client.Get(secretURL)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var body struct{ Value string }
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		return fmt.Errorf("%s: %w", answer.Status, err)
	}
	// To the end, that the connection is used again.
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK || body.Value != secretText {
		return fmt.Errorf("got %s and %q", answer.Status, body.Value)
	}
	return nil
}

func call() error {
	return secret(&http.Client{Timeout: 20 * time.Second})
}

// result is what load prints.
type result struct {
	Calls    int
	Slowest  time.Duration
	Failures []string
}

// load calls without a pause until its input ends: half of the callers with a
// connection that they keep, half with one for each call.
func load() error {
	const callers = 20
	var mu sync.Mutex // guards all
	var all result
	ended := make(chan struct{})
	var running sync.WaitGroup
	for n := range callers {
		running.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: n%2 == 0}, Timeout: 20 * time.Second}
			for {
				select {
				case <-ended:
					return
				default:
				}
				began := time.Now()
				err := secret(client)
				mu.Lock()
				all.Calls++
				all.Slowest = max(all.Slowest, time.Since(began))
				if err != nil {
					all.Failures = append(all.Failures, err.Error())
				}
				mu.Unlock()
			}
		})
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	close(ended)
	running.Wait()
	return json.NewEncoder(os.Stdout).Encode(all)
}
