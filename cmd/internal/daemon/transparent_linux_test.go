package daemon

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
)

// A transparent listener is opened with what the file says of it, and ends with
// the daemon.
func TestTransparentListener(t *testing.T) {
	const listeners = "listen: [{address: \"127.0.0.1:0\"}, {address: \"127.0.0.2:0\", mode: transparent, host: payroll.vault.azure.net}]\n"
	r := launch(t, imdstest.Options{}, publicCloud+listeners+vaultRoute)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(r.Root().RootPEM()) {
		t.Fatal("no root")
	}
	ask := func(sni string) (*http.Response, error) {
		conn, err := tls.Dial("tcp", r.Addresses()[1], &tls.Config{ServerName: sni, InsecureSkipVerify: true, VerifyConnection: func(cs tls.ConnectionState) error {
			intermediates := x509.NewCertPool()
			for _, c := range cs.PeerCertificates[1:] {
				intermediates.AddCert(c)
			}
			_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: "payroll.vault.azure.net", Roots: roots, Intermediates: intermediates})
			return err
		}})
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprint(conn, "GET /secrets/db?api-version=7.4 HTTP/1.1\r\nHost: payroll.vault.azure.net\r\n\r\n")
		return http.ReadResponse(bufio.NewReader(conn), nil)
	}
	// The port is the listener's, and no route names it: so the call is judged.
	for _, sni := range []string{"", "payroll.vault.azure.net"} {
		answer, err := ask(sni)
		if err != nil || answer.StatusCode != http.StatusForbidden || answer.Header.Get("Bearerd-Error") != "BearerdPortNotRouted" {
			t.Errorf("SNI %q: %v, %v", sni, answer, err)
		}
	}
	if _, err := ask("other.example"); err == nil {
		t.Error("a host that no route names was answered")
	}
	if _, text := r.get("http://" + r.AdminAddress() + "/metrics"); !strings.Contains(text, `bearerd_transparent_connections_total{outcome="refused"} 1`) {
		t.Error("the refusal is not counted")
	}
}
