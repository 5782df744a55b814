// Package test holds what concerns the whole tree.
package test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/bearerd/bearerd/"

type floor struct {
	name  string
	below []string
}

// floors lists what each package may import of its siblings, from the ground
// up. Arrows never run up, and what is not listed here may import nothing.
var floors = []floor{
	{"metrics", nil},
	{"deploy/grafana", []string{"metrics"}},
	{"deploy/docker/image", nil},
	{"deploy/package/sbom", nil},
	{"deploy/prometheus", nil},
	{"imds", nil},
	{"imds/imdstest", nil},
	{"imds/source", []string{"imds"}},
	{"proxy/audit", nil},
	{"proxy/azure", nil},
	{"proxy/caller", nil},
	{"proxy/dial", nil},
	{"proxy/trace", nil},
	{"proxy/authority", nil},
	{"proxy/authority/trust", nil},
	// Nothing that serves a call may have this below it: what changes the kernel's
	// rules takes a privilege that the daemon is to run without.
	{"proxy/redirect", nil},
	{"cache", []string{"imds"}},
	{"proxy/route", []string{"imds", "proxy/azure", "proxy/caller"}},
	{"proxy/listen", []string{"proxy/caller"}},
	{"proxy/entra", []string{"proxy/azure", "proxy/route"}},
	{"proxy/learn", []string{"imds", "proxy/azure", "proxy/caller", "proxy/route"}},
	{"proxy", []string{"cache", "imds", "metrics", "proxy/audit", "proxy/azure", "proxy/caller", "proxy/dial", "proxy/entra", "proxy/learn", "proxy/listen", "proxy/route", "proxy/trace"}},
	{"proxy/metadata", []string{"cache", "imds", "proxy", "proxy/audit", "proxy/caller"}},
	{"test/azuretest", nil},
	{"test/recorded", nil},
	{"cmd/internal/admin", []string{"proxy", "proxy/azure"}},
	{"cmd/internal/daemon", []string{"cache", "cmd/internal/admin", "imds", "imds/source", "metrics", "proxy", "proxy/audit", "proxy/authority", "proxy/azure", "proxy/caller", "proxy/dial", "proxy/entra", "proxy/learn", "proxy/listen", "proxy/metadata", "proxy/redirect", "proxy/route", "proxy/trace"}},
	{"cmd/bearerd", []string{"cache", "cmd/internal/daemon", "imds", "imds/source", "proxy", "proxy/authority", "proxy/authority/trust", "proxy/azure", "proxy/caller", "proxy/dial", "proxy/entra", "proxy/listen", "proxy/redirect", "proxy/route"}},
	{"cmd/bearerd-demo", []string{"cmd/internal/daemon", "imds/imdstest", "test/azuretest"}},
	{"test", nil},
	{"test/e2e", nil},
	{"test/e2e/kubernetes", nil},
	{"test/e2e/monitoring", nil},
	{"test/e2e/packages", nil},
	{"test/e2e/redirect", nil},
	{"test/e2e/steering", nil},
	{"test/e2e/steering/app", nil},
	{"test/e2e/systemd", nil},
	{"test/e2e/transparent", nil},
	{"test/e2e/rig", []string{"imds/imdstest", "test/azuretest"}},
}

// only lists packages of others that one package alone may import, and why.
var only = []struct{ imported, by, reason string }{
	{"github.com/caddyserver/certmagic", "proxy/authority", "what mints certificates is hidden there"},
	{"golang.org/x/time/rate", "cache", "how often IMDS is asked is decided there"},
	{"github.com/spf13/cobra", "cmd/bearerd", "the data plane and the demo have no command line"},
	{"go.yaml.in/yaml/v3", "cmd/internal/daemon", "what the file looks like is hidden there"},
	{"github.com/prometheus/client_golang/prometheus", "metrics", "every metric is named there"},
	{"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity", "imds/source", "what asks other sources is hidden there"},
	{"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential", "imds/source", "what asks other sources is hidden there"},
	{"go.opentelemetry.io/otel/sdk/trace", "proxy/trace", "OpenTelemetry is hidden there"},
	{"github.com/google/nftables", "proxy/redirect", "the kernel's rules are read and written there alone"},
	{"github.com/coreos/go-systemd/v22/activation", "cmd/bearerd", "the environment of the process is read there"},
	{"github.com/coreos/go-systemd/v22/daemon", "cmd/bearerd", "the environment of the process is read there"},
	{"github.com/coreos/go-systemd/v22/journal", "cmd/bearerd", "the environment of the process is read there"},
	{"github.com/miekg/dns", "proxy/dial", "how names are resolved is hidden there"},
	{"software.sslmate.com/src/go-pkcs12", "proxy/authority/trust", "the formats of trust stores are hidden there"},
}

func TestImportsRunOneWay(t *testing.T) {
	for name, imports := range packages(t) {
		at := find(floors, name)
		if at < 0 {
			t.Errorf("%s has no place; give it one in floors", name)
			continue
		}
		for _, imported := range imports {
			if sibling, ok := strings.CutPrefix(imported, module); ok && !slices.Contains(floors[at].below, sibling) {
				t.Errorf("%s imports %s, which is no floor below it", name, sibling)
			}
			for _, o := range only {
				if imported == o.imported && name != o.by {
					t.Errorf("%s imports %s; only %s may, for %s", name, imported, o.by, o.reason)
				}
			}
		}
	}
}

func find(list []floor, name string) int {
	return slices.IndexFunc(list, func(f floor) bool { return f.name == name })
}

// Every arrow that is allowed goes down.
func TestFloorsHaveNoCircle(t *testing.T) {
	for i, f := range floors {
		for _, below := range f.below {
			if find(floors[:i], below) < 0 {
				t.Errorf("%s may import %s, which does not stand before it", f.name, below)
			}
		}
	}
}

// packages gives what each package of the module imports, tests left out.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := make(map[string][]string)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		found[strings.TrimPrefix(fields[0], module)] = fields[1:]
	}
	if len(found) < 10 {
		t.Fatalf("go list found %d packages alone", len(found))
	}
	return found
}
