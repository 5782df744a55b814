//go:build e2e

package e2e

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

const storageRoutes = `
  - {service: storage, hosts: [acct.blob.core.windows.net], gateway: blob}
  - {service: storage, hosts: [acct.queue.core.windows.net], gateway: queue}
  - {service: storage, hosts: [acct.table.core.windows.net], gateway: table}
`

func startForStorage(t *testing.T, o imdstest.Options, routes string) *rig.Daemon {
	t.Helper()
	return env.Start(t, rig.Settings{IMDS: rig.StartIMDS(t, o), Upstream: env.store.ConnectTo(), Routes: routes})
}

func storageClients() []client {
	return []client{
		script("curl", "bash", clientFile("storage.sh")),
		script("urllib", rig.Python, clientFile("storage_urllib.py")),
		script("requests", rig.Python, clientFile("storage_requests.py")),
		script("Azure SDK for JavaScript", "node", filepath.Join(env.NPM, "storage.mjs")),
		javaClient("java.net.http", clientFile("Storage.java")),
	}
}

// container gives a name that no other test uses; Azurite wants three
// characters at least.
func container(t *testing.T) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(t.Name()))
	return "e2e" + name[max(0, len(name)-55):]
}

// Unmodified programs without a credential put, read, list and delete blobs in
// Azurite, which refuses everybody who brings no token.
func TestBlobsByEveryClientAndSteering(t *testing.T) {
	refusedWithoutToken(t)
	d := startForStorage(t, imdstest.Options{}, storageRoutes)
	for _, s := range everySteering() {
		for _, c := range storageClients() {
			t.Run(s.name+"/"+c.name, func(t *testing.T) {
				c.run(t, d, s, s.base(d, rig.BlobHost, "blob"), container(t))
			})
		}
	}
	// All of it concerned one identity and one audience.
	if calls := len(d.IMDS.Minted()); calls != 1 {
		t.Errorf("bearerd asked for %d tokens, want 1", calls)
	}
}

func TestQueuesAndTables(t *testing.T) {
	d := startForStorage(t, imdstest.Options{}, storageRoutes)
	c := script("urllib", rig.Python, clientFile("queue_table.py"))
	for _, s := range everySteering() {
		t.Run(s.name, func(t *testing.T) {
			c.run(t, d, s, s.base(d, rig.QueueHost, "queue"), s.base(d, rig.TableHost, "table"), container(t))
		})
	}
}

// 256 MiB go up in blocks of 8 MiB, four at a time, and come back the same.
func TestBlockUploadOf256MiB(t *testing.T) {
	d := startForStorage(t, imdstest.Options{}, storageRoutes)
	c := script("Azure SDK for JavaScript", "node", filepath.Join(env.NPM, "storage.mjs"))
	for _, s := range everySteering() {
		t.Run(s.name, func(t *testing.T) {
			c.run(t, d, s, s.base(d, rig.BlobHost, "blob"), container(t), "256")
			if peak := d.Memory(t, "VmHWM"); peak >= 60<<20 {
				t.Errorf("bearerd's memory peaked at %d MB resident, want less than 60", peak>>20)
			}
		})
	}
}

// refusedWithoutToken shows that Azurite's door is shut, so that what comes
// through it came with a token.
func refusedWithoutToken(t *testing.T) {
	t.Helper()
	text := rig.Run(t, env.BaseEnv(), "", "curl", "--silent", "--show-error", "--max-time", "10", "--cacert", env.CAFile,
		"--connect-to", rig.BlobHost+":443:"+env.store.Blob, "--output", "/dev/null", "--write-out", "%{http_code}",
		"https://"+rig.BlobHost+"/nobody?restype=container")
	if text != "403" {
		t.Fatalf("Azurite answered %s to a call without a token, want 403", text)
	}
}

// A route with the wrong audience shows that Azurite judges the token: the
// service's own refusal comes back as it is.
func TestWrongAudienceIsRefusedByTheService(t *testing.T) {
	d := startForStorage(t, imdstest.Options{}, `
  - {hosts: [acct.blob.core.windows.net], audience: "https://vault.azure.net", gateway: blob, name: wrong}
`)
	for _, s := range everySteering() {
		t.Run(s.name, func(t *testing.T) {
			refusedByAzurite(t, d, s)
		})
	}
}

// refusedByAzurite makes a call that Azurite has to refuse, and requires that
// the answer is Azurite's and not ours.
func refusedByAzurite(t *testing.T, d *rig.Daemon, s steering) {
	t.Helper()
	answer := curl(t, d, s, s.base(d, rig.BlobHost, "blob")+"/"+container(t)+"?restype=container", "--request", "PUT", "--data", "")
	if answer.status != http.StatusForbidden || answer.header.Get("Bearerd-Error") != "" || !strings.HasPrefix(answer.header.Get("Server"), "Azurite") {
		t.Errorf("got %d %v\n%s\nwant Azurite's own 403", answer.status, answer.header, answer.body)
	}
}
