package daemon

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/proxy"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/route"
)

func parse(tb testing.TB, text string) *Config {
	tb.Helper()
	c, err := Parse("bearerd.yaml", []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func cloudNamed(tb testing.TB, name string) *azure.Cloud {
	tb.Helper()
	cloud, ok := azure.CloudNamed(name)
	if !ok {
		tb.Fatalf("no cloud %q", name)
	}
	return cloud
}

func load(tb testing.TB, path string) *Config {
	tb.Helper()
	c, err := Load(path, true)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestEveryKeyIsTaken(t *testing.T) {
	c := load(t, "testdata/every-key.yaml")
	if c.Upstream.RootCAs == nil {
		t.Error("upstream.ca_file: no pool")
	}
	reports := imds.Identity{ResourceID: "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/reports"}
	app := imds.Identity{ClientID: "00000000-0000-0000-0000-000000000001"}
	for _, field := range []struct {
		name      string
		got, want any
	}{
		{"identity", c.Identity, app},
		{"unmatched", c.RefuseUnmatched, true},
		{"own", c.Own, route.OwnRefuse},
		{"names", c.Names, []string{"proxy.corp.example"}},
		{"listen", c.Listen, []Listener{
			{Address: Address{TCP: netip.MustParseAddrPort("127.0.0.1:8280")}},
			{Address: Address{Unix: "/run/bearerd/proxy.sock"}},
			{
				Address: Address{TCP: netip.MustParseAddrPort("10.0.0.4:8443")}, InsecureAllowNetwork: true,
				TLS: TLS{
					MinVersion: tls.VersionTLS10, RSA: true, CertFile: filepath.Join("testdata", "proxy.pem"), KeyFile: "/etc/bearerd/proxy.key",
					ClientCA: filepath.Join("testdata", "clients.pem"),
				},
				ProxyProtocolFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.7/32"), netip.MustParsePrefix("10.0.1.0/24")},
			},
			{Address: Address{TCP: netip.MustParseAddrPort("127.0.0.2:443")}, Mode: ModeTransparent, Host: "payroll.vault.azure.net"},
			{
				Address: Address{TCP: netip.MustParseAddrPort("10.0.0.5:8443")},
				TLS:     TLS{MinVersion: tls.VersionTLS13, Authority: true, ClientCA: filepath.Join("testdata", "clients.pem")},
			},
			{
				Address: Address{TCP: netip.MustParseAddrPort("10.0.0.5:443")},
				TLS: TLS{ClientCA: filepath.Join("testdata", "clients.pem"), ACME: ACME{
					Directory: "https://acme.corp.example/directory", Email: "ops@corp.example", Domains: []string{"proxy.corp.example"},
					EAB: EAB{KeyID: "kid-1", KeyFile: "/etc/bearerd/eab.key"}, HTTPAddress: netip.MustParseAddrPort("0.0.0.0:80"),
				}},
			},
			{Address: Address{TCP: netip.MustParseAddrPort("[::1]:8443")}, Mode: ModeTransparent},
		}},
		{"upstream.resolvers", c.Upstream.Resolvers, []netip.AddrPort{netip.MustParseAddrPort("168.63.129.16:53"), netip.MustParseAddrPort("[2001:db8::53]:5353")}},
		{"routes", c.Rules(cloudNamed(t, "public")), []route.Rule{
			{
				Service: "keyvault", Hosts: []string{"payroll.vault.azure.net"}, Methods: []string{"GET"}, Paths: []string{"/secrets/*"},
				Operations: []string{"keyvault.secret.get", "keyvault.certificate.*"},
				Callers: caller.Names{
					Users: []caller.Account{{Name: "root", ID: 0}, {Name: "1001", ID: 1001}}, Groups: []caller.Account{{Name: "0", ID: 0}},
					Cgroups: []string{"/system.slice/payroll.service"}, Certificates: []string{"payroll.corp.example"},
				},
				RequireHeader: map[string]string{"X-Vault-Caller": "payroll"}, Gateway: "vault", Required: true, Identity: app, Own: route.OwnRefuse,
			},
			{Service: "storage", Identity: reports, Own: route.OwnReplace},
			{Service: "arm", Methods: []string{"GET", "HEAD"}, Own: route.OwnRefuse}, // identity: {}
			{
				Name: "internal-api", Hosts: []string{"api.contoso.internal"}, Audience: "api://contoso-internal", Upgrades: []string{"websocket"},
				Identity: imds.Identity{ObjectID: "00000000-0000-0000-0000-00000000000a"}, Own: route.OwnRefuse,
			},
		}},
		{"entra", c.Entra, Entra{Tenants: []string{"11111111-2222-3333-4444-555555555555", "contoso.example"}, Clients: []string{"aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"}}},
		{"imds", c.IMDS, IMDS{Endpoint: "http://127.0.0.1:8000", Rate: 2.5, Burst: 4, Concurrency: 1, TokenWait: 11 * time.Second, IdleAfter: 12 * time.Hour}},
		{"upstream.connect_to", c.Upstream.ConnectTo, map[string]string{"payroll.vault.azure.net": "10.0.0.5:443", "api.contoso.internal:443": "[fd00::5]:8443"}},
		{"upstream.allow_addresses", c.Upstream.AllowAddresses, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("169.254.10.0/24")}},
		{"limits", c.Limits, Limits{
			Limits:      proxy.Limits{HeaderBytes: 32 << 10, HeaderTimeout: 11 * time.Second, IdleTimeout: 91 * time.Second, Streams: 251, Spool: 128 << 10, SpoolTotal: 1 << 30},
			Connections: 10_001, ConnectionsPerCaller: 2_001,
		}},
		{"drain", c.Drain, Drain{Min: time.Second, Max: 31 * time.Second}},
		{"redirect", c.Redirect, Redirect{
			DaemonUser: "bearer", Users: []string{"payroll"}, Groups: []string{"2001"}, Cgroups: []string{"/payroll.slice"}, Ports: []int{443},
			Destinations: map[string][]netip.Prefix{"storage": {netip.MustParsePrefix("20.60.0.0/16"), netip.MustParsePrefix("2603:1030::/32")}},
			To:           netip.MustParseAddrPort("127.0.0.2:443"), To6: netip.MustParseAddrPort("[::1]:8443"),
			GuardIMDS: true, AllowUsers: []string{"monitor"}, AllowCgroups: []string{"/agents.slice"}, ReportFile: "/run/other.json",
		}},
		{"authority", c.Authority, Authority{CertFile: filepath.Join("testdata", "ca.pem"), KeyFile: "/etc/bearerd/ca.key", Permit: []string{"contoso.internal"}}},
		{"state_dir", c.StateDir, "/srv/bearerd"},
		{"admin", c.Admin, Admin{Address: Address{Unix: "/run/bearerd/admin.sock"}}},
		{"audit", c.Audit, Audit{To: "/var/log/bearerd/audit.log", Refuse: true}},
		{"log", c.Log, Log{Level: zapcore.DebugLevel, Format: LogConsole, Access: proxy.AccessAll}},
	} {
		if !reflect.DeepEqual(field.got, field.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", field.name, field.got, field.want)
		}
	}
	if cloud, auto := c.Cloud(); auto || cloud.Name != "public" {
		t.Errorf("cloud: %v, auto %t", cloud, auto)
	}
	defaults := Default()
	for _, same := range []bool{reflect.DeepEqual(c.IMDS, defaults.IMDS), reflect.DeepEqual(c.Limits, defaults.Limits), c.Log == defaults.Log} {
		if same {
			t.Error("the file repeats defaults, so that it shows nothing")
		}
	}
}

// The testdata has each key that exists, so that none is forgotten in the tests
// above.
func TestTestdataHasEveryKey(t *testing.T) {
	index := regexp.MustCompile(`\[\d+\]`)
	have := make(map[string]bool)
	for _, file := range []string{"every-key.yaml", "cloud.yaml", "cloud-file.yaml"} {
		c := load(t, filepath.Join("testdata", file))
		for path := range c.source.keys {
			have[index.ReplaceAllString(path, "[]")] = true
		}
	}
	for _, k := range reference(Default().keys(), "") {
		if !have[k.path] {
			t.Errorf("%s is in no file of testdata", k.path)
		}
	}
}

func TestNothingSaidMeansTheDefaults(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing yet\n", "---\n", "--- # nothing\n...\n", "{}", "\ufeff# with a mark\n"} {
		c := parse(t, text)
		want := Default()
		c.source, want.source = source{}, source{}
		if !reflect.DeepEqual(c, want) {
			t.Errorf("%q: %+v", text, c)
		}
		if rules := c.Rules(cloudNamed(t, "china")); !reflect.DeepEqual(rules, route.Defaults(cloudNamed(t, "china"))) {
			t.Errorf("%q: %+v", text, rules)
		}
	}
	if cloud, auto := Default().Cloud(); cloud != nil || !auto {
		t.Errorf("cloud %v, auto %t", cloud, auto)
	}
}

func TestAnEmptyListOfRoutesRoutesNothing(t *testing.T) {
	c := parse(t, "routes: []")
	table, err := c.Compile(cloudNamed(t, "public"))
	if err != nil || len(table.Routes()) != 0 {
		t.Errorf("%v, %v", table, err)
	}
}

func TestDefaultRoutesTakeTheProcessWideIdentityAndOwn(t *testing.T) {
	c := parse(t, "identity: {client_id: 00000000-0000-0000-0000-00000000000A}\nown: replace")
	rules := c.Rules(cloudNamed(t, "public"))
	if len(rules) == 0 {
		t.Fatal("no rules")
	}
	for _, r := range rules {
		if r.Identity.ClientID != "00000000-0000-0000-0000-00000000000a" || r.Own != route.OwnReplace {
			t.Errorf("%+v", r)
		}
	}
}

func TestRouteIdentityReplacesTheWhole(t *testing.T) {
	c := parse(t, `
identity: {client_id: 00000000-0000-0000-0000-000000000001}
own: refuse
routes:
  - {service: keyvault, identity: {object_id: 00000000-0000-0000-0000-000000000002}, own: pass}
  - {service: storage, identity: {}}
  - {service: arm, methods: [GET]}
`)
	rules := c.Rules(cloudNamed(t, "public"))
	want := []imds.Identity{{ObjectID: "00000000-0000-0000-0000-000000000002"}, {}, {ClientID: "00000000-0000-0000-0000-000000000001"}}
	for i, id := range want {
		if rules[i].Identity != id {
			t.Errorf("routes[%d]: %v", i, rules[i].Identity)
		}
	}
	if rules[0].Own != route.OwnPass || rules[1].Own != route.OwnRefuse {
		t.Errorf("own: %v, %v", rules[0].Own, rules[1].Own)
	}
}

// What the file says of operations is what is decided.
func TestOperationsOfTheFileHold(t *testing.T) {
	c := parse(t, `
cloud: public
routes:
  - {service: keyvault, operations: [keyvault.secret.get, keyvault.key.backup]}
  - {service: storage, operations: [storage.blob.*]}
`)
	table, err := c.Compile(cloudNamed(t, "public"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		method, host, path, query, operation string
		want                                 route.Action
	}{
		{"GET", "payroll.vault.azure.net", "/secrets/db", "", "keyvault.secret.get", route.Inject},
		{"PUT", "payroll.vault.azure.net", "/secrets/db", "", "keyvault.secret.set", route.Refuse},
		{"POST", "payroll.vault.azure.net", "/keys/k/backup", "", "keyvault.key.backup", route.Inject},
		{"POST", "payroll.vault.azure.net", "/secrets/db/backup", "", "keyvault.secret.backup", route.Refuse},
		{"PUT", "acct.blob.core.windows.net", "/c/b", "comp=lease", "storage.blob.lease", route.Inject},
		{"PUT", "acct.blob.core.windows.net", "/c/b", "comp=lease&comp=tier", "storage.unknown", route.Refuse},
		{"PUT", "acct.blob.core.windows.net", "/c", "restype=container", "storage.container.create", route.Refuse},
	} {
		call := &azure.Call{Method: test.method, Scheme: "https", Host: test.host, Path: test.path, Query: test.query}
		if d := table.Decide(call, nil, time.Now()); d.Action != test.want || d.Operation.Name != test.operation {
			t.Errorf("%s %s?%s: %s, %s", test.method, test.path, test.query, d.Action, d.Operation.Name)
		}
	}
}

func TestAutoTakesRoutesThatFitAnyCloud(t *testing.T) {
	const text = "routes:\n  - hosts: [payroll.vault.usgovcloudapi.net]\n"
	c := parse(t, text)
	if got := c.LikelyCloud().Name; got != "usgov" {
		t.Errorf("likely: %s", got)
	}
	if _, err := c.Compile(cloudNamed(t, "usgov")); err != nil {
		t.Error(err)
	}
	_, err := c.Compile(cloudNamed(t, "public"))
	want := "the routes do not fit the cloud public\n" +
		"bearerd.yaml:2:5: routes[0].audience: payroll.vault.usgovcloudapi.net belongs to no service that is known in the cloud public; name the service, or the audience of its tokens"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	if _, err := Parse("bearerd.yaml", []byte("cloud: public\n"+text)); err == nil {
		t.Error("the public cloud took a host of another one")
	}
}

func TestDefinedCloud(t *testing.T) {
	c := load(t, "testdata/cloud.yaml")
	cloud, auto := c.Cloud()
	if auto || cloud.Name != "lab" || cloud.Login != "login.lab.example" {
		t.Fatalf("%+v, auto %t", cloud, auto)
	}
	table, err := c.Compile(cloud)
	if err != nil {
		t.Fatal(err)
	}
	if r := table.Routes()[0]; r.Audience != "api://payments" || !slices.Equal(r.Hosts, []string{"pay.lab.example", "*.pay.lab.example"}) {
		t.Errorf("%+v", r)
	}
	if c.LikelyCloud().Name != "lab" {
		t.Error("the likely cloud is another one")
	}
}

func TestCloudOfAFile(t *testing.T) {
	c := load(t, "testdata/cloud-file.yaml")
	cloud, auto := c.Cloud()
	if auto || cloud.Name != "gap" || cloud.Login != "login.gap.example" {
		t.Fatalf("%+v, auto %t", cloud, auto)
	}
	table, err := c.Compile(cloud)
	if err != nil {
		t.Fatal(err)
	}
	for host, audience := range map[string]string{
		"payroll.vault.gap.example":   "https://vault.gap.example",
		"acct.blob.core.gap.example":  "https://storage.gap.example/",
		"management.gap.example":      "https://management.gap.example/",
		"west.management.gap.example": "https://management.gap.example/",
	} {
		if s, ok := cloud.ServiceOf(host); !ok || s.Audience != audience || !table.Named(host) {
			t.Errorf("%s belongs to %+v, want the audience %s", host, s, audience)
		}
	}
}

func TestWarnings(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"routes:\n  - service: arm\n    methods: [GET, PUT]\n", nil},
		{"routes:\n  - service: arm\n    operations: [arm.vm.restart]\n", nil},
		{"routes:\n  - {service: arm, operations: [arm.*]}\n", []string{
			"bearerd.yaml:2:5: routes[0]: it takes every method of Azure Resource Manager, where a write can change what the identity may do; write methods: [GET, HEAD] where reading is enough",
		}},
		{"routes:\n  - service: keyvault\n  - hosts: [management.azure.com]\n", []string{
			"bearerd.yaml:3:5: routes[1]: it takes every method of Azure Resource Manager, where a write can change what the identity may do; write methods: [GET, HEAD] where reading is enough",
		}},
		{"admin: {address: \"[::]:9180\"}\nlisten:\n  - {address: 0.0.0.0:8180, insecure_allow_network: true}\n  - {address: 127.0.0.1:8181, insecure_allow_network: true}\n", []string{
			"bearerd.yaml:1:18: admin.address: whoever reaches [::]:9180 over the network sees the routes, the identities and the metrics; let a firewall keep strangers out",
			"bearerd.yaml:3:15: listen[0].address: whoever reaches 0.0.0.0:8180 over the network can use this machine's identity; let a firewall keep strangers out",
		}},
		{"listen:\n  - {address: 0.0.0.0:8180, tls: {cert_file: a, key_file: b, client_ca: c}}\n  - {address: 127.0.0.1:8181, tls: {min_version: \"1.1\", rsa: true}}\n", []string{
			"bearerd.yaml:3:50: listen[1].tls.min_version: TLS 1.1 has known weaknesses, and whoever can change packets between a caller and 127.0.0.1:8181 may make use of them; keep it for clients that know nothing newer, on a listener of their own",
			"bearerd.yaml:3:62: listen[1].tls.rsa: key exchange by RSA has no forward secrecy: whoever records a call and gets the certificate's key later can read it; keep it for clients that know nothing else, on a listener of their own",
		}},
	} {
		if got := parse(t, test.text).Warnings(); !slices.Equal(got, test.want) {
			t.Errorf("%q:\n%s", test.text, strings.Join(got, "\n"))
		}
	}
}

func TestMethodsOfTheDefaultsAreReading(t *testing.T) {
	for _, r := range Default().Rules(cloudNamed(t, "public")) {
		if r.Service == "arm" && !slices.Equal(r.Methods, []string{http.MethodGet, http.MethodHead}) {
			t.Errorf("%+v", r)
		}
	}
}

// The plan's example knows no other keys than the code does.
func TestDesignExampleHasKnownKeysOnly(t *testing.T) {
	page, err := os.ReadFile("../../../docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(strings.ReplaceAll(string(page), "\r\n", "\n"), "```yaml\n")
	text, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("no example")
	}
	_, err = Parse("design.md", []byte(text))
	for _, m := range split[*Mistake](err) {
		isLater := strings.HasPrefix(m.Err.Error(), "this version ")
		if !isLater && m.Key != "upstream.ca_file" && m.Key != "routes[0].callers.users[0]" { // which is no file, or nobody, here
			t.Error(m)
		}
	}
}

// What the environment tells holds for identities that name no source.
func TestSourceOfTokensIsDetected(t *testing.T) {
	t.Setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:9/token")
	t.Setenv("IDENTITY_HEADER", "x")
	file := filepath.Join(t.TempDir(), "bearerd.yaml")
	text := "routes:\n  - {service: keyvault}\n  - {service: storage, identity: {source: imds}}\n  - {service: arm, identity: {}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file, true)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range c.Rules(c.LikelyCloud()) {
		got = append(got, r.Identity.Source)
	}
	if want := []string{"appservice", "", "appservice"}; !slices.Equal(got, want) {
		t.Errorf("the sources are %q, want %q", got, want)
	}
	if c, err = Load(filepath.Join(t.TempDir(), "none"), false); err != nil || c.Identity.Source != "appservice" {
		t.Errorf("without a file the source is %q (%v)", c.Identity.Source, err)
	}
}
