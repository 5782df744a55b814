//go:build e2e

package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// doctor asks each runtime itself: none trusts the authority at first, and each
// does once it is set as doctor says.
func TestDoctorAsksTheRuntimesWhomTheyTrust(t *testing.T) {
	d := env.Prepare(t, rig.Settings{
		IMDS: rig.StartIMDS(t, imdstest.Options{}), Routes: vaultRoute,
		Upstream: map[string]string{vaultHost: env.CA.ServeTLS(t, bulk(), vaultHost)},
	})
	rig.Run(t, env.BaseEnv(), "", env.Bin, "ca", "init", "--config", d.Config)
	d.ExportRoot(t)
	bundle := filepath.Join(t.TempDir(), "bundle.pem")
	rig.Run(t, env.BaseEnv(), "", env.Bin, "ca", "bundle", "--config", d.Config, "--out", bundle)
	// doctor gives what has to be done for each runtime that does not trust the
	// authority, and what it says of those that do.
	doctor := func(more ...string) (others map[string]string, trusted string) {
		// Debian's python3 alone has Debian's requests.
		text := rig.Run(t, append(append(env.BaseEnv(), "PATH=/usr/bin:/bin"), more...), "", env.Bin, "doctor", "--config", d.Config, "--json", "--no-probe")
		var said struct {
			Findings []struct{ Check, Level, Subject, Seen, Do string }
		}
		if err := json.Unmarshal([]byte(text), &said); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		others = make(map[string]string)
		for _, f := range said.Findings {
			switch {
			case f.Check == "trust" && f.Level == "ok":
				trusted = f.Seen
			case f.Check == "trust":
				others[f.Subject] = f.Do
			}
		}
		return others, trusted
	}
	others, trusted := doctor()
	for name, mend := range map[string]string{
		"Go": "SSL_CERT_FILE", "curl": "CURL_CA_BUNDLE", "git": "GIT_SSL_CAINFO", "OpenSSL": "SSL_CERT_FILE", "Python": "SSL_CERT_FILE",
		"Python's requests": "REQUESTS_CA_BUNDLE", "Node.js": "NODE_EXTRA_CA_CERTS", "Java": "keytool -importcert",
	} {
		if !strings.Contains(others[name], mend) {
			t.Errorf("%s is not told to trust by %s: %q", name, mend, others[name])
		}
	}
	if trusted != "" {
		t.Errorf("somebody trusts the authority: %s", trusted)
	}
	others, trusted = doctor("SSL_CERT_FILE="+bundle, "CURL_CA_BUNDLE="+bundle, "GIT_SSL_CAINFO="+bundle, "REQUESTS_CA_BUNDLE="+bundle, "NODE_EXTRA_CA_CERTS="+d.Root,
		"JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore="+d.TrustStore+" -Djavax.net.ssl.trustStorePassword=changeit")
	if trusted != "the authority is trusted by Go, curl, git, OpenSSL, Python, Python's requests, Node.js, Java" || len(others) > 0 {
		t.Errorf("not all trust the authority: %s; %v", trusted, others)
	}
}
