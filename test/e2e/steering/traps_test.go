//go:build e2e && linux

package steering

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

// What transparent proxies are known to stumble over.

// The rules spare another user than the one that bearerd runs as, which is one
// of those whose calls they lead to it.
func TestEndlessSelfLoopIsRefused(t *testing.T) {
	a := newAzure(t)
	d := a.redirectTo(t, strangerUID, false)
	began := time.Now()
	for _, family := range []string{"-4", "-6"} {
		if text, err := as(t, d, payrollUID, status("%{http_code}", family, "https://"+otherHost+"/")...); err == nil {
			t.Errorf("unrouted, %s: %q", family, text)
		}
		says(t, d, payrollUID, "502", status("%{http_code}", family, secretURL)...)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	if n := strings.Count(d.Out.String(), "leave bearerd's user out of the redirect"); n < 4 || n > 16 {
		t.Errorf("the loop is told %d times", n)
	}
}

func TestSplitClientHello(t *testing.T) {
	a := newAzure(t)
	d := a.redirect(t)
	text, err := as(t, d, payrollUID, rig.Python, inHost("testdata/split_hello.py"), vaultHost, "/secrets/db?api-version=7.4")
	if err != nil || !strings.HasPrefix(text, "HTTP/1.1 200 ") || !strings.Contains(text, secret) {
		t.Errorf("routed: %v\n%s", err, text)
	}
	text, err = as(t, d, payrollUID, rig.Python, inHost("testdata/split_hello.py"), otherHost, "/")
	if err != nil || !strings.HasPrefix(text, "HTTP/1.1 200 ") || !strings.Contains(text, "hello from HTTP/1.1") {
		t.Errorf("unrouted: %v\n%s", err, text)
	}
}

func TestHTTP2OnlyClients(t *testing.T) {
	a := newAzure(t)
	d := a.redirect(t)
	for _, app := range apps() {
		if app.name == "gRPC" || app.name == "Go, HTTP2 alone" {
			if text, err := as(t, d, payrollUID, app.argv...); err != nil || !strings.Contains(text, secret) {
				t.Errorf("%s: %v\n%s", app.name, err, text)
			}
		}
	}
	says(t, d, payrollUID, "hello from HTTP/2.0", inHost("app"), "-http2", "https://"+otherHost+"/")
	says(t, d, payrollUID, "hello from HTTP/2.0", "curl", "-sS", "--http2-prior-knowledge", "http://"+otherHost+"/")
}

// HTTP/1.0 has a name of its own in ALPN, which such a client alone offers.
func TestHTTP10OnlyClients(t *testing.T) {
	a := newAzure(t)
	d := a.redirect(t)
	for _, call := range [][]string{{secretURL}, {"-x", d.URL, secretURL}, {"http://" + otherHost + "/"}} {
		says(t, d, payrollUID, "200", status("%{http_code}", append(call, "--http1.0")...)...)
	}
}

func TestSNIWithAnotherHostIsMisdirected(t *testing.T) {
	a := newAzure(t)
	d := a.redirect(t)
	for _, protocol := range []string{"--http1.1", "--http2"} {
		for _, name := range []string{otherHost, grpcHost, imdsAddress, "127.0.0.1:9180"} {
			says(t, d, payrollUID, "421", status("%{http_code}", protocol, "-H", "Host: "+name, secretURL)...)
		}
	}
	if a.vault() != 0 {
		t.Error("the vault was called")
	}
}

// Absolute-form requests within TLS, to a transparent listener, and within a
// CONNECT.
func TestAbsoluteFormInsideAConnect(t *testing.T) {
	a := newAzure(t)
	d := a.redirect(t)
	proxy, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		secretURL:                           "HTTP/1.1 200 ",
		"http://" + otherHost + "/":         "HTTP/1.1 421 ",
		"http://" + imdsAddress + tokenPath: "HTTP/1.1 421 ",
	} {
		request := "GET " + target + " HTTP/1.1\r\nHost: " + vaultHost + "\r\nConnection: close\r\n\r\n"
		for _, connect := range []string{"", proxy.Port()} {
			argv := []string{rig.Python, inHost("testdata/raw_tls.py"), serviceV4, vaultHost, request}
			if connect != "" {
				argv = append(argv, connect)
			}
			if text, err := as(t, d, payrollUID, argv...); err != nil || !strings.HasPrefix(text, want) {
				t.Errorf("%s, CONNECT %q: %v, %q", target, connect, err, text)
			}
		}
	}
}

func TestIPv6LiteralsAndMappedAddresses(t *testing.T) {
	a := newAzure(t)
	d := a.redirect(t)
	// Literals name no host, so that they are passed on.
	for _, literal := range []string{otherV4, "[" + otherV6 + "]", "[::ffff:" + otherV4 + "]"} {
		says(t, d, payrollUID, "hello from HTTP/1.1", "curl", "-sS", "http://"+literal+"/")
		says(t, d, payrollUID, "hello from HTTP/2.0", "curl", "-sS", "--http2-prior-knowledge", "http://"+literal+"/")
		// No SNI is sent for one, and the server's certificate is for its name.
		says(t, d, payrollUID, "hello from HTTP/2.0", "curl", "-sS", "-k", "https://"+literal+"/")
	}
	// An IPv6 socket's connection to IPv4 has the caller of any other.
	callersAreTold(t, d, "", serviceV4, serviceV6, "::ffff:"+serviceV4)
}

// The kernel opens these sockets on its own, for the one that the app has.
func TestMultipathTCP(t *testing.T) {
	a := newAzure(t)
	const mptcp = "262" // IPPROTO_MPTCP (linux/in.h)
	callersAreTold(t, a.redirect(t), mptcp, serviceV4, serviceV6)
}

// callersAreTold calls the vault at addresses, as one whom a route names and as
// one whom none does.
func callersAreTold(t *testing.T, d *rig.Daemon, protocol string, addresses ...string) {
	t.Helper()
	request := "GET /secrets/db?api-version=7.4 HTTP/1.1\r\nHost: " + vaultHost + "\r\nConnection: close\r\n\r\n"
	for _, at := range addresses {
		for uid, want := range map[int]string{payrollUID: "HTTP/1.1 200 ", strangerUID: "HTTP/1.1 403 "} {
			argv := []string{rig.Python, inHost("testdata/raw_tls.py"), at, vaultHost, request}
			if protocol != "" {
				argv = append([]string{"env", "PROTOCOL=" + protocol}, argv...)
			}
			if text, err := as(t, d, uid, argv...); err != nil || !strings.HasPrefix(text, want) {
				t.Errorf("user %d, %s: %v, %q", uid, at, err, text)
			}
		}
	}
}
