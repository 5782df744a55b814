//go:build e2e && linux

package transparent

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

const secrets = "https://" + vaultHost + "/secrets?api-version=7.4"

func TestRedirectedProgramsAreAuthorised(t *testing.T) {
	azure := startAzure(t)
	d := world.Start(t, rig.Settings{IMDS: azure.imds, CA: azure.cloud.CAPEM(), Listen: transparentListeners, Routes: routes})
	redirectApp(t)
	python := "import requests; r = requests.get('" + secrets + "'); print(r.status_code)"
	for _, tc := range []struct {
		name, want string
		argv       []string
	}{
		{"curl, IPv4, HTTP/1.1", "200 1.1 " + vaultV4, []string{"curl", "-sS", "-4", "--http1.1", "-o", "/dev/null", "-w", "%{http_code} %{http_version} %{remote_ip}", secrets}},
		{"curl, IPv6, HTTP/2", "200 2 " + vaultV6, []string{"curl", "-sS", "-6", "--http2", "-o", "/dev/null", "-w", "%{http_code} %{http_version} %{remote_ip}", secrets}},
		{"curl, plain http", "200", []string{"curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://" + vaultHost + "/secrets?api-version=7.4"}},
		{"Python", "200\n", []string{rig.Python, "-c", python}},
		{"curl, another Host", "421", []string{"curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: " + loopHost, secrets}},
	} {
		if out, err := asApp(t, d, tc.argv[0], tc.argv[1:]...); err != nil || out != tc.want {
			t.Errorf("%s: %v, %q", tc.name, err, out)
		}
	}
	if n := len(azure.cloud.Recorder.Requests()); n != 4 {
		t.Errorf("the vault was called %d times", n)
	}
}

func TestRedirectedOthersAreByteIdentical(t *testing.T) {
	azure := startAzure(t)
	d := world.Start(t, rig.Settings{IMDS: azure.imds, CA: azure.cloud.CAPEM(), Listen: transparentListeners, Routes: routes})
	redirectApp(t)
	body := make([]byte, 8<<20)
	rand.Read(body)
	at := world.CA.ServeTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			io.Copy(w, r.Body)
			return
		}
		w.Write(body)
	}), otherHost)
	serve(t, otherV4+":443", relay(at))
	serve(t, "["+otherV6+"]:443", relay(at))
	file := world.Dir + "/body"
	if err := os.WriteFile(file, body, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, family := range []string{"-4", "-6"} {
		for _, args := range [][]string{{"--http1.1"}, {"--http2"}, {"--http2", "-T", file}} {
			// The server's own certificate shows: bearerd's root is not trusted here.
			args = append([]string{"-sS", family, "--cacert", world.CAFile, "https://" + otherHost + "/"}, args...)
			out, err := asApp(t, d, "curl", args...)
			if err != nil || sha256.Sum256([]byte(out)) != sha256.Sum256(body) {
				t.Errorf("curl %q: %v, %d bytes: %.200q", args, err, len(out), out)
			}
		}
	}
	// A server that speaks first is heard after a while.
	serve(t, otherV4+":80", func(conn net.Conn) {
		io.WriteString(conn, "220 hello\n")
		io.Copy(conn, conn)
	})
	const talk = `import socket; s = socket.create_connection(("` + otherV4 + `", 80)); print(s.recv(99)); s.sendall(b"bye"); s.shutdown(1); print(s.recv(99), s.recv(99))`
	if out, err := asApp(t, d, rig.Python, "-c", talk); err != nil || out != "b'220 hello\\n'\nb'bye' b''\n" {
		t.Errorf("%v, %q", err, out)
	}
	metrics := rig.Get(t, d.Admin+"/metrics")
	if !strings.Contains(metrics, `bearerd_transparent_connections_total{outcome="spliced"} 7`) {
		t.Error("not all were spliced")
	}
}

// The kernel knows the socket of a caller by where it meant to go.
func TestRedirectedCallersAreTold(t *testing.T) {
	azure := startAzure(t)
	d := world.Start(t, rig.Settings{IMDS: azure.imds, CA: azure.cloud.CAPEM(), Listen: transparentListeners,
		Routes: fmt.Sprintf("\n  - {service: keyvault, hosts: [%s], callers: {users: [%d]}}\n", vaultHost, appUID)})
	redirectApp(t)
	for _, family := range []string{"-4", "-6"} {
		for uid, want := range map[int]string{appUID: "200", strangerUID: "403"} {
			if out, err := asUser(t, d, uid, "curl", "-sS", family, "-o", "/dev/null", "-w", "%{http_code}", secrets); err != nil || out != want {
				t.Errorf("user %d, %s: %v, %q", uid, family, err, out)
			}
		}
	}
}

// An app reaches no place by our rights that it could not reach by its own.
func TestRedirectedIMDSIsNotReached(t *testing.T) {
	azure := startAzure(t)
	d := world.Start(t, rig.Settings{IMDS: azure.imds, CA: azure.cloud.CAPEM(), Listen: transparentListeners, Routes: routes})
	redirectApp(t)
	asked := serve(t, "169.254.169.254:80", func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") })
	if out, err := asApp(t, d, "curl", "-sS", "-H", "Metadata: true", "http://169.254.169.254/metadata/identity/oauth2/token"); err == nil || asked() != 0 {
		t.Errorf("%q, asked %d times", out, asked())
	}
}

// The redirect takes bearerd's own connections too.
func TestRedirectedEndlessSelfLoop(t *testing.T) {
	azure := startAzure(t)
	d := world.Start(t, rig.Settings{IMDS: azure.imds, CA: azure.cloud.CAPEM(), Listen: transparentListeners, Routes: routes})
	rules(t, "table inet bearerd {\nchain output {\ntype nat hook output priority -100; policy accept;\ntcp dport 443 redirect to :8443\n}\n}")
	began := time.Now()
	for _, family := range []string{"-4", "-6"} {
		if out, err := asApp(t, d, "curl", "-sS", family, "https://"+otherHost+"/"); err == nil {
			t.Errorf("unrouted, %s: %q", family, out)
		}
		if out, err := asApp(t, d, "curl", "-sS", family, "-o", "/dev/null", "-w", "%{http_code}", secrets); err != nil || out != "502" {
			t.Errorf("routed, %s: %v, %q", family, err, out)
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	if n := strings.Count(d.Out.String(), "leave bearerd's user out of the redirect"); n < 4 || n > 16 {
		t.Errorf("the loop is told %d times", n)
	}
}

// The kernel tells the original destination at a listener for both families too.
func TestRedirectedToAListenerOnAllAddresses(t *testing.T) {
	azure := startAzure(t)
	d := world.Start(t, rig.Settings{IMDS: azure.imds, CA: azure.cloud.CAPEM(), Routes: routes,
		Listen: "  - {address: \"[::]:8443\", mode: transparent, insecure_allow_network: true}\n"})
	redirectApp(t)
	serve(t, otherV4+":80", func(conn net.Conn) { io.WriteString(conn, "four") })
	serve(t, "["+otherV6+"]:80", func(conn net.Conn) { io.WriteString(conn, "six") })
	for address, want := range map[string]string{otherV4: "four", otherV6: "six"} {
		talk := fmt.Sprintf(`import socket; s = socket.create_connection((%q, 80)); s.sendall(b"\0"); print(s.recv(99).decode())`, address)
		if out, err := asApp(t, d, rig.Python, "-c", talk); err != nil || out != want+"\n" {
			t.Errorf("%s: %v, %q", address, err, out)
		}
	}
}
