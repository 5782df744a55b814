//go:build e2e

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// doctor asks each runtime itself: none trusts the authority at first, and each
// does once it is set as doctor says.
func TestDoctorAsksTheRuntimesWhomTheyTrust(t *testing.T) {
	d := env.Prepare(t, rig.Settings{IMDS: rig.StartIMDS(t, imdstest.Options{}), Routes: vaultRoute})
	rig.Run(t, env.BaseEnv(), "", env.Bin, "ca", "init", "--config", d.Config)
	d.ExportRoot(t)
	bundle := filepath.Join(t.TempDir(), "bundle.pem")
	rig.Run(t, env.BaseEnv(), "", env.Bin, "ca", "bundle", "--config", d.Config, "--out", bundle)
	const trusted = "ok    trust: the authority is trusted by "
	doctor := func(more ...string) string {
		// Debian's python3 alone has Debian's requests.
		return rig.Run(t, append(append(env.BaseEnv(), "PATH=/usr/bin:/bin"), more...), "", env.Bin, "doctor", "--config", d.Config)
	}
	text := doctor()
	for name, mend := range map[string]string{
		"Go": "SSL_CERT_FILE", "curl": "CURL_CA_BUNDLE", "git": "GIT_SSL_CAINFO", "OpenSSL": "SSL_CERT_FILE", "Python": "SSL_CERT_FILE",
		"Python's requests": "REQUESTS_CA_BUNDLE", "Node.js": "NODE_EXTRA_CA_CERTS", "Java": "keytool -importcert",
	} {
		if before, line, found := strings.Cut(text, "warn  trust: "+name+" does not trust the authority"); !found || !strings.Contains(strings.SplitN(line, "\n", 2)[0], mend) {
			t.Errorf("%s is not told to trust by %s:\n%s", name, mend, before)
		}
	}
	if strings.Contains(text, trusted) {
		t.Errorf("somebody trusts the authority:\n%s", text)
	}
	text = doctor("SSL_CERT_FILE="+bundle, "CURL_CA_BUNDLE="+bundle, "GIT_SSL_CAINFO="+bundle, "REQUESTS_CA_BUNDLE="+bundle, "NODE_EXTRA_CA_CERTS="+d.Root,
		"JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore="+d.TrustStore+" -Djavax.net.ssl.trustStorePassword=changeit")
	if !strings.Contains(text, trusted+"Go, curl, git, OpenSSL, Python, Python's requests, Node.js, Java\n") {
		t.Errorf("not all trust the authority:\n%s", text)
	}
}
