package route

import (
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/caller"
)

func TestLearningSuspendsWhatIsCalledAndNothingElse(t *testing.T) {
	payroll := caller.Names{Users: []caller.Account{{Name: "payroll", ID: 7}}}
	table, err := Compile([]Rule{
		{Name: "own", Hosts: []string{"a.vault.azure.net"}, Callers: payroll, Paths: []string{"/secrets/db"}},
		{Name: "read", Hosts: []string{"a.vault.azure.net", "b.vault.azure.net"}, Methods: []string{"GET"}},
		{Name: "app", Hosts: []string{"acct.blob.core.windows.net"}, Operations: []string{"storage.blob.get"}, RequireHeader: map[string]string{"X-App": "reports"}},
		{Name: "any", Hosts: []string{"c.vault.azure.net"}},
	}, cloudNamed(t, "public"))
	if err != nil {
		t.Fatal(err)
	}
	const copies = "X-Ms-Copy-Source"
	for _, c := range []struct {
		what, method, url string
		header            azure.Header
		uid               uint32
		action            Action
		route             string
		suspended         bool
		obstacle          string
	}{
		{what: "a call that is taken whole", method: "GET", url: "a.vault.azure.net/secrets/x", action: Inject, route: "read"},
		{what: "a method", method: "PUT", url: "b.vault.azure.net/secrets/x", action: Inject, route: "read", suspended: true},
		{what: "a credential", method: "POST", url: "b.vault.azure.net/secrets/x/backup", action: Inject, route: "read", suspended: true},
		{what: "the closest of two", method: "PUT", url: "a.vault.azure.net/secrets/x", uid: 7, action: Inject, route: "own", suspended: true},
		{what: "another's route", method: "PUT", url: "a.vault.azure.net/secrets/x", uid: 8, action: Inject, route: "read", suspended: true},
		{what: "a field that is required", method: "PUT", url: "acct.blob.core.windows.net/c/b", action: Refuse, route: "app"},
		{what: "with it", method: "PUT", url: "acct.blob.core.windows.net/c/b", header: azure.Header{"X-App": {"reports"}, "X-Ms-Blob-Type": {"BlockBlob"}}, action: Inject, route: "app", suspended: true},
		{what: "TRACE", method: "TRACE", url: "b.vault.azure.net/secrets/x", action: Refuse, route: "read"},
		{what: "a host without a route", method: "GET", url: "d.vault.azure.net/secrets/x", action: Tunnel},
		{what: "what is not understood", method: "GET", url: "c.vault.azure.net/what", action: Inject, route: "any", obstacle: "none of the service's documented requests"},
		{what: "a source of nobody's", method: "PUT", url: "acct.blob.core.windows.net/c/b", header: azure.Header{"X-App": {"reports"}, copies: {"https://other.blob.core.windows.net/c/b"}}, action: Inject, route: "app", suspended: true, obstacle: "no route names the host of the source"},
	} {
		host, path, _ := strings.Cut(c.url, "/")
		d := table.Learning().Decide(&azure.Call{Method: c.method, Scheme: "https", Host: host, Path: "/" + path, Header: c.header}, &caller.Caller{Known: true, UID: c.uid}, time.Now())
		var name string
		if d.Route != nil {
			name = d.Route.Name
		}
		if d.Action != c.action || name != c.route || d.Suspended != c.suspended || !strings.Contains(d.Obstacle, c.obstacle) || c.obstacle == "" && d.Obstacle != "" {
			t.Errorf("%s: %s by %q, suspended %v, obstacle %q (%s)", c.what, d.Action, name, d.Suspended, d.Obstacle, d.Reason)
		}
	}
}

// The table itself goes on refusing.
func TestLearningLeavesTheTable(t *testing.T) {
	table, err := Compile([]Rule{{Hosts: []string{"a.vault.azure.net"}, Methods: []string{"GET"}}}, cloudNamed(t, "public"))
	if err != nil {
		t.Fatal(err)
	}
	table.Learning()
	if d := table.Decide(&azure.Call{Method: "PUT", Scheme: "https", Host: "a.vault.azure.net", Path: "/secrets/x"}, nil, time.Now()); d.Action != Refuse || d.Obstacle != "" {
		t.Errorf("the decision is %+v", d)
	}
}
