//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// The SDK sets tiers and deletes in batches, and copies from a URL, in Azurite,
// which authorises each part: without a credential, and with a dead key, by
// which each part is signed.
func TestBlobBatchesAndCopies(t *testing.T) {
	refusedWithoutToken(t)
	d := startForStorage(t, imdstest.Options{}, storageRoutes)
	c := script("Azure SDK for JavaScript", "node", filepath.Join(env.NPM, "batch.mjs"))
	for _, s := range everySteering() {
		for name, key := range map[string][]string{"no credential": nil, "a dead key": {"bm8ga2V5IG9mIGFueSBhY2NvdW50"}} {
			t.Run(s.name+"/"+name, func(t *testing.T) {
				c.run(t, d, s, append([]string{s.base(d, rig.BlobHost, "blob"), container(t)}, key...)...)
			})
		}
	}
}

// batchOf writes the deletion of blobs by one call. On a base URL their paths
// begin with its own.
func batchOf(s steering, paths ...string) string {
	prefix := ""
	if s.name == viaBaseURL().name {
		prefix = "/blob"
	}
	var b strings.Builder
	for i, path := range paths {
		fmt.Fprintf(&b, "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: %d\r\n\r\nDELETE %s%s HTTP/1.1\r\nContent-Length: 0\r\n\r\n\r\n", i, prefix, path)
	}
	return b.String() + "--b--\r\n"
}

// A route that lets blobs of one container be deleted does so in batches, and
// one part elsewhere leaves all blobs where they are.
func TestBatchOnRestrictedRoutes(t *testing.T) {
	for _, s := range everySteering() {
		t.Run(s.name, func(t *testing.T) {
			in, private := container(t), container(t)+"p"
			all := startForStorage(t, imdstest.Options{}, storageRoutes)
			d := startForStorage(t, imdstest.Options{}, fmt.Sprintf(`
  - {service: storage, name: batch, hosts: [acct.blob.core.windows.net], gateway: blob, operations: [storage.blob.batch]}
  - {service: storage, name: deletions, hosts: [acct.blob.core.windows.net], paths: ["/%s/**"], operations: [storage.blob.delete, storage.blob.getproperties]}
`, in))
			base := s.base(all, rig.BlobHost, "blob")
			for _, name := range []string{in, private} {
				wantStatus(t, http.StatusCreated, curl(t, all, s, base+"/"+name+"?restype=container", "--request", "PUT", "--data", ""))
				wantStatus(t, http.StatusCreated, curl(t, all, s, base+"/"+name+"/a", "--request", "PUT", "--header", "x-ms-blob-type: BlockBlob", "--data", "x"))
			}
			send := func(paths ...string) answer {
				return curl(t, d, s, s.base(d, rig.BlobHost, "blob")+"/?comp=batch", "--header", "Content-Type: multipart/mixed; boundary=b", "--data-binary", batchOf(s, paths...))
			}
			refused := send("/"+in+"/a", "/"+private+"/a")
			wantStatus(t, http.StatusForbidden, refused)
			if !strings.Contains(refused.body, "call 2 of the batch's 2") {
				t.Errorf("got %s", refused.body)
			}
			wantStatus(t, http.StatusOK, curl(t, d, s, s.base(d, rig.BlobHost, "blob")+"/"+in+"/a", "--head"))
			taken := send("/" + in + "/a")
			wantStatus(t, http.StatusAccepted, taken)
			if !strings.Contains(taken.body, "HTTP/1.1 202") {
				t.Errorf("Azurite answered %s", taken.body)
			}
			wantStatus(t, http.StatusNotFound, curl(t, d, s, s.base(d, rig.BlobHost, "blob")+"/"+in+"/a", "--head"))
		})
	}
}

// Resource Manager's batch, judged call by call.
func TestARMBatch(t *testing.T) {
	d, _ := startForCloud(t, azuretest.Options{}, `
  - {service: arm, gateway: arm, operations: [arm.batch, arm.subscription.read]}
`)
	for _, s := range everySteering() {
		t.Run(s.name, func(t *testing.T) {
			base := s.base(d, azuretest.ARMHost, "arm")
			send := func(urls ...string) answer {
				var elements []string
				for _, url := range urls {
					elements = append(elements, `{"httpMethod":"GET","name":"x","url":"`+url+`"}`)
				}
				return curl(t, d, s, base+"/batch?api-version=2022-12-01", "--header", "Content-Type: application/json", "--data", `{"requests":[`+strings.Join(elements, ",")+`]}`)
			}
			subscription := "/subscriptions/" + azuretest.Subscription
			taken := send(subscription+"?api-version=2022-12-01", base+"/subscriptions?api-version=2022-12-01")
			wantStatus(t, http.StatusOK, taken)
			if n := strings.Count(taken.body, `"displayName":"emulated"`); n != 2 {
				t.Errorf("got %s", taken.body)
			}
			wantStatus(t, http.StatusForbidden, send(subscription+"?api-version=2022-12-01", subscription+"/resourceGroups/dev/providers/Microsoft.Compute/virtualMachines/vm?api-version=2022-12-01"))
		})
	}
}

func wantStatus(t *testing.T, status int, a answer) {
	t.Helper()
	if a.status != status {
		t.Fatalf("got %d %v\n%s\nwant %d", a.status, a.header, a.body, status)
	}
}
