//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// trap is a server of a stranger, who hopes to be sent a token.
type trap struct {
	mu   sync.Mutex // guards the fields below
	hits int
	got  []string // Authorization values
}

func (s *trap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hits++
	s.got = append(s.got, r.Header["Authorization"]...)
}

// lookAlikes are names that a route for every vault does not name, however much
// they look like it.
func lookAlikes() []string {
	return []string{
		"payroll.vault.azure.net.evil.example",
		"evilvault.azure.net",
		"payrollvault.azure.net",
		"payroll.vault.azure.net.evil.vault-azure.net",
		"payroll.vault-azure.net",
		"payroll.vault.azure.com",
		"vault.azure.net.evil.example",
		"xn--payroll-vault.azure.net",
		"payroll.vault.xn--zure-tra.net", // a Cyrillic a
	}
}

// A host that only looks like a routed one is a stranger's: tunnelled or
// forwarded like any other, without a token. None is even asked for.
func TestLookAlikeHostsGetNoToken(t *testing.T) {
	encrypted, plain := new(trap), new(trap)
	plainServer := httptest.NewServer(plain)
	t.Cleanup(plainServer.Close)
	tlsAddress := env.CA.ServeTLS(t, encrypted, lookAlikes()...)
	for _, c := range []struct {
		steering
		scheme, address string
		*trap
	}{
		{viaProxyVariables(), "https://", tlsAddress, encrypted},
		{viaAbsoluteURL(), "http://", plainServer.Listener.Addr().String(), plain},
	} {
		t.Run(c.name, func(t *testing.T) {
			upstream := make(map[string]string)
			for _, host := range lookAlikes() {
				upstream[host] = c.address
			}
			d := env.Start(t, rig.Settings{IMDS: rig.StartIMDS(t, imdstest.Options{}), Upstream: upstream, Routes: "\n  - {service: keyvault}\n"})
			for _, host := range lookAlikes() {
				if a := curl(t, d, c.steering, c.scheme+host+"/secrets/x", "--cacert", env.CAFile); a.status != http.StatusOK {
					t.Errorf("%s: got %d %s, want to get there", host, a.status, a.body)
				}
			}
			// The name before the @ is not the host.
			for _, request := range []string{
				"GET http://payroll.vault.azure.net@evilvault.azure.net/ HTTP/1.1\r\nHost: evilvault.azure.net\r\n\r\n",
				"GET http://payroll.vault.azure.net:443@evilvault.azure.net/ HTTP/1.1\r\nHost: payroll.vault.azure.net\r\n\r\n",
				"GET http://evilvault.azure.net\\@payroll.vault.azure.net/ HTTP/1.1\r\nHost: payroll.vault.azure.net\r\n\r\n",
				"GET http://payroll.vault.\u0430zure.net/ HTTP/1.1\r\nHost: payroll.vault.\u0430zure.net\r\n\r\n",
				"GET http://payroll%2evault.azure.net/ HTTP/1.1\r\nHost: payroll.vault.azure.net\r\n\r\n",
				"CONNECT payroll.vault.azure.net:443@evilvault.azure.net:443 HTTP/1.1\r\nHost: x\r\n\r\n",
				"CONNECT evilvault.azure.net:443#payroll.vault.azure.net:443 HTTP/1.1\r\nHost: x\r\n\r\n",
			} {
				if text := raw(t, d, request); !strings.HasPrefix(text, "HTTP/1.1 400 ") {
					t.Errorf("%q got %q, want 400", request, text)
				}
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.hits != len(lookAlikes()) || len(c.got) != 0 {
				t.Errorf("the stranger was called %d times and given %d credentials, want %d and none", c.hits, len(c.got), len(lookAlikes()))
			}
			if n := len(d.IMDS.Minted()); n != 0 {
				t.Errorf("%d tokens were asked for", n)
			}
		})
	}
}

// The same name in another spelling is the routed one.
func TestSpellingsOfRoutedHost(t *testing.T) {
	d, cloud := startForCloud(t, azuretest.Options{}, vaultRoute)
	cloud.Vault.SetSecret(vaultHost, "x", "value")
	for _, host := range []string{"PAYROLL.Vault.Azure.NET", "payroll.vault.azure.net:443", "payroll.vault.azure.net."} {
		for _, s := range []steering{viaProxyVariables(), viaAbsoluteURL()} {
			if s.name == viaAbsoluteURL().name {
				host = strings.TrimSuffix(host, ":443")
			}
			if a := curl(t, d, s, s.base(d, host, "")+"/secrets/x?api-version=7.4"); a.status != http.StatusOK || !strings.Contains(a.body, `"value"`) {
				t.Errorf("%s by %s: got %d %s", host, s.name, a.status, a.body)
			}
		}
	}
}

// forbiddenTargets are IMDS, the WireServer, bearerd's own listeners, the
// endpoint of its tokens and whatever else listens on loopback, as they can be
// spelled.
func forbiddenTargets(d *rig.Daemon, service string) []string {
	port := func(url string) string { return url[strings.LastIndexByte(url, ':'):] }
	targets := []string{
		"localhost:22", "localhost.:22", "127.0.0.1:22", "127.8.9.10:22", "[::1]:22", "[::ffff:127.0.0.1]:22", "[0:0:0:0:0:0:0:1]:22",
		"127.1:22", "2130706433:22", "0x7f000001:22", "0177.0.0.1:22", "0:22", "0.0.0.0:22", "[::]:22", "[64:ff9b::7f00:1]:22",
		"[fe80::1]:80", "169.254.1.1:80",
	}
	for _, own := range []string{port(d.URL), port(d.Admin), port(d.IMDS.URL), port(service)} {
		for _, host := range []string{"127.0.0.1", "localhost", "LOCALHOST", "[::ffff:7f00:1]", "0.0.0.0", "127.0.0.2"} {
			targets = append(targets, host+own)
		}
	}
	for _, host := range []string{
		"169.254.169.254", "169.254.169.254.", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]",
		"2852039166", "0xa9fea9fe", "0xA9.0xFE.0xA9.0xFE", "0251.0376.0251.0376", "169.16689662", "169.254.43518", "00000251.0376.0251.0376",
		"168.63.129.16", "[::ffff:168.63.129.16]", "[64:ff9b::a83f:8110]", "2822734096", "0xa83f8110",
	} {
		targets = append(targets, host+":80")
	}
	return targets
}

// Nobody reaches IMDS, the WireServer, the admin port or another local service
// with bearerd's rights: not by a tunnel, and not by an absolute URL.
func TestForbiddenTargetsInAnySpelling(t *testing.T) {
	local := new(trap)
	service := httptest.NewServer(local)
	t.Cleanup(service.Close)
	d := env.Start(t, rig.Settings{IMDS: rig.StartIMDS(t, imdstest.Options{}), Routes: vaultRoute})
	before := d.IMDS.Stats().Calls
	for _, target := range forbiddenTargets(d, service.URL) {
		for _, request := range []string{
			"CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n",
			"GET http://" + target + "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=x HTTP/1.1\r\nHost: " + target + "\r\nMetadata: true\r\n\r\n",
		} {
			text := raw(t, d, request)
			d.Saw(text)
			if !strings.HasPrefix(text, "HTTP/1.1 403 ") || !strings.Contains(text, "\r\nBearerd-Error: BearerdForbiddenTarget\r\n") {
				t.Errorf("%q got %q, want 403", request, text)
			}
		}
	}
	for _, url := range []string{
		"http://169.254.169.254/metadata/instance?api-version=2021-02-01", "http://2852039166/metadata/instance", "http://0xa9fea9fe/",
		"http://168.63.129.16/?comp=versions", d.Admin + "/metrics", d.IMDS.URL + "/", service.URL + "/", "http://[::1]:1/", "http://localhost:1/",
	} {
		a := curl(t, d, viaAbsoluteURL(), url, "--header", "Metadata: true", "--noproxy", "")
		if a.status != http.StatusForbidden || a.header.Get("Bearerd-Error") != "BearerdForbiddenTarget" {
			t.Errorf("curl to %s got %d %s, want 403", url, a.status, a.body)
		}
		if message := rig.ParseAzureError(t, a.body).Error.Message; !strings.Contains(message, "NO_PROXY") && !strings.Contains(message, "upstream.connect_to") {
			t.Errorf("curl to %s: the message does not say what to do: %s", url, message)
		}
	}
	local.mu.Lock()
	defer local.mu.Unlock()
	if local.hits != 0 || d.IMDS.Stats().Calls != before {
		t.Errorf("a local service was reached %d times, IMDS %d times", local.hits, d.IMDS.Stats().Calls-before)
	}
}

// One connection has one target: what SNI, Host or :authority say must be it.
func TestMisdirectedRequests(t *testing.T) {
	d, cloud := startForCloud(t, azuretest.Options{Hosts: []string{vaultHost, "other.vault.azure.net"}}, `
  - {service: keyvault, gateway: vault, hosts: [payroll.vault.azure.net]}
  - {service: keyvault}
`)
	misdirected := func(what string, status int, header http.Header) {
		t.Helper()
		if status != http.StatusMisdirectedRequest || header.Get("Bearerd-Error") != "BearerdMisdirectedRequest" {
			t.Errorf("%s: got %d %v, want our 421", what, status, header)
		}
	}
	for _, version := range []string{"--http1.1", "--http2"} {
		a := curl(t, d, viaProxyVariables(), "https://"+vaultHost+"/secrets/x", version, "--header", "Host: other.vault.azure.net")
		misdirected("Host by "+version, a.status, a.header)
		// curl asks for the one and is connected to the other, whose leaf is the
		// same wildcard, so that SNI and Host agree with each other.
		a = curl(t, d, viaProxyVariables(), "https://other.vault.azure.net/secrets/x", version, "--connect-to", "other.vault.azure.net:443:"+vaultHost+":443")
		misdirected("SNI by "+version, a.status, a.header)
	}
	conn := tunnel(t, d, vaultHost+":443", "evil.example")
	fmt.Fprintf(conn, "GET /secrets/x HTTP/1.1\r\nHost: %s\r\n\r\n", vaultHost)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	misdirected("SNI alone", resp.StatusCode, resp.Header)

	for _, host := range []string{"evil.example", "payroll.vault.azure.net", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", strings.TrimPrefix(d.Admin, "http://")} {
		a := curl(t, d, viaBaseURL(), d.URL+"/vault/secrets/x", "--header", "Host: "+host)
		misdirected("base URL under "+host, a.status, a.header)
	}
	if got := cloud.Recorder.Requests(); len(got) != 0 {
		t.Errorf("a vault was sent %v", got)
	}
}

// tunnel opens a tunnel to target, and TLS in it with an SNI of the test's
// choice. What answers has to have a certificate for the target all the same.
func tunnel(t *testing.T, d *rig.Daemon, target, sni string) *tls.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", target)
	opened, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil || opened.StatusCode != http.StatusOK {
		t.Fatalf("CONNECT: %v %v", opened, err)
	}
	root, err := os.ReadFile(d.Root)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	host, _, _ := strings.Cut(target, ":")
	return tls.Client(conn, &tls.Config{
		ServerName:         sni,
		InsecureSkipVerify: true, // of SNI's name; the target's is verified here
		VerifyConnection: func(state tls.ConnectionState) error {
			intermediates := x509.NewCertPool()
			for _, cert := range state.PeerCertificates[1:] {
				intermediates.AddCert(cert)
			}
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: intermediates})
			return err
		},
	})
}

// A web page cannot use the machine's identity through a browser that is
// allowed to reach loopback.
func TestCrossSiteRequestsAreRefused(t *testing.T) {
	d, cloud := startForCloud(t, azuretest.Options{}, vaultRoute)
	cloud.Vault.SetSecret(vaultHost, "x", "value")
	url := d.URL + "/vault/secrets/x?api-version=7.4"
	for _, fields := range [][]string{
		{"Origin: https://evil.example"},
		{"Origin: null"},
		{"Origin: http://127.0.0.1.evil.example"},
		{"Sec-Fetch-Site: cross-site"},
		{"Sec-Fetch-Site: same-site"},
		{"Origin: " + d.URL, "Sec-Fetch-Site: cross-site"},
	} {
		var args []string
		for _, field := range fields {
			args = append(args, "--header", field)
		}
		a := curl(t, d, viaBaseURL(), url, args...)
		if a.status != http.StatusForbidden || a.header.Get("Bearerd-Error") != "BearerdCrossSiteRequest" {
			t.Errorf("%q: got %d %s, want our 403", fields, a.status, a.body)
		}
		// No page may read even that.
		if a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%q: pages are let in: %v", fields, a.header)
		}
	}
	if a := curl(t, d, viaBaseURL(), url, "--header", "Origin: "+d.URL, "--header", "Sec-Fetch-Site: same-origin"); a.status != http.StatusOK {
		t.Errorf("a page of our own origin got %d %s", a.status, a.body)
	}
}

func TestTRACEIsRefused(t *testing.T) {
	d, _ := startForCloud(t, azuretest.Options{}, vaultRoute)
	for _, s := range everySteering() {
		a := curl(t, d, s, s.base(d, vaultHost, "vault")+"/secrets/x", "--request", "TRACE")
		if a.status != http.StatusMethodNotAllowed || a.header.Get("Bearerd-Error") != "BearerdMethodNotAllowed" {
			t.Errorf("%s: got %d %v, want our 405", s.name, a.status, a.header)
		}
	}
}

func TestUnknownGatewayListsTheKnownOnes(t *testing.T) {
	d := env.Start(t, rig.Settings{IMDS: rig.StartIMDS(t, imdstest.Options{}), Routes: storageRoutes})
	for _, path := range []string{"/", "/valut/secrets/x", "//blob/c/b", "/Blob/c/b", "/../blob/c/b"} {
		a := curl(t, d, viaBaseURL(), d.URL+path, "--path-as-is")
		e := rig.ParseAzureError(t, a.body)
		if a.status != http.StatusNotFound || e.Error.Code != "BearerdUnknownGateway" {
			t.Errorf("%s: got %d %s, want our 404", path, a.status, a.body)
		}
		for _, name := range []string{"blob", "queue", "table"} {
			if !strings.Contains(e.Error.Message, name) {
				t.Errorf("%s: the message does not list %s: %s", path, name, e.Error.Message)
			}
		}
	}
}

// Bytes that are no HTTP end in an answer or a closed connection, and bearerd
// goes on.
func TestBrokenBytes(t *testing.T) {
	d, cloud := startForCloud(t, azuretest.Options{}, vaultRoute)
	cloud.Vault.SetSecret(vaultHost, "x", "value")
	for _, bytes := range [][]byte{
		append(bytes.Repeat([]byte{0}, 4096), "\r\n\r\n"...),
		[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a ClientHello on the plain port\r\n\r\n"),
		[]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		[]byte("GET /vault/secrets/x HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n"),
		[]byte("GET /vault/secrets/x HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
		[]byte("POST /vault/secrets/x HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: xchunked\r\n\r\n"),
		[]byte("GET /vault/" + strings.Repeat("a", 80<<10) + " HTTP/1.1\r\n\r\n"),
	} {
		text := raw(t, d, string(bytes))
		if strings.Contains(text, "HTTP/1.1 2") {
			t.Errorf("%.80q got %.200q", bytes, text)
		}
	}
	if got := cloud.Recorder.Requests(); len(got) != 0 {
		t.Errorf("the vault was sent %v", got)
	}
	if a := curl(t, d, viaBaseURL(), d.URL+"/vault/secrets/x?api-version=7.4"); a.status != http.StatusOK {
		t.Errorf("afterwards a good call got %d %s", a.status, a.body)
	}
}
