package daemon

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPrivateTakesNothingOfTheSystems(t *testing.T) {
	c, err := Parse("bearerd.yaml", []byte(`
listen: [{address: "127.0.0.1:8443", mode: transparent}, {address: "127.0.0.1:8180"}]
authority: {permit: [corp.example]}
routes: [{service: keyvault, hosts: [payroll.vault.azure.net]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	own, err := c.Private(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(own.Listen) != 1 || own.Listen[0].Mode != ModeExplicit || own.Listen[0].Address.TCP != netip.MustParseAddrPort("127.0.0.1:0") {
		t.Errorf("it listens on %+v", own.Listen)
	}
	if !strings.HasPrefix(own.Admin.Address.Unix, dir) || own.StateDir != dir || len(own.Authority.Permit) != 1 {
		t.Errorf("admin %v, state %s, authority %+v", own.Admin, own.StateDir, own.Authority)
	}
	if len(c.Listen) != 2 || c.Admin.Address.Unix != "" {
		t.Error("the configuration itself was changed")
	}
	c.Audit.To = "stdout"
	if _, err := c.Private(dir); err == nil || !strings.Contains(err.Error(), "journald or a file") {
		t.Errorf("an audit stream to standard output gives %v", err)
	}
}

func TestProxyAddressIsOneThatProgramsCanUse(t *testing.T) {
	for listen, want := range map[string]string{
		`[{address: "127.0.0.1:8180"}]`: "127.0.0.1:8180",
		`[{address: "127.0.0.1:8443", mode: transparent}, {address: "unix:/run/p.sock"}, {address: "[::1]:8180"}]`: "[::1]:8180",
		`[{address: "0.0.0.0:8180", insecure_allow_network: true}]`:                                                "127.0.0.1:8180",
		`[{address: "[::]:8180", insecure_allow_network: true}]`:                                                   "[::1]:8180",
		`[{address: "127.0.0.1:8443", tls: {authority: true}}, {address: "127.0.0.1:8181", mode: imds}]`:           "invalid AddrPort",
	} {
		c, err := Parse("bearerd.yaml", []byte("names: [proxy.corp]\nlisten: "+listen+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.ProxyAddress().String(); got != want {
			t.Errorf("%s gives %s, want %s", listen, got, want)
		}
	}
}
