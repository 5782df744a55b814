//go:build e2e

package e2e

import (
	"path/filepath"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// dummyKey is an account's key as clients want one to look, and opens nothing.
const dummyKey = "bm8ga2V5IG9mIGFueSBhY2NvdW50"

// connectionString is what the operator of an old program writes for a way of
// steering: nothing but another protocol, or the services' places.
func connectionString(d *rig.Daemon, s steering) string {
	const account = ";AccountName=acct;AccountKey=" + dummyKey
	switch s.name {
	case viaProxyVariables().name:
		return "DefaultEndpointsProtocol=https;EndpointSuffix=core.windows.net" + account
	case viaAbsoluteURL().name:
		return "DefaultEndpointsProtocol=http;EndpointSuffix=core.windows.net" + account
	}
	return "BlobEndpoint=" + s.base(d, rig.BlobHost, "blob") + ";QueueEndpoint=" + s.base(d, rig.QueueHost, "queue") +
		";TableEndpoint=" + s.base(d, rig.TableHost, "table") + account
}

// Unmodified programs that sign with an account's key work with a dummy one, by
// every way of steering, and get the machine's token in its place.
func TestClientsWithADeadKey(t *testing.T) {
	d := startForStorage(t, imdstest.Options{}, storageRoutes)
	byString := []client{
		script("azure-storage 2.x for Node.js", "node", filepath.Join(env.NPM, "legacy.mjs")),
		script("Azure SDK for Python", rig.Python, clientFile("storage_key.py")),
	}
	byURL := []client{
		script("rclone", "sh", clientFile("rclone.sh")),
		script("Azure SDK for JavaScript", "node", filepath.Join(env.NPM, "storage.mjs")),
	}
	for _, s := range everySteering() {
		for _, c := range byString {
			t.Run(s.name+"/"+c.name, func(t *testing.T) { c.run(t, d, s, connectionString(d, s), container(t)) })
		}
		for _, c := range byURL {
			t.Run(s.name+"/"+c.name, func(t *testing.T) {
				c.run(t, d, s, s.base(d, rig.BlobHost, "blob"), container(t), dummyKey)
			})
		}
	}
	if calls := len(d.IMDS.Minted()); calls != 1 {
		t.Errorf("bearerd asked for %d tokens, want 1", calls)
	}
}

// A library of 2013 works with blobs and queues, and is told what is wrong with
// its tables. It knows no path in an endpoint, so no base URL, and what it sends
// in the clear it leads through the proxy to the proxy.
func TestLibraryOf2013(t *testing.T) {
	d := startForStorage(t, imdstest.Options{}, storageRoutes)
	c := script("azure-storage-legacy for Node.js", "node", filepath.Join(env.NPM, "storage2013.mjs"))
	connection := "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=" + dummyKey
	c.run(t, d, viaProxyVariables(), connection, container(t))
}
