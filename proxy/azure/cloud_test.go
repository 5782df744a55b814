package azure

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestLoginHosts(t *testing.T) {
	for cloud, want := range map[string]string{
		"public": "login.microsoftonline.com login.windows.net login.microsoft.com sts.windows.net",
		"usgov":  "login.microsoftonline.us login.usgovcloudapi.net",
		"china":  "login.chinacloudapi.cn login.partner.microsoftonline.cn",
	} {
		c, _ := CloudNamed(cloud)
		if got := strings.Join(c.Logins(), " "); got != want || c.Login != c.Logins()[0] {
			t.Errorf("%s: %s, want %s", cloud, got, want)
		}
		for _, host := range c.Logins() {
			if s, ok := c.ServiceOf(host); ok {
				t.Errorf("%s is %s's", host, s.Name)
			}
		}
	}
	own := Definition{Name: "own", Base: "public"}
	if c, err := NewCloud(own); err != nil || len(c.Logins()) != 4 {
		t.Errorf("%v, %v", c.Logins(), err)
	}
	own.Login = "login.contoso.example"
	if c, err := NewCloud(own); err != nil || len(c.Logins()) != 1 || c.Logins()[0] != own.Login {
		t.Errorf("%v, %v", c.Logins(), err)
	}
}

func mustCloud(t testing.TB, name string) *Cloud {
	t.Helper()
	c, ok := CloudNamed(name)
	if !ok {
		t.Fatalf("no cloud %q", name)
	}
	return c
}

func TestServiceOf(t *testing.T) {
	for _, test := range []struct{ cloud, host, service string }{
		{"public", "payroll.vault.azure.net", "keyvault"},
		{"public", "payroll.vaultcore.azure.net", "keyvault"},
		{"public", "payroll.privatelink.vaultcore.azure.net", "keyvault"},
		{"public", "hsm.managedhsm.azure.net", "managedhsm"},
		{"public", "hsm.privatelink.managedhsm.azure.net", "managedhsm"},
		{"public", "acct.blob.core.windows.net", "storage"},
		{"public", "acct.dfs.core.windows.net", "storage"},
		{"public", "acct.file.core.windows.net", "storage"},
		{"public", "acct.queue.core.windows.net", "storage"},
		{"public", "acct.table.core.windows.net", "storage"},
		{"public", "acct-secondary.blob.core.windows.net", "storage"},
		{"public", "acct.privatelink.blob.core.windows.net", "storage"},
		{"public", "acct.z00.blob.storage.azure.net", "storage"},
		{"public", "acct-secondary.z99.table.storage.azure.net", "storage"},
		{"public", "management.azure.com", "arm"},
		{"public", "westus.management.azure.com", "arm"},
		{"public", "app.azconfig.io", "appconfig"},
		{"public", "idx.search.windows.net", "search"},
		{"public", "m.openai.azure.com", "cognitiveservices"},
		{"public", "m.cognitiveservices.azure.com", "cognitiveservices"},
		{"public", "graph.microsoft.com", "graph"},
		{"public", "api.loganalytics.io", "loganalytics"},
		{"usgov", "payroll.vault.usgovcloudapi.net", "keyvault"},
		{"usgov", "acct.blob.core.usgovcloudapi.net", "storage"},
		{"usgov", "management.usgovcloudapi.net", "arm"},
		{"china", "payroll.vault.azure.cn", "keyvault"},
		{"china", "acct.queue.core.chinacloudapi.cn", "storage"},
		{"china", "management.chinacloudapi.cn", "arm"},
	} {
		s, ok := mustCloud(t, test.cloud).ServiceOf(test.host)
		if !ok || s.Name != test.service {
			t.Errorf("%s: %s belongs to %v, want %s", test.cloud, test.host, s, test.service)
		}
	}
}

// A name that only looks like a service's belongs to somebody else.
func TestLookalikesAreNoService(t *testing.T) {
	for _, host := range []string{
		"payroll.vault.azure.net.evil.example", "evilvault.azure.net", "payroll.evilvault.azure.net",
		"payroll-vault.azure.net", "vault.azure.net", "azure.net", "net", "",
		"payroll.vault.azure.net.", "payroll.vault.azure.com", "payroll.vault.azure.cn",
		"a.payroll.vault.azure.net", "a.privatelink.vault.azure.net",
		"a.b.blob.core.windows.net", "blob.core.windows.net", "acct.web.core.windows.net", "acct.core.windows.net",
		"acct.z1.blob.storage.azure.net", "acct.z100.blob.storage.azure.net", "acct.zab.blob.storage.azure.net",
		"z00.blob.storage.azure.net", "acct.blob.storage.azure.net", "a.b.z00.blob.storage.azure.net",
		"a.westus.management.azure.com", "evilmanagement.azure.com", "management.azure.com.evil.example", "x.graph.microsoft.com",
	} {
		if s, ok := mustCloud(t, "public").ServiceOf(host); ok {
			t.Errorf("%q belongs to %s", host, s.Name)
		}
	}
}

// Relay hands Authorization to whoever owns the namespace.
func TestStrangersNamesAreNoService(t *testing.T) {
	cloud := mustCloud(t, "public")
	for _, host := range []string{"evil.servicebus.windows.net", "evil.service.signalr.net", "evil.webpubsub.azure.com"} {
		if s, ok := cloud.ServiceOf(host); ok {
			t.Errorf("%q belongs to %s without being named", host, s.Name)
		}
	}
	for _, name := range []string{"servicebus", "eventhubs"} {
		s, _ := cloud.Service(name)
		if !s.ExactOnly() || len(s.Patterns()) > 0 || !s.Has("ours.servicebus.windows.net") || s.Has("ours.servicebus.windows.net.evil.example") {
			t.Errorf("%s: exact only %v, patterns %v", name, s.ExactOnly(), s.Patterns())
		}
	}
}

// Names that no document confirms count only where an operator writes them.
func TestUnverifiedNamesAreMatchedByNoPattern(t *testing.T) {
	for _, test := range []struct{ cloud, host, service string }{
		{"usgov", "hsm.managedhsm.usgovcloudapi.net", "managedhsm"},
		{"china", "hsm.managedhsm.azure.cn", "managedhsm"},
		{"usgov", "usgovvirginia.management.usgovcloudapi.net", "arm"},
		{"china", "chinaeast.management.chinacloudapi.cn", "arm"},
	} {
		cloud := mustCloud(t, test.cloud)
		if s, ok := cloud.ServiceOf(test.host); ok {
			t.Errorf("%s belongs to %s without being named", test.host, s.Name)
		}
		if s, _ := cloud.Service(test.service); !s.Has(test.host) {
			t.Errorf("%s is not known to %s even if named", test.host, test.service)
		}
	}
}

func TestCloudFromEnvironment(t *testing.T) {
	for environment, want := range map[string]string{
		"AzurePublicCloud": "public", "AzureUSGovernment": "usgov", "AzureUSGovernmentCloud": "usgov", "azurechinacloud": "china",
	} {
		if c, ok := CloudFromEnvironment(environment); !ok || c.Name != want {
			t.Errorf("%s gives %v, want %s", environment, c, want)
		}
	}
	for _, environment := range []string{"", "AzureGermanCloud", "public"} {
		if c, ok := CloudFromEnvironment(environment); ok {
			t.Errorf("%q gives %s", environment, c.Name)
		}
	}
}

func TestCatalogueIsConsistent(t *testing.T) {
	for _, name := range CloudNames() {
		cloud := mustCloud(t, name)
		if host, _, err := NormalizeHost(cloud.Login); err != nil || host != cloud.Login {
			t.Errorf("%s: login host %q", name, cloud.Login)
		}
		names := map[string]bool{}
		owners := map[Pattern]string{}
		for _, s := range cloud.Services() {
			if names[s.Name] || !isServiceName(s.Name) {
				t.Errorf("%s: service %q twice, or not nameable", name, s.Name)
			}
			names[s.Name] = true
			if err := CheckAudience(s.Audience); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, p := range slices.Concat(s.patterns, s.likely) {
				if host, _, err := NormalizeHost(p.Suffix); err != nil || host != p.Suffix {
					t.Errorf("%s: %s has the suffix %q", name, s.Name, p.Suffix)
				}
			}
			for _, p := range s.Patterns() {
				if err := p.Check(); err != nil {
					t.Errorf("%s: %s: %v", name, s.Name, err)
				}
				if owner, ok := owners[p]; ok {
					t.Errorf("%s: %s is %s's and %s's", name, p, owner, s.Name)
				}
				owners[p] = s.Name
			}
		}
		for _, required := range []string{"keyvault", "managedhsm", "storage", "arm"} {
			if !names[required] {
				t.Errorf("%s has no %s", name, required)
			}
		}
	}
}

func TestServiceOfDoesNotAllocate(t *testing.T) {
	cloud := mustCloud(t, "public")
	for _, host := range []string{"payroll.vault.azure.net", "acct.z42.blob.storage.azure.net", "www.example.com"} {
		if n := testing.AllocsPerRun(100, func() { cloud.ServiceOf(host) }); n != 0 {
			t.Errorf("ServiceOf(%q) allocates %v times", host, n)
		}
	}
}

// documented are the hosts of services, as regular expressions written from
// their documentation.
var documented = map[string]*regexp.Regexp{
	"keyvault":          regexp.MustCompile(`^[a-z0-9_-]+\.(vault|vaultcore|privatelink\.vaultcore)\.azure\.net$`),
	"managedhsm":        regexp.MustCompile(`^[a-z0-9_-]+\.(privatelink\.)?managedhsm\.azure\.net$`),
	"storage":           regexp.MustCompile(`^[a-z0-9_-]+\.((privatelink\.)?(blob|dfs|file|queue|table)\.core\.windows|z[0-9]{2}\.(blob|dfs|file|queue|table)\.storage\.azure)\.net$`),
	"arm":               regexp.MustCompile(`^([a-z0-9_-]+\.)?management\.azure\.com$`),
	"appconfig":         regexp.MustCompile(`^[a-z0-9_-]+\.(privatelink\.)?azconfig\.io$`),
	"search":            regexp.MustCompile(`^[a-z0-9_-]+\.(privatelink\.)?search\.windows\.net$`),
	"cognitiveservices": regexp.MustCompile(`^[a-z0-9_-]+\.(privatelink\.)?(cognitiveservices|openai)\.azure\.com$`),
	"graph":             regexp.MustCompile(`^graph\.microsoft\.com$`),
	"loganalytics":      regexp.MustCompile(`^api\.loganalytics\.io$`),
}

// readIndependently finds an authority's service by net/url and documented.
func readIndependently(authority string) (service string) {
	u, err := url.Parse("https://" + authority + "/")
	if err != nil || u.User != nil || u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return ""
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	for name, hosts := range documented {
		if hosts.MatchString(host) {
			return name
		}
	}
	return ""
}

// FuzzServiceOf: a host belongs to a service if, and only if, an independent
// reading of the documentation says so.
func FuzzServiceOf(f *testing.F) {
	for _, seed := range []string{
		"payroll.vault.azure.net", "PAYROLL.vault.azure.net.:443", "evilvault.azure.net", "payroll.vault.azure.net.evil.example",
		"payroll.vault.azure.net@evil.example", "evil.example#.vault.azure.net", "a.b.vault.azure.net", "privatelink.vaultcore.azure.net",
		"acct.z01.blob.storage.azure.net", "acct-secondary.privatelink.dfs.core.windows.net", "westus.management.azure.com",
		"payroll.vаult.azure.net", "x.servicebus.windows.net", "graph.microsoft.com:443", "payroll。vault.azure.net",
	} {
		f.Add(seed)
	}
	cloud := mustCloud(f, "public")
	f.Fuzz(func(t *testing.T, authority string) {
		ours := ""
		if host, _, err := NormalizeHost(authority); err == nil {
			if s, ok := cloud.ServiceOf(host); ok {
				ours = s.Name
			}
		}
		want := readIndependently(authority)
		if ours != "" && ours != want {
			t.Fatalf("%q belongs to %q, and independently to %q", authority, ours, want)
		}
		if ours == "" && want != "" {
			if _, _, err := NormalizeHost(authority); err == nil {
				t.Fatalf("%q belongs to no service, and independently to %q", authority, want)
			}
		}
	})
}
