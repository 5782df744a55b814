//go:build e2e

package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

const proxyName = "proxy.corp.example"

// A certificate is ordered from Pebble with an external account, by each kind of
// challenge, and renewed while calls go on.
func TestACMEOrdersAndRenewsWhileCallsGoOn(t *testing.T) {
	for _, kind := range []string{"http-01", "tls-alpn-01"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			listener, challenge := rig.FreeAddress(t), rig.FreeAddress(t)
			server := env.StartPebble(t, rig.PebbleOptions{HTTP: challenge, TLS: listener, Life: 12 * time.Second})
			more := ""
			if kind == "http-01" {
				more = ", http_address: " + challenge
			}
			imds := rig.StartIMDS(t, imdstest.Options{})
			cloud := imds.StartCloud(t, azuretest.Options{})
			cloud.Vault.SetSecret(azuretest.VaultHost, "db", "x")
			d := env.Start(t, rig.Settings{
				IMDS: imds, Upstream: cloud.ConnectTo(), CA: cloud.CAPEM(), More: "names: [" + proxyName + "]\n",
				Routes: "  - {service: keyvault, hosts: [" + azuretest.VaultHost + "], gateway: vault}\n",
				Listen: fmt.Sprintf("  - address: %s\n    tls: {acme: {directory: %q, domains: [%s], eab: {key_id: %s, key_file: %s}%s}}\n",
					listener, server.Directory, proxyName, server.EABKeyID, eabFile(t, server.EABKey), more),
			})
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(d.Out)
				}
			})
			var first, last string // serial numbers
			client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
				// Pebble's root is another at each start; who signed is its affair.
				DialTLSContext: (&tls.Dialer{Config: &tls.Config{ServerName: proxyName, InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
					last = s.PeerCertificates[0].SerialNumber.String()
					if now := time.Now(); now.After(s.PeerCertificates[0].NotAfter) {
						return errors.New("the certificate has expired")
					}
					return s.PeerCertificates[0].VerifyHostname(proxyName)
				}}}).DialContext,
				DisableKeepAlives: true, // a handshake for each call
			}}
			ask := func() error {
				request, err := http.NewRequest(http.MethodGet, "https://"+listener+"/vault/secrets/db?api-version=7.4", nil)
				if err != nil {
					return err
				}
				request.Host = proxyName
				answer, err := client.Do(request)
				if err != nil {
					return err
				}
				answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					return errors.New(answer.Status)
				}
				return nil
			}
			began := time.Now()
			rig.Eventually(t, "there is a certificate", ask)
			first = last
			t.Logf("the first certificate took %v", time.Since(began))
			calls := 0
			rig.Eventually(t, "there is another certificate", func() error {
				if err := ask(); err != nil {
					t.Fatalf("call %d: %v", calls, err)
				}
				if calls++; last == first {
					return errors.New("it is the first one")
				}
				return nil
			})
			t.Logf("%d calls until it was renewed, %v after the start", calls, time.Since(began))
			if page := rig.Get(t, d.Admin+"/metrics"); !strings.Contains(page, fmt.Sprintf("bearerd_listener_certificate_failing{listener=%q} 0", listener)) {
				t.Error("the metrics tell of a failure")
			}
			if strings.Contains(d.Out.String(), server.EABKey) {
				t.Error("the log has the external account's key")
			}
		})
	}
}

func eabFile(t *testing.T, key string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "eab.key")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// An ACME server that is not there keeps nothing else from being served.
func TestACMEServerThatIsNotThereKeepsNobodyWaiting(t *testing.T) {
	listener := rig.FreeAddress(t)
	d := env.Start(t, rig.Settings{
		Routes: "  - {service: keyvault, hosts: [" + azuretest.VaultHost + "]}\n",
		Listen: fmt.Sprintf("  - address: %s\n    tls: {acme: {directory: \"https://%s/dir\", domains: [%s]}}\n", listener, rig.FreeAddress(t), proxyName),
	})
	rig.Eventually(t, "the failure is told", func() error {
		page := rig.Get(t, d.Admin+"/metrics")
		for _, want := range []string{"_failing{listener=%q} 1", "_expiry_timestamp_seconds{listener=%q} 0"} {
			if !strings.Contains(page, fmt.Sprintf("bearerd_listener_certificate"+want, listener)) {
				return errors.New(want)
			}
		}
		return nil
	})
	if conn, err := tls.Dial("tcp", listener, &tls.Config{InsecureSkipVerify: true}); err == nil {
		conn.Close()
		t.Error("a handshake succeeded without a certificate")
	}
}
