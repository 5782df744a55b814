//go:build e2e && linux

package steering

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

// app is a program as it is found, which is told a URL and nothing else.
type app struct {
	name  string
	argv  []string
	calls int // that it makes
}

// apps each print what the vault keeps, or say hello by gRPC.
func apps() []app {
	script := func(name string) string { return inHost("testdata/" + name) }
	const openssl = `printf 'GET /secrets/db?api-version=7.4 HTTP/1.1\r\nHost: ` + vaultHost + `\r\nConnection: close\r\n\r\n' |
		openssl s_client -quiet -verify_return_error -verify_hostname ` + vaultHost + ` -servername ` + vaultHost + ` -connect ` + vaultHost + `:443`
	const roots = "/etc/ssl/certs/ca-certificates.crt" // for those that bring roots of their own
	return []app{
		{"curl, IPv4, HTTP1", []string{"curl", "-sS", "-4", "--http1.1", secretURL}, 1},
		{"curl, IPv6, HTTP2", []string{"curl", "-sS", "-6", "--http2", secretURL}, 1},
		{"curl, plain http", []string{"curl", "-sS", strings.Replace(secretURL, "https:", "http:", 1)}, 1},
		{"Python, requests", []string{rig.Python, script("get_requests.py"), secretURL}, 1},
		{"Python, urllib", []string{rig.Python, script("get_urllib.py"), secretURL}, 1},
		{"Node", []string{"env", "NODE_EXTRA_CA_CERTS=" + roots, "node", script("get.mjs"), secretURL}, 2},
		{"Java", []string{"java", script("Get.java"), secretURL}, 2},
		{"Go", []string{inHost("app"), secretURL}, 1},
		{"Go, HTTP2 alone", []string{inHost("app"), "-http2", secretURL}, 1},
		{"OpenSSL", []string{"sh", "-c", openssl}, 1},
		{"gRPC", []string{"env", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=" + roots, rig.Python, script("say_grpc.py"), grpcHost, secret}, 1},
	}
}

// authorised runs every app, each of whose calls has to come with the payroll's
// token.
func authorised(t *testing.T, a *azure, d *rig.Daemon) {
	t.Helper()
	for _, app := range apps() {
		t.Run(app.name, func(t *testing.T) {
			before := len(a.cloud.Recorder.Requests())
			text, err := as(t, d, payrollUID, app.argv...)
			if err != nil || strings.Count(text, secret) != app.calls {
				t.Fatalf("%v\n%s", err, text)
			}
			calls := a.cloud.Recorder.Requests()[before:]
			if len(calls) != app.calls {
				t.Errorf("%d calls arrived: %v", len(calls), calls)
			}
			for _, call := range calls {
				if call.Status != http.StatusOK || call.Caller.ClientID != payrollID {
					t.Errorf("%s, with the token of %q", call, call.Caller.ClientID)
				}
			}
		})
	}
	noLoop(t, d)
}

func TestRedirectedAppsAreAuthorised(t *testing.T) {
	a := newAzure(t)
	authorised(t, a, a.redirect(t))
}

// No rule of the kernel's, and no privilege: bearerd may listen on low ports, as
// everybody in this network may.
func TestAppsLedByHostsEntriesAreAuthorised(t *testing.T) {
	a := newAzure(t)
	const ports = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
	before, err := os.ReadFile(ports)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ports, []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(ports, before, 0); err != nil {
			t.Error(err)
		}
	})
	s := a.settings()
	s.Listen = `
  - {address: "127.0.0.1:443", mode: transparent}
  - {address: "[::1]:443", mode: transparent}
  - {address: "127.0.0.1:80", mode: transparent}
`
	d := host.Prepare(t, s)
	d.Start(t)
	hostsEntries(t, "127.0.0.1 "+vaultHost+" "+grpcHost+"\n::1 "+vaultHost+" "+grpcHost+"\n")
	authorised(t, a, d)
	if rules := onHost(t, "nft", "list", "ruleset"); rules != "" {
		t.Errorf("rules were in place:\n%s", rules)
	}
	says(t, d, strangerUID, "403", status("%{http_code}", secretURL)...)
	says(t, d, payrollUID, "200", status("%{http_code}", "https://"+otherHost+"/")...)
}
