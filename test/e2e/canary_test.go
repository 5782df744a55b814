//go:build e2e

package e2e

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// Every daemon of these tests is searched for secrets when its test ends; this
// one is given every credential and every error that callers can cause.
func TestNoSecretInLogsMetricsStatusOrErrors(t *testing.T) {
	quiet := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/rejected" {
			w.Header().Set("WWW-Authenticate", `Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	var d *rig.Daemon
	var spans atomic.Int64
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		spans.Add(int64(strings.Count(string(body), "bearerd.route")))
		d.Saw(string(body))
	}))
	t.Cleanup(collector.Close)
	d = env.Prepare(t, rig.Settings{
		IMDS: rig.StartIMDS(t, imdstest.Options{}),
		Env:  []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL},
		Upstream: map[string]string{
			vaultHost:                 env.CA.ServeTLS(t, quiet, vaultHost),
			rig.BlobHost:              env.CA.ServeTLS(t, quiet, rig.BlobHost),
			"broken.vault.azure.net":  env.CA.ServeTLS(t, quiet, "another.vault.azure.net"),
			"nowhere.vault.azure.net": rig.FreeAddress(t),
		},
		Routes: `
  - {service: keyvault, hosts: [payroll.vault.azure.net], gateway: vault, methods: [GET, PUT]}
  - {service: keyvault, hosts: [broken.vault.azure.net], gateway: broken}
  - {service: keyvault, hosts: [nowhere.vault.azure.net], gateway: nowhere}
  - {service: storage, hosts: [acct.blob.core.windows.net], gateway: blob}
`,
	})
	t.Cleanup(func() { // once bearerd has ended, which sends the last ones
		if spans.Load() == 0 {
			t.Error("no span was sent, so that the search shows nothing")
		}
		if records, err := os.ReadFile(d.Audit); err != nil || !strings.Contains(string(records), "/secrets/x") {
			t.Errorf("nothing is in the audit stream (%v), so that the search shows nothing", err)
		}
	})
	d.Start(t)
	d.ExportRoot(t)
	live := jwt(time.Now().Add(time.Hour))
	credentials := [][]string{
		{"--header", "Authorization: Bearer " + rig.CallerCredential},
		{"--header", "Authorization: Bearer " + live},
		{"--header", "Authorization: Bearer " + jwt(time.Now().Add(-time.Hour))},
		{"--header", "Authorization: SharedKey acct:" + rig.CallerCredential},
		{"--user", "name:" + rig.CallerCredential},
		{"--header", "Proxy-Authorization: Basic " + rig.CallerCredential},
		{"--header", "Cookie: session=" + rig.CallerCredential},
		{"--header", "Ocp-Apim-Subscription-Key: " + rig.CallerCredential},
	}
	for _, s := range everySteering() {
		t.Run(s.name, func(t *testing.T) {
			for _, credential := range credentials {
				ask := func(host, gateway, path string, args ...string) answer {
					return curl(t, d, s, s.base(d, host, gateway)+path, slices.Concat(credential, args)...)
				}
				ask(vaultHost, "vault", "/secrets/x?api-version=7.4")
				ask(vaultHost, "vault", "/rejected")
				ask(vaultHost, "vault", "/secrets/x", "--request", "DELETE")
				ask(vaultHost, "vault", "/secrets/x", "--request", "TRACE")
				ask(rig.BlobHost, "blob", "/c/b?sv=2024-11-04&sp=r&sig="+rig.CallerCredential)
				for _, host := range []string{"broken", "nowhere"} {
					if a := ask(host+".vault.azure.net", host, "/secrets/x?sig="+rig.CallerCredential); a.status != http.StatusBadGateway {
						t.Errorf("%s: got %d %s, want 502", host, a.status, a.body)
					}
				}
			}
		})
	}
	// What no client would send by itself.
	for _, request := range []string{
		"GET http://user:" + rig.CallerCredential + "@payroll.vault.azure.net/ HTTP/1.1\r\nHost: payroll.vault.azure.net\r\n\r\n",
		"GET /unknown/" + "?sig=" + rig.CallerCredential + " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + live + "\r\n\r\n",
		"GET /vault/secrets/x HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer " + live + "\r\n\r\n",
		"CONNECT user:" + rig.CallerCredential + "@payroll.vault.azure.net:443 HTTP/1.1\r\nHost: x\r\n\r\n",
		"Authorization: Bearer " + rig.CallerCredential + "\r\n\r\n",
	} {
		d.Saw(raw(t, d, request))
	}
	if log := d.Out.String(); !strings.Contains(log, `"debug"`) && !strings.Contains(log, "secrets/x") {
		t.Errorf("nothing was logged at debug level, so the search shows nothing:\n%s", log)
	}
}

// jwt makes a well-formed token that expires at the time, with the caller's
// credential as its signature.
func jwt(expires time.Time) string {
	encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	return encode(`{"alg":"RS256","typ":"JWT"}`) + "." +
		encode(fmt.Sprintf(`{"aud":"https://vault.azure.net","iss":"https://sts.windows.net/t/","iat":%d,"nbf":%d,"exp":%d}`,
			expires.Add(-2*time.Hour).Unix(), expires.Add(-2*time.Hour).Unix(), expires.Unix())) + "." + rig.CallerCredential
}

// raw sends bytes to the explicit listener and gives the answer, or nothing
// where bearerd closes without one.
func raw(t *testing.T, d *rig.Daemon, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return ""
	}
	if err != nil {
		t.Fatalf("the answer to %.200q: %v", request, err)
	}
	defer resp.Body.Close()
	text, err := httputil.DumpResponse(resp, resp.StatusCode != http.StatusOK)
	if err != nil {
		t.Fatalf("the answer to %.200q: %v", request, err)
	}
	return string(text)
}

// Even where the machine keeps core dumps and Go is told to leave one.
func TestNoCoreDumpHoldsAToken(t *testing.T) {
	d := env.Start(t, rig.Settings{})
	if limit := d.Limit(t, "Max core file size"); !slices.Equal(limit, []string{"0", "0", "bytes"}) {
		t.Errorf("bearerd may leave a core dump of %v", limit)
	}
}

// Prometheus' own tool accepts the metrics, after calls that made them.
func TestMetricsPassPromtool(t *testing.T) {
	d := env.Start(t, rig.Settings{
		IMDS:     rig.StartIMDS(t, imdstest.Options{}),
		Upstream: map[string]string{vaultHost: env.CA.ServeTLS(t, bulk(), vaultHost)},
		Routes:   vaultRoute,
	})
	for _, s := range everySteering() {
		curl(t, d, s, s.base(d, vaultHost, "vault")+"/secrets/x?bytes=10")
	}
	curl(t, d, viaBaseURL(), d.URL+"/unknown/x")
	page := d.Config + ".metrics"
	rig.Run(t, env.BaseEnv(), "", "curl", "--silent", "--fail", "--output", page, d.Admin+"/metrics")
	if text := rig.Run(t, env.BaseEnv(), "", "bash", "-c", `promtool check metrics <"$0"`, page); text != "" {
		t.Errorf("promtool has complaints:\n%s", text)
	}
}
