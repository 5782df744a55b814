package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/proxy/azure"
)

func cloudNamed(t testing.TB, name string) *azure.Cloud {
	t.Helper()
	cloud, ok := azure.CloudNamed(name)
	if !ok {
		t.Fatalf("no cloud %q", name)
	}
	return cloud
}

func compile(t testing.TB, rules ...Rule) *Table {
	t.Helper()
	table, err := Compile(rules, cloudNamed(t, "public"))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// Each mistake that a rule can hold, with the words that the operator sees.
func TestCompileRefuses(t *testing.T) {
	vault := func(change func(*Rule)) []Rule {
		r := Rule{Service: "keyvault"}
		change(&r)
		return []Rule{r}
	}
	for _, test := range []struct {
		rules []Rule
		want  string
	}{
		{[]Rule{{}}, "routes[0]: it names neither a service nor hosts; name one"},
		{vault(func(r *Rule) { r.Service = "vault" }), `routes[0].service: no service is called "vault" in the cloud public; use one of keyvault, managedhsm, storage, arm, appconfig, search, cognitiveservices, graph, loganalytics, servicebus, eventhubs, signalr, webpubsub, monitor, kusto, digitaltwins, eventgrid, synapse, or hosts with an audience`},
		{vault(func(r *Rule) { r.Name = "pay roll" }), `routes[0].name: "pay roll" is no name for a route; use up to 63 letters, digits, dots, hyphens and underscores`},
		{[]Rule{{Name: "a", Service: "keyvault"}, {Name: "a", Service: "storage"}}, `routes[1].name: routes[0] is called "a" too; give each route a name of its own`},
		{vault(func(r *Rule) { r.Hosts = []string{"a.vault.azure.net", "https://b.vault.azure.net"} }), `routes[0].hosts[1]: "https://b.vault.azure.net" is no host: the port is no number; write it like payroll.vault.azure.net, with :port where it is not 443`},
		{vault(func(r *Rule) { r.Hosts = []string{"payroll.vаult.azure.net"} }), `routes[0].hosts[0]: "payroll.vаult.azure.net" is no host: the host holds the byte 'Ð'; write it like payroll.vault.azure.net, with :port where it is not 443`},
		{vault(func(r *Rule) { r.Hosts = []string{"pay*.vault.azure.net"} }), `routes[0].hosts[0]: "pay*.vault.azure.net": a * stands for the first label alone; write *.example.com, or name exact hosts`},
		{vault(func(r *Rule) { r.Hosts = []string{"10.0.0.5"} }), "routes[0].hosts[0]: an address cannot be routed, for its certificate would vouch for no service; name a host, and where it is in upstream.connect_to"},
		{vault(func(r *Rule) { r.Hosts = []string{"[::1]:443"} }), "routes[0].hosts[0]: an address cannot be routed, for its certificate would vouch for no service; name a host, and where it is in upstream.connect_to"},
		{vault(func(r *Rule) { r.Hosts = []string{"0x7f.1"} }), "routes[0].hosts[0]: an address cannot be routed, for its certificate would vouch for no service; name a host, and where it is in upstream.connect_to"},
		{vault(func(r *Rule) { r.Hosts = []string{"payroll.vault.azure.com"} }), "routes[0].hosts[0]: payroll.vault.azure.com is not known as a name of keyvault in the cloud public; correct it, or name the audience in the route to vouch for it"},
		{vault(func(r *Rule) { r.Hosts = []string{"a.b.vault.azure.net"} }), "routes[0].hosts[0]: a.b.vault.azure.net is not known as a name of keyvault in the cloud public; correct it, or name the audience in the route to vouch for it"},
		{vault(func(r *Rule) {
			r.Hosts = []string{"acct.blob.core.windows.net"}
			r.Audience = "https://vault.azure.net"
		}), "routes[0].hosts[0]: acct.blob.core.windows.net belongs to storage, not to keyvault; correct one of them"},
		{[]Rule{{Hosts: []string{"a.vault.azure.net", "b.blob.core.windows.net"}}}, "routes[0].hosts: a.vault.azure.net and b.blob.core.windows.net belong to different services; give each a route of its own"},
		{[]Rule{{Hosts: []string{"a.vault.azure.net", "api.contoso.internal"}, Audience: "api://x"}}, "routes[0].hosts: a.vault.azure.net and api.contoso.internal belong to different services; give each a route of its own"},
		{[]Rule{{Hosts: []string{"api.contoso.internal"}}}, "routes[0].audience: api.contoso.internal belongs to no service that is known in the cloud public; name the service, or the audience of its tokens"},
		{[]Rule{{Hosts: []string{"ours.servicebus.windows.net"}}}, "routes[0].audience: ours.servicebus.windows.net belongs to no service that is known in the cloud public; name the service, or the audience of its tokens"},
		{[]Rule{{Hosts: []string{"api.contoso.internal"}, Audience: "api://x/.default"}}, `routes[0].audience: "api://x/.default" is a scope, and an audience is wanted; write "api://x"`},
		{[]Rule{{Hosts: []string{"*.internal"}, Audience: "api://x"}}, "routes[0].hosts[0]: *.internal reaches over a whole top-level domain; name exact hosts"},
		{[]Rule{{Hosts: []string{"*.azurewebsites.net"}, Audience: "api://x"}}, "routes[0].hosts[0]: anyone can own a name under azurewebsites.net and receive what is sent there; name exact hosts instead of *.azurewebsites.net"},

		// Whoever owns a Relay namespace receives what is sent there.
		{[]Rule{{Service: "servicebus"}}, "routes[0].hosts: servicebus has no names that are safe to match as a whole; name exact hosts"},
		{[]Rule{{Service: "eventhubs"}}, "routes[0].hosts: eventhubs has no names that are safe to match as a whole; name exact hosts"},
		{[]Rule{{Service: "kusto"}}, "routes[0].hosts: kusto has no names that are safe to match as a whole; name exact hosts"},
		{[]Rule{{Service: "servicebus", Hosts: []string{"*.servicebus.windows.net"}}}, "routes[0].hosts[0]: anyone can own a name under servicebus.windows.net and receive what is sent there; name exact hosts instead of *.servicebus.windows.net"},
		{[]Rule{{Service: "kusto", Hosts: []string{"*.westeurope.kusto.windows.net"}}}, "routes[0].hosts[0]: *.westeurope.kusto.windows.net covers names that strangers may own; name exact hosts"},

		{vault(func(r *Rule) { r.Methods = []string{"GET", ""} }), `routes[0].methods[1]: "" is no method; write it like GET`},
		{vault(func(r *Rule) { r.Methods = []string{"get"} }), "routes[0].methods[0]: methods are compared by case; write GET"},
		{vault(func(r *Rule) { r.Methods = []string{"TRACE"} }), "routes[0].methods[0]: TRACE is never forwarded with a token; remove it"},
		{vault(func(r *Rule) { r.Paths = []string{"secrets/*"} }), `routes[0].paths[0]: "secrets/*" does not start with a slash; write it like /secrets/*`},
		{vault(func(r *Rule) { r.Paths = []string{"/secrets/app-*"} }), `routes[0].paths[0]: "/secrets/app-*" has a * beside other characters; * stands for a whole segment and ** for many`},
		{vault(func(r *Rule) { r.Paths = []string{"/secrets/a?x=y"} }), `routes[0].paths[0]: "/secrets/a?x=y" holds '?', which no path that is taken has; write the path alone, unescaped`},
		{vault(func(r *Rule) { r.Paths = []string{"/secrets/a%20b"} }), `routes[0].paths[0]: "/secrets/a%20b" holds '%', which no path that is taken has; write the path alone, unescaped`},
		{vault(func(r *Rule) { r.Paths = []string{"/a/../b"} }), `routes[0].paths[0]: "/a/../b" can never match: it has a dot segment; remove that`},
		{vault(func(r *Rule) { r.Paths = []string{"/a//b"} }), `routes[0].paths[0]: "/a//b" can never match: it has an empty segment; remove that`},
		{vault(func(r *Rule) { r.RequireHeader = map[string]string{"X Caller": "a"} }), `routes[0].require_header: "X Caller" is no header field; write it like X-Vault-Caller`},
		{vault(func(r *Rule) { r.RequireHeader = map[string]string{"host": "a"} }), "routes[0].require_header: Host cannot be required, for it says something already; choose another field"},
		{vault(func(r *Rule) { r.RequireHeader = map[string]string{"x-caller": ""} }), "routes[0].require_header: the value of X-Caller is empty, begins or ends with a space, or holds a control character; give it one that a call can send"},
		{vault(func(r *Rule) { r.Upgrades = []string{"h2c"} }), `routes[0].upgrades[0]: "h2c" is never forwarded; only websocket can be listed`},
		{vault(func(r *Rule) { r.Own = 7 }), "routes[0].own: Own(7) is not known; use pass, replace or refuse"},
		{vault(func(r *Rule) { r.Gateway = "Vault" }), `routes[0].gateway: "Vault" is no name for a base URL; use up to 63 lower-case letters, digits and hyphens`},
		{vault(func(r *Rule) { r.Gateway = "vault" }), "routes[0].gateway: a base URL leads to one host, and the route names *.vault.azure.net, *.vaultcore.azure.net, *.privatelink.vaultcore.azure.net; name exactly one host without a star"},
		{vault(func(r *Rule) { r.Gateway = "vault"; r.Hosts = []string{"a.vault.azure.net", "b.vault.azure.net"} }), "routes[0].gateway: a base URL leads to one host, and the route names a.vault.azure.net, b.vault.azure.net; name exactly one host without a star"},
		{[]Rule{{Service: "arm", Gateway: "x"}, {Service: "graph", Gateway: "x"}}, `routes[1].gateway: routes[0] has the gateway "x" too; give each its own name`},
		{[]Rule{{Service: "keyvault"}, {Service: "keyvault", Hosts: []string{"a.vault.azure.net"}, Methods: []string{"GET"}}}, "routes[1]: it never applies, for routes[0] takes every call to its hosts before it; put it first, or remove it"},
	} {
		_, err := Compile(test.rules, cloudNamed(t, "public"))
		var mistake *RuleError
		if err == nil || err.Error() != test.want || !errors.As(err, &mistake) {
			t.Errorf("got  %v\nwant %s", err, test.want)
		}
	}
}

func TestCompileTellsEveryMistake(t *testing.T) {
	_, err := Compile([]Rule{
		{Service: "keyvault", Methods: []string{"get", "put"}, Paths: []string{"x"}},
		{Service: "storage"},
		{Service: "none", Identity: imds.Identity{ClientID: "00000000-0000-0000-0000-000000000001", ObjectID: "00000000-0000-0000-0000-000000000002"}},
	}, cloudNamed(t, "public"))
	var fields []string
	for _, line := range strings.Split(fmt.Sprint(err), "\n") {
		field, _, _ := strings.Cut(line, ":")
		fields = append(fields, field)
	}
	if want := []string{"routes[0].methods[0]", "routes[0].methods[1]", "routes[0].paths[0]", "routes[2].service", "routes[2].identity"}; !slices.Equal(fields, want) {
		t.Errorf("%v, want %v", fields, want)
	}
}

func TestRoutesAreComplete(t *testing.T) {
	table := compile(t,
		Rule{Service: "keyvault", Hosts: []string{"Payroll.Vault.Azure.Net"}, Gateway: "vault", Required: true},
		Rule{Service: "keyvault", Hosts: []string{"*.vault.azure.net"}},
		Rule{Hosts: []string{"acct.file.core.windows.net"}}, // told from its host
		Rule{Name: "keyvault-3", Service: "keyvault", Hosts: []string{"vault.corp.example"}, Audience: "https://vault.corp.example"},
		Rule{Hosts: []string{"*.contoso.internal:8443"}, Audience: "api://contoso"},
		Rule{Service: "servicebus", Hosts: []string{"ours.servicebus.windows.net"}, Gateway: "bus"},
		Rule{Service: "keyvault"},
		Rule{Service: "arm", Gateway: "arm"},
		Rule{Hosts: []string{"api.contoso.internal:9443"}, Audience: "api://x", Methods: []string{"GET"}, Gateway: "api"},
	)
	var got []string
	for _, r := range table.Routes() {
		got = append(got, fmt.Sprintf("%s %s %s %s %s:%d", r.Name, r.Service.Name, r.Audience, r.Service.Audience, r.GatewayHost, r.GatewayPort))
	}
	want := []string{
		"keyvault keyvault https://vault.azure.net https://vault.azure.net payroll.vault.azure.net:443",
		"keyvault-2 keyvault https://vault.azure.net https://vault.azure.net :0",
		"storage storage https://storage.azure.com/ https://storage.azure.com/ :0",
		"keyvault-3 keyvault https://vault.corp.example https://vault.corp.example :0",
		"contoso.internal contoso.internal api://contoso api://contoso :0",
		"servicebus servicebus https://servicebus.azure.net/ https://servicebus.azure.net/ ours.servicebus.windows.net:443",
		"keyvault-4 keyvault https://vault.azure.net https://vault.azure.net :0",
		"arm arm https://management.azure.com/ https://management.azure.com/ management.azure.com:443",
	}
	if !slices.Equal(got[:8], want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if names := table.Gateways(); !slices.Equal(names, []string{"api", "arm", "bus", "vault"}) {
		t.Error(names)
	}
	if r, ok := table.Gateway("api"); !ok || r.GatewayHost != "api.contoso.internal" || r.GatewayPort != 9443 {
		t.Errorf("%+v", r)
	}
	if r, ok := table.Gateway("ARM"); ok {
		t.Errorf("%+v", r)
	}
	suffixes, hosts := table.Domains()
	if want := []string{"contoso.internal", "management.azure.com", "privatelink.vaultcore.azure.net", "vault.azure.net", "vaultcore.azure.net"}; !slices.Equal(suffixes, want) {
		t.Errorf("suffixes %v", suffixes)
	}
	if want := []string{"acct.file.core.windows.net", "api.contoso.internal", "management.azure.com", "ours.servicebus.windows.net", "payroll.vault.azure.net", "vault.corp.example"}; !slices.Equal(hosts, want) {
		t.Errorf("hosts %v", hosts)
	}
}

// A route that is not covered whole by an earlier one is no mistake.
func TestOverlapIsNoMistake(t *testing.T) {
	for _, rules := range [][]Rule{
		{{Service: "keyvault", Hosts: []string{"a.vault.azure.net"}}, {Service: "keyvault"}},
		{{Service: "keyvault", Methods: []string{"GET"}}, {Service: "keyvault", Methods: []string{"GET"}}},
		{{Service: "keyvault", Hosts: []string{"a.vault.azure.net"}}, {Service: "keyvault", Hosts: []string{"a.vault.azure.net:8443"}}},
		{{Service: "keyvault", Hosts: []string{"a.vault.azure.net"}}, {Service: "keyvault", Hosts: []string{"a.vault.azure.net"}, Upgrades: []string{"websocket"}}},
		{{Service: "keyvault", Hosts: []string{"a.vault.azure.net"}}, {Service: "keyvault", Hosts: []string{"a.vault.azure.net", "b.vault.azure.net"}}},
	} {
		compile(t, rules...)
	}
}

func TestDefaults(t *testing.T) {
	for _, name := range azure.CloudNames() {
		cloud := cloudNamed(t, name)
		table, err := Compile(Defaults(cloud), cloud)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range table.Routes() {
			got = append(got, fmt.Sprint(r.Name, r.Methods, r.Gateway))
		}
		if want := []string{"keyvault[]", "storage[]", "arm[GET HEAD]arm"}; !slices.Equal(got, want) {
			t.Errorf("%s: %v", name, got)
		}
	}
	own, err := azure.NewCloud(azure.Definition{Name: "own", Services: []azure.ServiceDefinition{{Name: "keyvault", Like: "keyvault", Audience: "api://v", Suffixes: []string{"vault.example"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if rules := Defaults(own); len(rules) != 1 || rules[0].Service != "keyvault" {
		t.Errorf("%+v", rules)
	}
}

func TestParseOwn(t *testing.T) {
	for _, own := range []Own{OwnPass, OwnReplace, OwnRefuse} {
		if got, err := ParseOwn(own.String()); err != nil || got != own {
			t.Errorf("%s gives %s, %v", own, got, err)
		}
	}
	if _, err := ParseOwn("Pass"); err == nil {
		t.Error("Pass is taken")
	}
}

// A base URL of several hosts leads to the one where the service answers
// everybody; the others are where that sends callers on to.
func TestGatewayOfSeveralHosts(t *testing.T) {
	for _, tt := range []struct {
		cloud string
		hosts []string
		want  string // empty: refused
	}{
		{"usgov", []string{"usgovvirginia.management.usgovcloudapi.net", "management.usgovcloudapi.net"}, "management.usgovcloudapi.net"},
		{"public", []string{"*.management.azure.com", "management.azure.com"}, "management.azure.com"},
		{"public", []string{"westus.management.azure.com", "eastus.management.azure.com"}, ""},
		{"public", []string{"*.management.azure.com"}, ""},
	} {
		table, err := Compile([]Rule{{Service: "arm", Hosts: tt.hosts, Gateway: "arm"}}, cloudNamed(t, tt.cloud))
		if tt.want == "" {
			if err == nil || !strings.Contains(err.Error(), "a base URL leads to one host") {
				t.Errorf("%v: %v", tt.hosts, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		r := table.Routes()[0]
		if r.GatewayHost != tt.want || r.GatewayPort != 443 {
			t.Errorf("%v leads to %s:%d", tt.hosts, r.GatewayHost, r.GatewayPort)
		}
		for _, host := range tt.hosts {
			if host := strings.Replace(host, "*", "westus", 1); !r.Names(host, 443) || r.Names(host, 8443) || r.Names("x."+host+".example", 443) {
				t.Errorf("%v: %s is not told apart", tt.hosts, host)
			}
		}
	}
}
