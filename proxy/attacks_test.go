package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

// connect opens a tunnel by CONNECT and gives the connection.
func (w *world) connect(authority string) net.Conn {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", authority, authority)
	answer, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), &http.Request{Method: "CONNECT"})
	if err != nil || answer.StatusCode != 200 {
		w.t.Fatalf("CONNECT %s: %v %v", authority, answer, err)
	}
	return conn
}

// intercepted does the TLS handshake inside a tunnel, with the given SNI.
func (w *world) intercepted(target, sni string, protocols ...string) *tls.Conn {
	w.t.Helper()
	conn := tls.Client(w.connect(target+":443"), &tls.Config{
		ServerName: sni, InsecureSkipVerify: true, NextProtos: protocols, // the name is what is tested
	})
	if err := conn.Handshake(); err != nil {
		w.t.Fatal(err)
	}
	return conn
}

func TestClientCannotSmuggleAuthorizationAsHopByHop(t *testing.T) {
	w := newWorld(t, echo, upstreamHTTP1)
	answer := w.raw("GET /vault/secrets/a HTTP/1.1\r\nHost: "+w.addr+"\r\nConnection: Authorization, X-Named\r\nAuthorization: Basic eDp5\r\nX-Named: x\r\nX-Kept: y\r\n"+
		"Proxy-Authorization: Basic eDp5\r\nVia: 1.1 x\r\n\r\n", "GET")
	body, _ := io.ReadAll(answer.Body)
	want := "GET " + vaultHost + " /secrets/a\nAuthorization: Bearer token-1\nAccept-Encoding: identity\nX-Kept: y\nbody 0"
	if string(body) != want {
		t.Errorf("the service got\n%s\nwant\n%s", body, want)
	}
}

func TestDeadCredentialsAreReplacedAndLiveOnesPass(t *testing.T) {
	w := newWorld(t, echo)
	jwt := func(exp time.Time) string {
		part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
		return "Bearer " + part(`{"alg":"RS256","typ":"JWT"}`) + "." + part(fmt.Sprintf(`{"aud":"x","exp":%d}`, exp.Unix())) + "." + part("signature")
	}
	live, dead := jwt(time.Now().Add(time.Hour)), jwt(time.Now().Add(-time.Hour))
	tests := []struct{ name, gateway, own, query, want string }{
		{"none", "vault", "", "", "Bearer token-1"},
		{"shared key", "blob", "SharedKey acct:AAAA", "", "Bearer token-1"},
		{"basic", "vault", "Basic eDp5", "", "Bearer token-1"},
		{"dummy", "vault", "Bearer dummy", "", "Bearer token-1"},
		{"expired token", "vault", dead, "", "Bearer token-1"},
		{"live token", "vault", live, "", live},
		{"SAS", "blob", "", "?sv=2024-11-04&sr=b&sp=r&se=2030-01-01&sig=abc%3D", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRequest(t, "GET", w.base("/"+tt.gateway+"/c/b"+tt.query), nil)
			if tt.own != "" {
				r.Header.Set("Authorization", tt.own)
			}
			_, body := do(t, w.plain(), r)
			got := ""
			for line := range strings.Lines(body) {
				if v, ok := strings.CutPrefix(line, "Authorization: "); ok {
					got = strings.TrimSpace(v)
				}
			}
			if got != tt.want {
				t.Errorf("the service got %q, want %q", got, tt.want)
			}
		})
	}
	w.lines() // ends the server
	wantMetrics(t, w.scrape(),
		`bearerd_own_credentials_total{action="pass",kind="token",route="keyvault"} 1`,
		`bearerd_own_credentials_total{action="inject",kind="dead",route="keyvault"} 3`,
		`bearerd_own_credentials_total{action="inject",kind="dead",route="storage"} 1`,
		`bearerd_own_credentials_total{action="pass",kind="sas",route="storage"} 1`,
	)
}

// A placeholder that was asked for one service is worth nothing at another. The
// challenge leads an SDK to ask for the right one.
func TestPlaceholderOfAnotherServiceIsChallenged(t *testing.T) {
	w := newWorld(t, echo)
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	placeholder := "Bearer " + part(`{"alg":"HS256"}`) + "." + part(`{"iss":"https://bearerd.invalid/t/","aud":"https://storage.azure.com/"}`) + ".x"
	for path, want := range map[string]int{"/blob/c/b": 200, "/vault/secrets/a": 401} {
		r := newRequest(t, "GET", w.base(path), nil)
		r.Header.Set("Authorization", placeholder)
		answer, body := do(t, w.plain(), r)
		if answer.StatusCode != want {
			t.Errorf("%s: got %d %s, want %d", path, answer.StatusCode, body, want)
		}
		if want == 401 {
			wantProblem(t, answer, body, 401, route.CodePlaceholder)
			if challenge := answer.Header.Get("WWW-Authenticate"); !strings.Contains(challenge, `resource="https://vault.azure.net"`) {
				t.Errorf("the challenge is %q", challenge)
			}
		}
	}
	answer := w.raw("GET http://unrouted.example/ HTTP/1.1\r\nHost: unrouted.example\r\nAuthorization: "+placeholder+"\r\n\r\n", "GET")
	wantProblem(t, answer, "", 403, route.CodePlaceholder)
}

func TestOneConnectionHasOneTarget(t *testing.T) {
	w := newWorld(t, echo)
	ask := func(conn net.Conn, text string) (*http.Response, string) {
		t.Helper()
		io.WriteString(conn, text)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		return answer, string(body)
	}
	t.Run("SNI differs", func(t *testing.T) {
		answer, body := ask(w.intercepted(vaultHost, "other.vault.azure.net"), "GET / HTTP/1.1\r\nHost: "+vaultHost+"\r\n\r\n")
		wantProblem(t, answer, body, 421, CodeMisdirected)
	})
	t.Run("Host differs", func(t *testing.T) {
		answer, body := ask(w.intercepted(vaultHost, vaultHost), "GET / HTTP/1.1\r\nHost: "+blobHost+"\r\n\r\n")
		wantProblem(t, answer, body, 421, CodeMisdirected)
	})
	t.Run("port differs", func(t *testing.T) {
		answer, body := ask(w.intercepted(vaultHost, vaultHost), "GET / HTTP/1.1\r\nHost: "+vaultHost+":444\r\n\r\n")
		wantProblem(t, answer, body, 421, CodeMisdirected)
	})
	t.Run("absolute-form inside names another", func(t *testing.T) {
		answer, body := ask(w.intercepted(vaultHost, vaultHost), "GET https://"+blobHost+"/ HTTP/1.1\r\nHost: "+vaultHost+"\r\n\r\n")
		wantProblem(t, answer, body, 421, CodeMisdirected)
	})
	t.Run("absolute-form inside names the target", func(t *testing.T) {
		answer, body := ask(w.intercepted(vaultHost, ""), "GET https://"+vaultHost+"/secrets/a?b HTTP/1.1\r\nHost: "+vaultHost+"\r\n\r\n")
		if answer.StatusCode != 200 || !strings.HasPrefix(body, "GET "+vaultHost+" /secrets/a?b\n") {
			t.Errorf("got %d %s", answer.StatusCode, body)
		}
	})
	t.Run("other spellings of the target", func(t *testing.T) {
		answer, body := ask(w.intercepted("PAYROLL.vault.azure.net.", vaultHost), "GET / HTTP/1.1\r\nHost: Payroll.Vault.Azure.Net.:443\r\n\r\n")
		if answer.StatusCode != 200 || !strings.HasPrefix(body, "GET "+vaultHost+" /\n") {
			t.Errorf("got %d %s", answer.StatusCode, body)
		}
	})
	t.Run("CONNECT inside", func(t *testing.T) {
		answer, body := ask(w.intercepted(vaultHost, vaultHost), "CONNECT "+vaultHost+":443 HTTP/1.1\r\nHost: "+vaultHost+"\r\n\r\n")
		wantProblem(t, answer, body, 405, CodeMethodNotAllowed)
	})
	t.Run("HTTP/2 :authority and host differ", func(t *testing.T) {
		conn := w.intercepted(vaultHost, vaultHost, "h2")
		for _, tt := range []struct{ authority, host string }{{blobHost, ""}, {vaultHost, blobHost}} {
			if got := h2Status(t, conn, tt.authority, tt.host); got != "421" {
				t.Errorf(":authority %q with host %q got %s, want 421", tt.authority, tt.host, got)
			}
			conn = w.intercepted(vaultHost, vaultHost, "h2")
		}
	})
}

// h2Status sends one request frame by frame, for clients refuse to send such
// header fields, and gives the answer's status.
func h2Status(t *testing.T, conn net.Conn, authority, host string) string {
	t.Helper()
	return h2StatusOf(t, conn, "GET", "/", authority, host)
}

func h2StatusOf(t *testing.T, conn net.Conn, method, path, authority, host string) string {
	t.Helper()
	io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	framer.WriteSettings()
	fields := []hpack.HeaderField{{Name: ":method", Value: method}, {Name: ":scheme", Value: "https"}, {Name: ":path", Value: path}, {Name: ":authority", Value: authority}}
	if host != "" {
		fields = append(fields, hpack.HeaderField{Name: "host", Value: host})
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range fields {
		encoder.WriteField(field)
	}
	framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if headers, ok := frame.(*http2.MetaHeadersFrame); ok {
			return headers.PseudoValue("status")
		}
	}
}

// HTTP/2 servers refuse such a trailer themselves.
func TestAuthorizationCannotBeSmuggledAsATrailer(t *testing.T) {
	for _, upstream := range []string{"HTTP/1.1", "HTTP/2.0"} {
		var options []worldOption
		if upstream == "HTTP/1.1" {
			options = append(options, upstreamHTTP1)
		}
		w := newWorld(t, echo, options...)
		for _, gateway := range []string{"vault", "blob"} {
			// With a signature of its own, the call keeps its Authorization.
			answer := w.raw("PUT /"+gateway+"/c/b?sv=2024-11-04&sp=r&sig=abc HTTP/1.1\r\nHost: "+w.addr+"\r\nTransfer-Encoding: chunked\r\n"+
				"Trailer: Authorization, X-Check, Proxy-Authorization, X-Named\r\nConnection: X-Named\r\n\r\n"+
				"1\r\nx\r\n0\r\nAuthorization: Bearer smuggled\r\nX-Check: crc\r\nProxy-Authorization: Basic smuggled\r\nX-Named: smuggled\r\nX-Unannounced: smuggled\r\n\r\n", "PUT")
			body, _ := io.ReadAll(answer.Body)
			if answer.StatusCode != 200 || strings.Contains(string(body), "smuggled") || !strings.Contains(string(body), "trailer X-Check: [crc]") {
				t.Errorf("%s to %s: got %d\n%s", gateway, upstream, answer.StatusCode, body)
			}
		}
	}
}

// What a call does is judged by its header, so nothing that decides on it may
// follow the body.
func TestOperationCannotBeChangedByATrailer(t *testing.T) {
	w := newWorld(t, echo, upstreamHTTP1)
	for _, field := range []string{"X-HTTP-Method-Override", "x-ms-copy-source", "X-Ms-Rename-Source", "X-Original-URL"} {
		answer := w.raw("PUT /blob/c/b HTTP/1.1\r\nHost: "+w.addr+"\r\nTransfer-Encoding: chunked\r\nTrailer: X-Check, "+field+"\r\n\r\n"+
			"1\r\nx\r\n0\r\nX-Check: crc\r\n"+field+": smuggled\r\n\r\n", "PUT")
		body, _ := io.ReadAll(answer.Body)
		if answer.StatusCode != 200 || strings.Contains(string(body), "smuggled") || !strings.Contains(string(body), "trailer X-Check: [crc]") {
			t.Errorf("%s: got %d\n%s", field, answer.StatusCode, body)
		}
	}
}

func TestManyAuthorizationFieldsAreAllReplaced(t *testing.T) {
	w := newWorld(t, echo)
	answer := w.raw("GET /api/x HTTP/1.1\r\nHost: "+w.addr+"\r\nAuthorization: Basic eDp5\r\nauthorization: Bearer dummy\r\nAUTHORIZATION: x\r\n\r\n", "GET")
	body, _ := io.ReadAll(answer.Body)
	if want := "GET " + apiHost + " /x\nAuthorization: Bearer token-1\nbody 0"; string(body) != want {
		t.Errorf("the service got\n%s\nwant\n%s", body, want)
	}
}

// Even where no token would take its place.
func TestCallersAuthorizationIsDroppedForItself(t *testing.T) {
	cloud, _ := azure.CloudNamed("public")
	table, err := route.Compile(testRules(), cloud)
	if err != nil {
		t.Fatal(err)
	}
	in := http.Header{"Authorization": {"Basic eDp5"}}
	c := &azure.Call{Method: "GET", Scheme: "https", Host: vaultHost, Port: 443, Path: "/x", Header: azure.Header(in)}
	edits := editRequest(c, table.Decide(c, nil, time.Now()), nil, false)
	if out := edits.apply(in); out["Authorization"] != nil {
		t.Errorf("it leaves with %q", out["Authorization"])
	}
}

func TestUserInformationInAConnectIsRefused(t *testing.T) {
	w := newWorld(t, echo)
	answer := w.raw("CONNECT "+vaultHost+":443@evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT")
	wantProblem(t, answer, "", 400, CodeBadRequest)
	if w.dialer.dials.Load() != 0 {
		t.Error("a connection was opened")
	}
}

func TestNamedHostIsNeverTunnelled(t *testing.T) {
	w := newWorld(t, echo)
	for _, authority := range []string{vaultHost + ":8443", "anything.management.azure.com:22", armHost + ":444"} {
		answer := w.raw("CONNECT "+authority+" HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT")
		wantProblem(t, answer, "", 403, CodePortNotRouted)
	}
	if w.dialer.dials.Load() != 0 {
		t.Error("a connection was opened for it")
	}
}

func TestHostThatOnlyLooksRoutedGetsNoToken(t *testing.T) {
	w := newWorld(t, echo, func(o *Options, _ *httptest.Server) { o.RefuseUnmatched = true })
	for _, host := range []string{
		"payroll.vault.azure.net.evil.example", "evilvault.azure.net", "payroll.vault.azure.net:443@evil.example", "payroll.vault.azure.net@evil.example",
		"xn--payroll-9xa.vault.azure.net.example", "p\u0430yroll.vault.azure.net", "payroll.vault.azure.net%2eevil.example", "payroll.vault.azure.net\u3002evil.example",
		"[::ffff:1.2.3.4]", "payroll..vault.azure.net", "",
	} {
		for method, target := range map[string]string{"CONNECT": host + ":443", "GET": "http://" + host + "/secrets/a"} {
			answer := w.raw(method+" "+target+" HTTP/1.1\r\nHost: x\r\n\r\n", method)
			body, _ := io.ReadAll(answer.Body)
			if answer.StatusCode != 403 && answer.StatusCode != 400 {
				t.Errorf("%s %s got %d %s", method, target, answer.StatusCode, body)
			}
		}
	}
	if w.dialer.dials.Load() != 0 {
		t.Error("a connection was opened for one of them")
	}
}

// Where unrouted hosts are let through, the call goes where it says, in the
// clear, as it is.
func TestHostThatOnlyLooksRoutedIsForwardedWithoutAToken(t *testing.T) {
	w := newWorld(t, echo)
	plain := httptest.NewServer(http.HandlerFunc(echo))
	defer plain.Close()
	w.dialer.to = plain.Listener.Addr().String()
	for _, host := range []string{"payroll.vault.azure.net.evil.example", "evilvault.azure.net", "vault.azure.net", "xn--payroll-9xa.example", "payroll-vault.azure.net"} {
		answer := w.raw("GET http://"+host+"/secrets/a HTTP/1.1\r\nHost: "+vaultHost+"\r\n\r\n", "GET")
		body, _ := io.ReadAll(answer.Body)
		if want := "GET " + host + " /secrets/a\nbody 0"; string(body) != want {
			t.Errorf("%s: the service got\n%s\nwant\n%s", host, body, want)
		}
	}
}

func TestOtherSpellingsOfARoutedHostLeadThere(t *testing.T) {
	w := newWorld(t, echo)
	for _, host := range []string{"PAYROLL.Vault.azure.NET", vaultHost + ".", vaultHost + ":80", vaultHost + ":443", vaultHost + ".:80"} {
		answer := w.raw("GET http://"+host+"/secrets/a HTTP/1.1\r\nHost: x\r\n\r\n", "GET")
		body, _ := io.ReadAll(answer.Body)
		if want := "GET " + vaultHost + " /secrets/a\nAuthorization: Bearer token-1\nbody 0"; string(body) != want {
			t.Errorf("%s: the service got\n%s\nwant\n%s", host, body, want)
		}
	}
	answer := w.raw("GET http://"+vaultHost+":8080/secrets/a HTTP/1.1\r\nHost: x\r\n\r\n", "GET")
	wantProblem(t, answer, "", 403, "BearerdNotPermitted")
}

func TestOptionsOfTheWholeServerIsNotAnsweredPastTheChecks(t *testing.T) {
	w := newWorld(t, echo)
	wantProblem(t, w.raw("OPTIONS * HTTP/1.1\r\nHost: evil.example\r\n\r\n", "OPTIONS"), "", 421, CodeMisdirected)
}

func TestBaseURLAnswersToItsOwnNamesOnly(t *testing.T) {
	w := newWorld(t, echo, func(o *Options, _ *httptest.Server) { o.Names = []string{"proxy.corp.example"} })
	_, port, _ := net.SplitHostPort(w.addr)
	for host, want := range map[string]int{
		w.addr: 200, "localhost:" + port: 200, "LOCALHOST:" + port: 200, "proxy.corp.example": 200, "proxy.corp.example:" + port: 200,
		"127.0.0.1:1": 421, "127.0.0.2:" + port: 421, "evil.example": 421, "evil.example:" + port: 421, "127.0.0.1.evil.example:" + port: 421, vaultHost: 421, "[::1]:" + port: 421,
	} {
		answer := w.raw("GET /vault/x HTTP/1.1\r\nHost: "+host+"\r\n\r\n", "GET")
		if answer.StatusCode != want {
			t.Errorf("Host %q got %d, want %d", host, answer.StatusCode, want)
		}
	}
}

func TestWebPageOfAnotherSiteIsRefused(t *testing.T) {
	w := newWorld(t, echo)
	for _, tt := range []struct {
		name, field, value string
		want               int
	}{
		{"foreign origin", "Origin", "https://evil.example", 403},
		{"opaque origin", "Origin", "null", 403},
		{"own origin", "Origin", "http://" + w.addr, 200},
		{"cross-site", "Sec-Fetch-Site", "cross-site", 403},
		{"same-site", "Sec-Fetch-Site", "same-site", 403},
		{"typed in", "Sec-Fetch-Site", "none", 200},
		{"same-origin", "Sec-Fetch-Site", "same-origin", 200},
	} {
		r := newRequest(t, "GET", w.base("/vault/x"), nil)
		r.Header.Set(tt.field, tt.value)
		answer, body := do(t, w.plain(), r)
		if answer.StatusCode != tt.want {
			t.Errorf("%s: got %d %s, want %d", tt.name, answer.StatusCode, body, tt.want)
		}
	}
}

func TestUnknownGatewayListsTheKnownOnes(t *testing.T) {
	w := newWorld(t, echo)
	for _, path := range []string{"/nope/x", "/", "/Vault/x", "/vault%2f/x", "//vault/x"} {
		answer, body := do(t, w.plain(), newRequest(t, "GET", w.base(path), nil))
		wantProblem(t, answer, body, 404, CodeUnknownGateway)
		if !strings.Contains(body, "api, arm, blob, vault") {
			t.Errorf("%s: %s does not list the gateways", path, body)
		}
	}
}

func TestAbsoluteURLWithUserInformationIsRefused(t *testing.T) {
	w := newWorld(t, echo)
	answer := w.raw("GET http://"+vaultHost+"@evil.example/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET")
	wantProblem(t, answer, "", 400, CodeBadRequest)
}

func TestForgedErrorHeaderOfAServiceIsDropped(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set(ErrorHeader, "BearerdTokenUnavailable")
		rw.Header().Set("Alt-Svc", `h3=":443"`)
	})
	answer, _ := do(t, w.viaConnect(false), newRequest(t, "GET", "https://"+vaultHost+"/", nil))
	for _, name := range []string{ErrorHeader, "Alt-Svc"} {
		if v := answer.Header.Get(name); v != "" {
			t.Errorf("%s: %q reached the caller", name, v)
		}
	}
}
