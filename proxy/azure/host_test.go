package azure

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func TestNormalizeHost(t *testing.T) {
	for _, test := range []struct {
		authority, host string
		port            uint16
	}{
		{"payroll.vault.azure.net", "payroll.vault.azure.net", 0},
		{"Payroll.VAULT.azure.NET.", "payroll.vault.azure.net", 0},
		{"payroll.vault.azure.net:443", "payroll.vault.azure.net", 443},
		{"payroll.vault.azure.net.:8443", "payroll.vault.azure.net", 8443},
		{"payroll.vault.azure.net:", "payroll.vault.azure.net", 0},
		{"localhost:65535", "localhost", 65535},
		{"azure_managedhsm.managedhsm.azure.net", "azure_managedhsm.managedhsm.azure.net", 0},
		{"127.0.0.1:8180", "127.0.0.1", 8180},
		{"[::1]:8180", "::1", 8180},
		{"[0:0:0:0:0:0:0:1]", "::1", 0},
		{"[::FFFF:127.0.0.1]", "::ffff:127.0.0.1", 0},
		{strings.Repeat("a", 63) + ".example", strings.Repeat("a", 63) + ".example", 0},
	} {
		host, port, err := NormalizeHost(test.authority)
		if err != nil || host != test.host || port != test.port {
			t.Errorf("NormalizeHost(%q) = %q, %d, %v; want %q, %d", test.authority, host, port, err, test.host, test.port)
		}
	}
}

func TestNormalizeHostRefuses(t *testing.T) {
	for _, authority := range []string{
		"", ".", ":443", "..", "a..b", ".a", "a.net..",
		"user@payroll.vault.azure.net", "payroll.vault.azure.net@evil.example", "user:secret@a.example:443",
		"payroll.vault.azure.net/x", "payroll.vault.azure.net?x", "payroll.vault.azure.net#x", `a\b`,
		"payroll%2evault.azure.net", "p ayroll.example", "payroll.vault.azure.net ", " a", "a\x00b", "a\r\nb",
		"payroll.vаult.azure.net",                    // Cyrillic а
		"payroll。vault.azure.net", "ｐayroll.example", // what IDNA maps to a dot and a letter
		"a:443:443", "a:x", "a:-1", "a:+443", "a:0", "a:65536", "a: 443", "a:4４",
		"[::1", "::1", "[::1]x", "[::1]:x", "[127.0.0.1]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[]", "[a.example]",
		strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "a",
	} {
		if host, port, err := NormalizeHost(authority); err == nil {
			t.Errorf("NormalizeHost(%q) = %q, %d; want an error", authority, host, port)
		}
	}
}

func TestNormalizeHostDoesNotAllocate(t *testing.T) {
	for _, authority := range []string{"payroll.vault.azure.net", "payroll.vault.azure.net:443", "localhost:8180"} {
		if n := testing.AllocsPerRun(100, func() {
			if _, _, err := NormalizeHost(authority); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("NormalizeHost(%q) allocates %v times", authority, n)
		}
	}
}

var plainName = regexp.MustCompile(`^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$`)

// FuzzNormalizeHost holds the reading of an authority against that of net/url:
// what is taken has no second meaning there.
func FuzzNormalizeHost(f *testing.F) {
	for _, seed := range []string{
		"payroll.vault.azure.net", "Payroll.Vault.Azure.Net.:443", "[::1]:80", "127.0.0.1", "a@b", "a%2eb", "a:b:c", "é.example", "[::1%25lo]",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, authority string) {
		host, port, err := NormalizeHost(authority)
		if err != nil {
			return
		}
		if addr, err := netip.ParseAddr(host); !plainName.MatchString(host) && (err != nil || addr.Zone() != "") {
			t.Fatalf("%q gives the host %q", authority, host)
		}
		u, err := url.Parse("https://" + authority + "/path")
		if err != nil {
			t.Fatalf("%q is taken, and net/url says %v", authority, err)
		}
		theirs := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
		if addr, err := netip.ParseAddr(theirs); err == nil {
			theirs = addr.String()
		}
		if u.User != nil || u.Path != "/path" || theirs != host {
			t.Fatalf("%q gives %q, and net/url reads %q", authority, host, u.Host)
		}
		if again, _, err := NormalizeHost(strings.TrimSuffix(bracketed(host), ".")); err != nil || again != host {
			t.Fatalf("%q gives %q, which gives %q, %v", authority, host, again, err)
		}
		if port == 0 && u.Port() != "" {
			t.Fatalf("%q gives no port, and net/url reads %q", authority, u.Port())
		}
	})
}

func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
