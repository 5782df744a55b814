//go:build e2e && linux

package transparent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

// hostsEntries has names lead to addresses, by the hosts file, until the test
// ends.
func hostsEntries(t *testing.T, lines string) {
	t.Helper()
	path := filepath.Join(world.Dir, "hosts")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
	write(string(before) + lines)
	t.Cleanup(func() { write(string(before)) })
}

// startUnprivileged starts a bearerd whose user may do nothing but listen on
// low ports.
func startUnprivileged(t *testing.T, s rig.Settings) *rig.Daemon {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	s.User = daemonUID
	return world.Start(t, s)
}

func TestHostsEntriesLeadToAnUnprivilegedBearerd(t *testing.T) {
	azure := startAzure(t)
	d := startUnprivileged(t, rig.Settings{IMDS: azure.imds, CA: azure.cloud.CAPEM(), Routes: routes, Listen: `
  - {address: "127.0.0.1:443", mode: transparent}
  - {address: "[::1]:443", mode: transparent}
  - {address: "127.0.0.1:80", mode: transparent}
  - {address: "127.0.0.2:443", mode: transparent, host: ` + vaultHost + `}
`})
	hostsEntries(t, "127.0.0.1 "+vaultHost+" "+loopHost+" "+otherHost+"\n::1 "+vaultHost+"\n")
	status := []string{"-sS", "-o", "/dev/null", "-w", "%{http_code}"}
	python := "import requests; r = requests.get('" + secrets + "'); print(r.status_code)"
	for _, tc := range []struct {
		name, want string
		argv       []string
	}{
		{"curl", "200", append([]string{"curl", "--http1.1", secrets}, status...)},
		{"curl, HTTP/2", "200", append([]string{"curl", "--http2", secrets}, status...)},
		{"curl, IPv6", "200", append([]string{"curl", "-6", secrets}, status...)},
		{"curl, plain http", "200", append([]string{"curl", strings.Replace(secrets, "https", "http", 1)}, status...)},
		{"Python", "200\n", []string{rig.Python, "-c", python}},
	} {
		if out, err := asApp(t, d, tc.argv[0], tc.argv[1:]...); err != nil || out != tc.want {
			t.Errorf("%s: %v, %q", tc.name, err, out)
		}
	}
	t.Run("without SNI", func(t *testing.T) {
		const ask = "printf 'GET /secrets?api-version=7.4 HTTP/1.1\\r\\nHost: " + vaultHost + "\\r\\nConnection: close\\r\\n\\r\\n' | " +
			"openssl s_client -quiet -noservername -verify_return_error -verify_hostname " + vaultHost + " -CAfile \"$SSL_CERT_FILE\" -connect 127.0.0.2:443"
		if out, err := asApp(t, d, "sh", "-c", ask); err != nil || !strings.Contains(out, "HTTP/1.1 200 OK") {
			t.Errorf("%v, %q", err, out)
		}
	})
	t.Run("a name whose record leads back", func(t *testing.T) {
		out, err := asApp(t, d, "curl", "-sS", "-i", "https://"+loopHost+"/secrets")
		if err != nil || !strings.Contains(out, "403") || !strings.Contains(out, "BearerdForbiddenTarget") || !strings.Contains(out, "upstream.resolvers") {
			t.Errorf("%v, %q", err, out)
		}
	})
	t.Run("a hosts entry too many", func(t *testing.T) {
		if out, err := asApp(t, d, "curl", "-sS", "https://"+otherHost+"/"); err == nil {
			t.Errorf("got %q", out)
		}
		if !strings.Contains(d.Out.String(), "no route names "+otherHost) {
			t.Error("the log does not tell")
		}
	})
}
