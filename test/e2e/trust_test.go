//go:build e2e

package e2e

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

const evilHost = "evil.example"

// trustClient makes one GET and says what is wrong when a certificate is not
// taken.
type trustClient struct {
	client
	refusal *regexp.Regexp
}

func trustClients() []trustClient {
	// What each TLS library says of a name outside the constraints, so that no
	// other failure passes for the refusal.
	const openssl = `(?i)permitted subtree violation`
	return []trustClient{
		{client{"curl", func(_ *rig.Daemon, _ steering, args ...string) []string {
			return []string{"bash", "-c", `[ "$(curl --silent --show-error --fail --max-time 30 "$0")" = hello ] && echo ok`, args[0]}
		}}, regexp.MustCompile(openssl)},
		{script("urllib", rig.Python, clientFile("hello_urllib.py")), regexp.MustCompile(openssl)},
		{script("requests", rig.Python, clientFile("hello_requests.py")), regexp.MustCompile(openssl)},
		{script("Node", "node", filepath.Join(env.NPM, "hello.mjs")), regexp.MustCompile(openssl + "|PERMITTED_VIOLATION")},
		{javaClient("Java", clientFile("Hello.java")), regexp.MustCompile(`name constraints`)},
	}
}

// Whoever trusts the exported root trusts a routed name's leaf, and nothing
// that a thief signs for a foreign name with the intermediate's key, which is
// all that there is to steal. The same thief's leaf for a name that the
// authority is for shows that nothing but the name is what is refused.
func TestStolenKeyIsWorthlessForForeignNames(t *testing.T) {
	const routes = "\n  - {service: storage, hosts: [acct.blob.core.windows.net]}\n"
	made := env.Prepare(t, rig.Settings{Routes: routes})
	rig.Run(t, env.BaseEnv(), "", env.Bin, "ca", "init", "--config", made.Config)
	file, err := os.ReadFile(filepath.Join(made.State, "authority.pem"))
	if err != nil {
		t.Fatal(err)
	}
	thief, err := rig.StolenAuthority(file)
	if err != nil {
		t.Fatal(err)
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	// No route names the thief's hosts, so they are tunnelled untouched.
	d := env.Prepare(t, rig.Settings{IMDS: rig.StartIMDS(t, imdstest.Options{}), Routes: routes, Upstream: map[string]string{
		rig.BlobHost: env.CA.ServeTLS(t, hello, rig.BlobHost),
		vaultHost:    thief.ServeTLS(t, hello, vaultHost),
		evilHost:     thief.ServeTLS(t, hello, evilHost),
	}})
	if err := os.Rename(made.State, d.State); err != nil {
		t.Fatal(err)
	}
	d.Start(t)
	d.ExportRoot(t)

	steered := viaProxyVariables()
	for _, c := range trustClients() {
		t.Run(c.name, func(t *testing.T) {
			c.run(t, d, steered, "https://"+rig.BlobHost+"/")
			c.run(t, d, steered, "https://"+vaultHost+"/")
			argv := c.argv(d, steered, "https://"+evilHost+"/")
			text, err := rig.Try(t, append(env.BaseEnv(), steered.env(d)...), "", argv[0], argv[1:]...)
			if err == nil || !c.refusal.MatchString(text) {
				t.Errorf("the foreign name's certificate was not refused for its name (%v):\n%s", err, text)
			}
		})
	}
	t.Run("Go", func(t *testing.T) {
		app := d.AppClient(t, true)
		for _, host := range []string{rig.BlobHost, vaultHost} {
			req, err := http.NewRequest(http.MethodGet, "https://"+host+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			if text := read(t, app, req); text != "hello" {
				t.Errorf("%s said %q", host, text)
			}
		}
		resp, err := app.Get("https://" + evilHost + "/")
		if err == nil {
			resp.Body.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "not permitted by any constraint") {
			t.Errorf("the foreign name's certificate was not refused for its name: %v", err)
		}
	})
}

func certificates(t *testing.T, text []byte) (certs []*x509.Certificate) {
	t.Helper()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			t.Fatalf("a %s is exported", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, cert)
	}
	return certs
}

// The authority's life, as a person runs it before the daemon's first start.
func TestAuthorityCommands(t *testing.T) {
	d := env.Prepare(t, rig.Settings{Routes: vaultRoute})
	ca := func(args ...string) (string, error) {
		return rig.Try(t, env.BaseEnv(), "", env.Bin, append([]string{"ca", args[0], "--config", d.Config}, args[1:]...)...)
	}
	ok := func(args ...string) string {
		t.Helper()
		text, err := ca(args...)
		if err != nil {
			t.Fatalf("ca %q: %v\n%s", args, err, text)
		}
		return text
	}
	refused := func(hint string, args ...string) {
		t.Helper()
		if text, err := ca(args...); err == nil || !strings.Contains(text, hint) {
			t.Errorf("ca %q: %v, and no word of %q in:\n%s", args, err, hint, text)
		}
	}

	refused("bearerd ca init", "export")
	refused("bearerd ca init", "bundle")
	ok("init")
	refused("--renew", "init")
	root := ok("export")
	if certs := certificates(t, []byte(root)); len(certs) != 1 || !certs[0].IsCA || len(certs[0].PermittedDNSDomains) == 0 {
		t.Fatalf("the export is not one constrained root:\n%s", root)
	}
	d.ExportRoot(t)
	if file, err := os.ReadFile(d.Root); err != nil || string(file) != root {
		t.Errorf("--out wrote %q (%v), and standard output was %q", file, err, root)
	}
	jks := filepath.Join(t.TempDir(), "root.jks")
	ok("export", "--format", "jks", "--out", jks)
	for store, kind := range map[string]string{d.TrustStore: "PKCS12", jks: "JKS"} {
		listed := rig.Run(t, env.BaseEnv(), "", "keytool", "-list", "-keystore", store, "-storepass", "changeit")
		if !strings.Contains(listed, "bearerd") || !strings.Contains(listed, "trustedCertEntry") || !strings.Contains(listed, "Keystore type: "+kind) {
			t.Errorf("keytool finds no trusted certificate in a store of type %s:\n%s", kind, listed)
		}
	}
	if text, err := rig.Try(t, env.BaseEnv(), "", "keytool", "-list", "-keystore", jks, "-storepass", "another"); err == nil || !strings.Contains(text, "password was incorrect") {
		t.Errorf("another password opens the JKS store (%v):\n%s", err, text)
	}

	ok("init", "--renew")
	renewed := ok("export")
	if renewed == root {
		t.Error("--renew left the root as it was")
	}
	bundle := filepath.Join(t.TempDir(), "bundle.pem")
	ok("bundle", "--out", bundle)
	text, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	system, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		t.Fatal(err)
	}
	have := make(map[string]bool)
	for _, cert := range certificates(t, text) {
		have[string(cert.Raw)] = true
	}
	for _, cert := range append(certificates(t, system), certificates(t, []byte(renewed))...) {
		if !have[string(cert.Raw)] {
			t.Errorf("the bundle lacks %s", cert.Subject)
		}
	}
	if bytes.Contains(text, []byte(strings.TrimSpace(root))) {
		t.Error("the bundle still holds the root that was replaced")
	}
	// A program that takes one file in place of the system's roots.
	d.Start(t)
	rig.Run(t, append(env.BaseEnv(), "HTTPS_PROXY="+d.URL, "SSL_CERT_FILE="+bundle), "", rig.Python, "-c", `
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen("https://payroll.vault.azure.net/secrets/x", timeout=30)
    sys.exit("answered without an IMDS")
except urllib.error.HTTPError as error:
    assert error.code == 503 and error.headers["Bearerd-Error"], error
`)
}
