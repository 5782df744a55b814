package proxy

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/entra"
)

const (
	loginHost   = "login.microsoftonline.com"
	loginTenant = "11111111-2222-3333-4444-555555555555"
	loginClient = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
	loginSecret = "a-secret-that-nobody-looks-at"
	loginPath   = "/" + loginTenant + "/oauth2/v2.0/token"
)

// answersLogins has the one client's logins answered.
func answersLogins(o *Options, _ *httptest.Server) {
	cloud, _ := azure.CloudNamed("public")
	l, err := entra.New(entra.Options{Tenants: []string{loginTenant}, Clients: []string{loginClient}, Cloud: cloud, Routes: o.Routes})
	if err != nil {
		panic(err)
	}
	o.Logins = l
}

func loginForm(client, scope string) string {
	return "client_id=" + client + "&client_secret=" + loginSecret + "&grant_type=client_credentials&scope=" + scope + "%2F.default"
}

func loginRequest(t testing.TB, url, form string) *http.Request {
	t.Helper()
	r := newRequest(t, "POST", url, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// realEntra is what passes, as it arrived.
type realEntra struct {
	mu  sync.Mutex // guards got
	got []string
}

func (e *realEntra) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.got = append(e.got, fmt.Sprintf("%s %s%s %q %d %v %s", r.Method, r.Host, r.RequestURI, r.Header.Values("Authorization"), r.ContentLength, r.TransferEncoding, body))
	io.WriteString(w, `{"access_token":"entra's own"}`)
}

func (e *realEntra) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	got := e.got
	e.got = nil
	return got
}

// A listed client logs in with its secret, by every way of steering, and what it
// is given becomes the machine's token at the service that it was asked for, and
// nowhere else. Entra hears nothing of it.
func TestLoginsAreAnsweredAndStandForTheMachine(t *testing.T) {
	upstream := new(realEntra)
	w := newWorld(t, upstream.ServeHTTP, answersLogins)
	for name, client := range map[string]struct {
		*http.Client
		login, vault, blob string
	}{
		"CONNECT":         {w.viaConnect(false), "https://" + loginHost, "https://" + vaultHost, "https://" + blobHost},
		"CONNECT, HTTP/2": {w.viaConnect(true), "https://" + loginHost, "https://" + vaultHost, "https://" + blobHost},
		"another name":    {w.viaConnect(true), "https://login.windows.net", "https://" + vaultHost, "https://" + blobHost},
		"base URL":        {w.plain(), w.base("/entra"), w.base("/vault"), w.base("/blob")},
	} {
		t.Run(name, func(t *testing.T) {
			answer, body := do(t, client.Client, loginRequest(t, client.login+loginPath, loginForm(loginClient, "https%3A%2F%2Fvault.azure.net")))
			var granted struct {
				Token string `json:"access_token"`
			}
			if err := json.Unmarshal([]byte(body), &granted); err != nil || answer.StatusCode != 200 || granted.Token == "" {
				t.Fatalf("got %d %s (%v)", answer.StatusCode, body, err)
			}
			if answer.Header.Get("Cache-Control") != "no-store" || answer.Header.Get(ErrorHeader) != "" {
				t.Errorf("the answer's header is %v", answer.Header)
			}
			if got := upstream.take(); len(got) != 0 {
				t.Errorf("Entra was sent %q", got)
			}
			r := newRequest(t, "GET", client.vault+"/secrets/a", nil)
			r.Header.Set("Authorization", "Bearer "+granted.Token)
			do(t, client.Client, r)
			if got := upstream.take(); len(got) != 1 || !strings.Contains(got[0], `["Bearer token-1"]`) {
				t.Errorf("the vault was sent %q", got)
			}
			r = newRequest(t, "GET", client.blob+"/c/b", nil)
			r.Header.Set("Authorization", "Bearer "+granted.Token)
			if answer, _ := do(t, client.Client, r); answer.StatusCode != 401 || len(upstream.take()) != 0 {
				t.Errorf("at another service the placeholder got %d", answer.StatusCode)
			}
		})
	}
}

func TestRefusedLoginTellsWhatToDo(t *testing.T) {
	upstream := new(realEntra)
	w := newWorld(t, upstream.ServeHTTP, answersLogins)
	answer, body := do(t, w.viaConnect(true), loginRequest(t, "https://"+loginHost+loginPath, loginForm(loginClient, "https%3A%2F%2Fgraph.microsoft.com")))
	wantProblem(t, answer, body, 400, entra.CodeLogin)
	if !strings.Contains(body, "AADSTS500011") || !strings.Contains(body, "add a route") || len(upstream.take()) != 0 {
		t.Errorf("got %s", body)
	}
	lines := strings.Join(w.lines(), "")
	for _, want := range []string{`"login":"refused"`, `"client":"` + loginClient, `"audience":"https://graph.microsoft.com"`} {
		if !strings.Contains(lines, want) {
			t.Errorf("the log lacks %s: %s", want, lines)
		}
	}
	if strings.Contains(lines, loginSecret) {
		t.Error("the log has the secret")
	}
	wantMetrics(t, w.scrape(), `bearerd_logins_total{result="refused"} 1`, `bearerd_errors_total{code="BearerdLogin"} 1`)
}

// What is not answered here reaches Entra as it left the app: method, target,
// body, its length or the lack of one, and the app's own Authorization. No token
// of the machine's goes along.
func TestOtherLoginsReachEntraByteForByte(t *testing.T) {
	upstream := new(realEntra)
	w := newWorld(t, upstream.ServeHTTP, answersLogins)
	long := loginForm(loginClient, "x") + "&pad=" + strings.Repeat("x", 3*entra.MaxForm)
	odd := "client_id=" + loginClient + ";grant_type=client_credentials&a=%zz&b=\xff&c=+%20&&=" // no form at all
	for _, test := range []struct{ name, method, target, body string }{
		{"another client", "POST", loginPath + "?a=b;c", loginForm("99999999-bbbb-cccc-dddd-eeeeeeeeeeee", "x")},
		{"another tenant", "POST", "/common/oauth2/v2.0/token", loginForm(loginClient, "x")},
		{"another grant", "POST", loginPath, "grant_type=password&username=u&password=p%20w&client_id=" + loginClient},
		{"longer than a login", "POST", loginPath, long},
		{"an odd form", "POST", loginPath, odd},
		{"no form", "POST", loginPath, ""},
		{"a page for people", "GET", "/" + loginTenant + "/oauth2/v2.0/authorize?client_id=x&state=%2F", ""},
	} {
		for _, chunked := range []bool{false, true} {
			for _, http2 := range []bool{false, true} {
				name := fmt.Sprintf("%s, chunked %v, HTTP/2 %v", test.name, chunked, http2)
				var body io.Reader
				length, encoding := int64(len(test.body)), "[]"
				if test.body != "" {
					body = strings.NewReader(test.body)
					if chunked {
						body, length = io.MultiReader(body), -1
					}
				}
				r := newRequest(t, test.method, "https://"+loginHost+test.target, body)
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				r.SetBasicAuth("u", "p")
				answer, text := do(t, w.viaConnect(http2), r)
				if answer.StatusCode != 200 || text != `{"access_token":"entra's own"}` {
					t.Errorf("%s: got %d %s", name, answer.StatusCode, text)
				}
				basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("u:p"))
				want := fmt.Sprintf("%s %s%s %q %d %s %s", test.method, loginHost, test.target, []string{basic}, length, encoding, test.body)
				if got := upstream.take(); len(got) != 1 || got[0] != want {
					t.Errorf("%s: Entra was sent\n%.300q, want\n%.300q", name, got, want)
				}
			}
		}
	}
	lines := strings.Join(w.lines(), "")
	if strings.Contains(lines, loginSecret) || !strings.Contains(lines, `"login":"passed"`) {
		t.Errorf("the log has a secret, or does not tell of logins")
	}
	wantMetrics(t, w.scrape(), `bearerd_logins_total{result="passed"} 28`)
	if n := w.tokens.renewals.Load(); n != 0 {
		t.Errorf("%d tokens were renewed", n)
	}
}

// The form of a login is held while it is judged, and counts like other bodies.
func TestLoginsShareTheBudgetOfBodies(t *testing.T) {
	upstream := new(realEntra)
	w := newWorld(t, upstream.ServeHTTP, answersLogins, func(o *Options, _ *httptest.Server) { o.Limits.SpoolTotal = 1024 })
	form := loginForm(loginClient, "https%3A%2F%2Fvault.azure.net")
	for range 20 { // what is held is given back
		if answer, body := do(t, w.plain(), loginRequest(t, w.base("/entra"+loginPath), form)); answer.StatusCode != 200 {
			t.Fatalf("got %d %s", answer.StatusCode, body)
		}
	}
	answer, body := do(t, w.plain(), loginRequest(t, w.base("/entra"+loginPath), form+strings.Repeat("&x=y", 1000)))
	wantProblem(t, answer, body, 503, CodeBusy)
	if answer.Header.Get("Retry-After") == "" || len(upstream.take()) != 0 {
		t.Errorf("got %v", answer.Header)
	}
}

// The attack is a caller that is taken for another one: AD FS logs in a connection
// by NTLM or Negotiate, and whoever came next over it had logged in.
func TestPassedLoginsShareNoConnection(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]int)
	w := newWorld(t, func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen[r.RemoteAddr]++
	}, answersLogins)
	for i, client := range []*http.Client{w.plain(), w.plain(), w.viaConnect(false), w.viaConnect(true)} {
		url := w.base("/entra/other/oauth2/authorize")
		if i > 1 {
			url = "https://" + loginHost + "/other/oauth2/authorize"
		}
		if answer, body := do(t, client, newRequest(t, "GET", url, nil)); answer.StatusCode != 200 {
			t.Fatalf("got %d %s", answer.StatusCode, body)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 4 {
		t.Errorf("four callers had the connections %v", seen)
	}
}

func TestDiscoveryByBaseURLLeadsBack(t *testing.T) {
	upstream := new(realEntra)
	w := newWorld(t, upstream.ServeHTTP, answersLogins)
	answer, body := do(t, w.plain(), newRequest(t, "GET", w.base("/entra/"+loginTenant+"/v2.0/.well-known/openid-configuration"), nil))
	if answer.StatusCode != 200 || !strings.Contains(body, `"token_endpoint":"`+w.base("/entra"+loginPath)+`"`) || len(upstream.take()) != 0 {
		t.Errorf("got %d %s", answer.StatusCode, body)
	}
}

// Without logins to answer, a login host is like any other that no route names.
func TestLoginHostIsTunnelledUnlessConfigured(t *testing.T) {
	w := newWorld(t, echo)
	w.dialer.to = lineServer(t)
	conn := w.connect(loginHost + ":443")
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len("hello\n"))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "HELLO\n" {
		t.Errorf("got %q (%v)", got, err)
	}
	conn.Close()
	answer := w.raw("POST /entra"+loginPath+" HTTP/1.1\r\nHost: "+w.addr+"\r\nContent-Length: 0\r\n\r\n", "POST")
	wantProblem(t, answer, "", 404, CodeUnknownGateway)
}

func TestLoginHostTakesItsPortsAlone(t *testing.T) {
	w := newWorld(t, echo, answersLogins)
	answer := w.raw("CONNECT "+loginHost+":8443 HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT")
	wantProblem(t, answer, "", 403, CodePortNotRouted)
}
