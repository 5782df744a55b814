package learn

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func public(tb testing.TB) *azure.Cloud {
	tb.Helper()
	cloud, ok := azure.CloudNamed("public")
	if !ok {
		tb.Fatal("the catalogue has no public cloud")
	}
	return cloud
}

func compiled(tb testing.TB, rules ...route.Rule) *route.Table {
	tb.Helper()
	table, err := route.Compile(rules, public(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return table
}

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func report(tb testing.TB, r *Recorder, table *route.Table) string {
	tb.Helper()
	return string(r.Report(ReportOptions{Cloud: public(tb), Routes: table, Now: noon.Add(time.Hour), Principal: func(imds.Identity) string { return "not an id; rm -rf /" }}))
}

func wants(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log("\n" + text)
	}
}

func TestReportSaysAllThatARouteHas(t *testing.T) {
	table := compiled(t,
		route.Rule{
			Hosts: []string{"payroll.vault.azure.net"}, Paths: []string{"/secrets/*"}, Gateway: "vault", Required: true,
			Identity: imds.Identity{ClientID: "00000000-0000-0000-0000-00000000000a"}, Own: route.OwnRefuse, RequireHeader: map[string]string{"X-App": `pay"roll`},
		},
		route.Rule{Hosts: []string{"api.contoso.internal:8443"}, Audience: "api://contoso", Upgrades: []string{"websocket"}},
		route.Rule{Service: "arm", Gateway: "arm"},
		route.Rule{Hosts: []string{"old.vault.azure.net"}, Gateway: "old"},
	)
	routes := table.Routes()
	r := New(noon)
	user := &caller.Caller{Known: true, UID: 4_000_001}
	for range 3 {
		r.Call(&Call{Route: routes[0], Host: "payroll.vault.azure.net", Port: 443, Operation: azure.Operation{Name: "keyvault.secret.get"}, Caller: user, Denied: true})
	}
	r.Call(&Call{Route: routes[0], Suspended: true, Host: "payroll.vault.azure.net", Port: 443, Operation: azure.Operation{Name: "keyvault.key.backup", Mints: true}, Caller: user})
	r.Call(&Call{Route: routes[1], Host: "api.contoso.internal", Port: 8443, Operation: azure.Operation{Name: "api.get"}, Caller: &caller.Caller{Certificates: []string{"app.example"}}})
	r.Call(&Call{Route: routes[2], Host: "westeurope.management.azure.com", Port: 443, Operation: azure.Operation{Name: "arm.vm.restart"}})
	text := report(t, r, table)
	wants(t, text, `
  # From keyvault (routes[0]).
  - service: keyvault
    hosts: ["payroll.vault.azure.net"]
    identity: {client_id: "00000000-0000-0000-0000-00000000000a"}
    paths: ["/secrets/*"]
    callers: {users: ["4000001"]}
    require_header: {"X-App": "pay\"roll"}
    gateway: vault
    required: true
    own: refuse
    operations:
      - keyvault.secret.get # 3 calls; the service refused 3
`, `
  - hosts: ["api.contoso.internal:8443"]
    audience: "api://contoso"
    identity: {}
    callers: {certificates: ["app.example"]}
    own: pass
    upgrades: ["websocket"]
    operations:
      - api.get # 1 call
`, `
    hosts: ["management.azure.com", "*.management.azure.com"]
    identity: {}
`, `
  # No route takes these calls; keyvault (routes[0]) comes closest.
  - service: keyvault
    hosts: ["payroll.vault.azure.net"]
    identity: {client_id: "00000000-0000-0000-0000-00000000000a"}
    callers: {users: ["4000001"]}
    require_header: {"X-App": "pay\"roll"}
    required: true
    own: refuse
    operations:
      - keyvault.key.backup # 1 call; it GIVES A CREDENTIAL`,
		"# keyvault-2 (routes[3]) has taken no call and is left out.", "# The gateway old has taken no call",
		`--assignee-object-id "$PRINCIPAL"`, "no role for api.get", `"Actions":["microsoft.compute/virtualmachines/restart/action"]`,
	)
	if strings.Contains(text, "rm -rf") {
		t.Error("a token's claim is in a command")
	}
}

// Callers that did the same share a route, and where one of them is not known,
// everybody may.
func TestCallersThatDidTheSameShareARoute(t *testing.T) {
	table := compiled(t, route.Rule{Hosts: []string{"a.vault.azure.net", "b.vault.azure.net"}})
	r := New(noon)
	see := func(host, operation string, who *caller.Caller) {
		r.Call(&Call{Route: table.Routes()[0], Host: host, Port: 443, Operation: azure.Operation{Name: operation}, Caller: who})
	}
	one, two := &caller.Caller{Known: true, UID: 4_000_001}, &caller.Caller{Known: true, UID: 4_000_002}
	see("a.vault.azure.net", "keyvault.secret.get", one)
	see("a.vault.azure.net", "keyvault.secret.get", two)
	see("b.vault.azure.net", "keyvault.secret.get", one)
	see("b.vault.azure.net", "keyvault.secret.get", &caller.Caller{Unknown: "its socket has no owner"})
	text := report(t, r, table)
	wants(t, text, `hosts: ["a.vault.azure.net"]
    callers: {users: ["4000001", "4000002"]}
    operations:
      - keyvault.secret.get # 2 calls`, `hosts: ["b.vault.azure.net"]
    # Some of these calls came from nobody that is known`)
	if n := strings.Count(text, "- service:"); n != 2 {
		t.Errorf("there are %d routes, want 2", n)
	}
}

func TestWhatNoRestrictedRouteTakesIsTold(t *testing.T) {
	table := compiled(t, route.Rule{Hosts: []string{"a.vault.azure.net"}})
	r := New(noon)
	r.Call(&Call{Route: table.Routes()[0], Obstacle: "it is none\nroutes: []", Host: "a.vault.azure.net", Port: 443, Operation: azure.Operation{Name: "keyvault.unknown", Reason: "x"}})
	r.Unrouted("other.blob.core.windows.net")
	r.Unrouted("login.microsoftonline.com")
	r.Login(&Login{Client: "00000000-0000-0000-0000-00000000000a", Audience: "https://vault.azure.net"})
	wants(t, report(t, r, table), "\nroutes: []\n", "# keyvault.unknown at a.vault.azure.net by an unknown caller, 1 call: it is none?routes: []\n",
		"# other.blob.core.windows.net, 1 connection (service: storage)", "# login.microsoftonline.com, 1 connection (logins",
		`# a client secret: login of "00000000-0000-0000-0000-00000000000a" for "https://vault.azure.net"`)
}

func TestCredentialsAreListed(t *testing.T) {
	table := compiled(t, route.Rule{Service: "storage"})
	r := New(noon)
	for account, brought := range map[string]Brought{"signs": SharedKey, "shares": Signature, "logs": ClientSecret, "user": OwnToken, "clean": Nothing} {
		r.Call(&Call{Route: table.Routes()[0], Host: account + ".blob.core.windows.net", Port: 443, Operation: azure.Operation{Name: "storage.blob.get"}, Brought: brought})
	}
	text := report(t, r, table)
	wants(t, text, "# a shared key: storage.blob.get at signs.", "# a shared access signature: storage.blob.get at shares.", "# a placeholder, of a login with a client secret: storage.blob.get at logs.",
		"# a token of its own: storage.blob.get at user.", "account update --name signs ", "account update --name clean ", "# shares: its keys are needed while 1 call still")
	if strings.Contains(text, "account update --name shares") || strings.Contains(text, "account show --name user ") {
		t.Errorf("the report goes too far:\n%s", text)
	}
}

// Callers choose hosts, but not how much memory they take.
func TestMemoryIsBounded(t *testing.T) {
	table := compiled(t, route.Rule{Service: "storage"})
	r := New(noon)
	const more = 10
	for i := range maxEntries + more {
		r.Call(&Call{Route: table.Routes()[0], Host: fmt.Sprintf("a%d.blob.core.windows.net", i), Port: 443, Operation: azure.Operation{Name: "storage.blob.get"}})
		r.Unrouted(fmt.Sprintf("a%d.vault.azure.net", i))
		r.Login(&Login{Client: fmt.Sprint(i)})
	}
	r.Call(&Call{Route: table.Routes()[0], Host: "x.blob.core.windows.net", Caller: &caller.Caller{Certificates: []string{strings.Repeat("x", maxName+1)}}})
	want := uint64(more + 1 + 2*(maxEntries+more) - maxHosts - maxLogins)
	if kinds, dropped := r.Counts(); kinds != maxEntries || dropped != want || len(r.hosts) != maxHosts || len(r.logins) != maxLogins {
		t.Errorf("%d kinds, %d hosts, %d logins, %d dropped (want %d)", kinds, len(r.hosts), len(r.logins), dropped, want)
	}
	if text := report(t, r, table); !strings.Contains(text, fmt.Sprintf("# INCOMPLETE: %d calls", want)) {
		t.Error("the report does not say that it is incomplete")
	}
}

func TestBroughtBy(t *testing.T) {
	for value, want := range map[string]Brought{"SharedKey a:b": SharedKey, "sharedkeylite a:b": SharedKey, "Basic x": Other, "": Other} {
		if got := BroughtBy(&azure.Call{Header: azure.Header{"Authorization": {value}}}, azure.Dead); got != want {
			t.Errorf("%q: %d, want %d", value, got, want)
		}
	}
}
