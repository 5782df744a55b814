package main

import (
	"os"
	"slices"
	"testing"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
)

func TestDoctorReadsTheHostsFile(t *testing.T) {
	const there = "listen: [{address: 127.0.0.1:8180}"
	for _, test := range []struct {
		name, listener, hosts string
		level                 level
		seen, do              string
	}{
		{"an entry leads to the listener", ", {address: 127.0.0.2:443, mode: transparent}", "127.0.0.2 " + vaultHost + "\n", levelOK,
			"HOSTS leads it to the transparent listener on 127.0.0.2", ""},
		{"in any case, among others, mapped, with a comment", ", {address: 127.0.0.2:443, mode: transparent}", "::ffff:127.0.0.2\tother PAYROLL.vault.azure.net. # ours\n", levelOK,
			"HOSTS leads it to the transparent listener on 127.0.0.2", ""},
		{"one of two listeners", ", {address: 127.0.0.1:8443, mode: transparent}, {address: \"127.0.0.1:443\", mode: transparent}", "127.0.0.1 " + vaultHost + "\n", levelOK,
			"HOSTS leads it to the transparent listener on 127.0.0.1", ""},
		{"the listener has another port", ", {address: 127.0.0.1:8443, mode: transparent}", "127.0.0.1 " + vaultHost + "\n", levelFail,
			"HOSTS leads it to 127.0.0.1, where the transparent listener has port 8443 and apps call 443", "have the listener on 127.0.0.1:443, or take the entry out if nftables is to lead there"},
		{"no listener is there", ", {address: 127.0.0.2:443, mode: transparent}", "127.0.0.1 " + vaultHost + "\n", levelFail,
			"HOSTS leads it to 127.0.0.1, where no transparent listener is", "add a listener (mode: transparent) on 127.0.0.1:443, or take the entry out"},
		{"over IPv6", "", "::1 " + vaultHost + "\n", levelFail,
			"HOSTS leads it to ::1, where no transparent listener is", "add a listener (mode: transparent) on [::1]:443, or take the entry out"},
		{"another address", "", "10.0.0.5 " + vaultHost + "\n", levelNote,
			"HOSTS gives it the address 10.0.0.5; with a transparent listener, or upstream.resolvers, bearerd passes that by", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := finding{Check: "hosts file", Level: test.level, Subject: vaultHost, Seen: test.seen, Do: test.do}
			if got := hostsFileOf(t, there+test.listener+"]\n", test.hosts); !slices.Equal(got, []finding{want}) {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		})
	}
	for name, hosts := range map[string]string{
		"no entry of a routed host": "127.0.0.1 localhost www.contoso.example\n# 127.0.0.1 " + vaultHost + "\n",
		"lines that are none":       "payroll " + vaultHost + "\n127.0.0.1\n\n",
	} {
		if got := hostsFileOf(t, there+"]\n", hosts); got != nil {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

// hostsFileOf gives what is found in a hosts file, whose path is HOSTS.
func hostsFileOf(t *testing.T, listen, hosts string) []finding {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"HOSTS":        hosts,
		"bearerd.yaml": "cloud: public\n" + listen + "routes:\n  - {service: keyvault, hosts: [" + vaultHost + "]}\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := daemon.Load("bearerd.yaml", true)
	if err != nil {
		t.Fatal(err)
	}
	table, err := c.Compile(c.LikelyCloud())
	if err != nil {
		t.Fatal(err)
	}
	e := &examination{config: c, table: table, hostsPath: "HOSTS"}
	return e.hostsFile(t.Context())
}
