//go:build e2e

package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/e2e/rig"
	"github.com/bearerd/bearerd/test/recorded"
)

// Every recorded request, byte for byte as its client sends it to a proxy, gets
// the outcome that the published table promises, from Azurite or from bearerd.
func TestRecordedRequestsOfOldClients(t *testing.T) {
	d := startForStorage(t, imdstest.Options{}, storageRoutes)
	address := strings.TrimPrefix(d.URL, "http://")
	lease := ""
	for _, r := range recorded.Requests() {
		if r.Azurite == 0 && r.Code == "" {
			continue
		}
		t.Run(r.Version+" "+r.Does, func(t *testing.T) {
			status, header, body := sendRecorded(t, address, r.Text(lease))
			d.Saw(body)
			if id := header.Get("X-Ms-Lease-Id"); id != "" {
				lease = id
			}
			if r.Code == "" {
				if status != r.Azurite || header.Get("Bearerd-Error") != "" || !strings.HasPrefix(header.Get("Server"), "Azurite") {
					t.Errorf("got %d %v\n%s\nwant Azurite's %d", status, header, body, r.Azurite)
				}
				return
			}
			if said := rig.ParseAzureError(t, body); status != http.StatusForbidden || header.Get("Bearerd-Error") != r.Code || said.Error.Code != r.Code {
				t.Errorf("got %d %v\n%s\nwant 403 %s", status, header, body, r.Code)
			}
		})
	}
}

func sendRecorded(t *testing.T, address, text string) (status int, header http.Header, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(text, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(content)
}
