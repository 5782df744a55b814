package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/proxy/authority/trust"
)

func TestCommandEnvironment(t *testing.T) {
	base := []string{
		"PATH=/bin", "HTTPS_PROXY=http://proxy.corp:3128", "no_proxy=wiki.corp,.vault.azure.net", "NO_PROXY=10.0.0.0/8,wiki.corp,*",
		"JAVA_TOOL_OPTIONS=-Xmx64m -Dhttps.proxyHost=proxy.corp", "ALL_PROXY=socks5://proxy.corp:1080",
	}
	runtimes := trust.Runtimes{Variables: []string{"SSL_CERT_FILE=/tmp/a b/roots.pem"}, JavaStore: "/tmp/a b/roots.p12"}
	getenv := lookup(commandEnv(base, netip.MustParseAddrPort("127.0.0.1:4711"), []string{"vault.azure.net"}, runtimes))
	noProxy := strings.Join(direct, ",") + ",10.0.0.0/8,wiki.corp"
	for name, want := range map[string]string{
		"PATH":       "/bin",
		"HTTP_PROXY": "http://127.0.0.1:4711", "http_proxy": "http://127.0.0.1:4711",
		"HTTPS_PROXY": "http://127.0.0.1:4711", "https_proxy": "http://127.0.0.1:4711",
		"NO_PROXY": noProxy, "no_proxy": noProxy,
		"ALL_PROXY":          "socks5://proxy.corp:1080",
		"NODE_USE_ENV_PROXY": "1",
		"SSL_CERT_FILE":      "/tmp/a b/roots.pem",
		"JAVA_TOOL_OPTIONS": "-Xmx64m -Dhttps.proxyHost=proxy.corp -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=4711 -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=4711 " +
			"-Dhttp.nonProxyHosts=localhost|127.*|[::1]|169.254.*|168.63.129.16 -Djavax.net.ssl.trustStoreType=PKCS12 -Djavax.net.ssl.trustStorePassword=changeit " +
			`"-Djavax.net.ssl.trustStore=/tmp/a b/roots.p12"`,
	} {
		if got := getenv(name); got != want {
			t.Errorf("%s=%s, want %s", name, got, want)
		}
	}
}

// Nothing that was written for another proxy leads a routed call past ours.
func TestNoProxyThatLeadsPastTheProxyIsDropped(t *testing.T) {
	routed := []string{"blob.core.windows.net", "payroll.vault.azure.net"}
	for entry, kept := range map[string]bool{
		"":                               false,
		"*":                              false,
		"localhost":                      false, // is there already
		"blob.core.windows.net":          false,
		".blob.core.windows.net":         false,
		"*.blob.core.windows.net":        false,
		"Acct.Blob.Core.Windows.Net":     false,
		"acct.blob.core.windows.net:443": false,
		"windows.net":                    false,
		".net":                           false,
		"vault.azure.net":                false,
		"payroll.*.azure.net":            false,
		"wiki.corp":                      true,
		".corp:8443":                     true,
		"other.vault.azure.net":          true,
		"10.0.0.0/8":                     true,
		"fd00::1":                        true,
		"xblob.core.windows.net":         true,
	} {
		if got := others(entry, routed); slices.Contains(got, entry) != kept {
			t.Errorf("%q gives %q, kept should be %t", entry, got, kept)
		}
	}
	if got := others("a.corp, b.corp a.corp", routed); !slices.Equal(got, []string{"a.corp", "b.corp"}) {
		t.Errorf("got %q", got)
	}
}
