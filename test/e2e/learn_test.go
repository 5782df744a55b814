//go:build e2e

package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// Programs that nobody has looked into are learned, with routes that refuse half
// of what they do, and then served by what was learned, which refuses the rest.
func TestProgramsWorkByLearnedRoutes(t *testing.T) {
	const coarse = `
  - {service: storage, hosts: [acct.blob.core.windows.net], gateway: blob, methods: [GET, HEAD]}
  - {service: storage, hosts: [acct.queue.core.windows.net], gateway: queue, operations: [storage.queue.message.get]}
  - {service: storage, hosts: [acct.table.core.windows.net], gateway: table}
`
	programs := []client{
		script("azure-storage 2.x for Node.js", "node", filepath.Join(env.NPM, "legacy.mjs")),
		script("Azure SDK for Python", rig.Python, clientFile("storage_key.py")),
	}
	file := filepath.Join(t.TempDir(), "learned.yaml")
	start := func(routes string, args ...string) *rig.Daemon {
		t.Helper()
		return env.Start(t, rig.Settings{IMDS: rig.StartIMDS(t, imdstest.Options{}), Upstream: env.store.ConnectTo(), Routes: routes, Run: args})
	}
	d, s := start(coarse, "--learn", file), viaProxyVariables()
	for i, c := range programs {
		c.run(t, d, s, connectionString(d, s), container(t)+"learning"+string('a'+rune(i)))
	}
	d.Stop()
	learned, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`az role assignment create --role "Storage Blob Data Contributor"`, "az storage account update --name acct --allow-shared-key-access false", "# a shared key: storage.queue.message.put at acct.queue.core.windows.net",
	} {
		if !strings.Contains(string(learned), want) {
			t.Errorf("the file lacks %s", want)
		}
	}
	if strings.Contains(string(learned), "learninga") || strings.Contains(string(learned), dummyKey) {
		t.Error("the file tells more than it should")
	}
	_, routes, _ := strings.Cut(string(learned), "\nroutes:\n")
	d = start(routes)
	for i, c := range programs {
		t.Run(c.name, func(t *testing.T) { c.run(t, d, s, connectionString(d, s), container(t)+string('a'+rune(i))) })
	}
	url := s.base(d, rig.BlobHost, "blob") + "/"
	if got := curl(t, d, s, url+"?restype=service&comp=properties"); got.status != http.StatusForbidden || !strings.Contains(got.body, "BearerdNotPermitted") {
		t.Errorf("what was not seen got %d %s", got.status, got.body)
	}
	if t.Failed() {
		t.Logf("learned:\n%s", learned)
	}
}
