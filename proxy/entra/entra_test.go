package entra

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

const (
	tenantID = "11111111-2222-3333-4444-555555555555"
	clientID = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
	secret   = "not-looked-at"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func compile(t testing.TB, cloud string, rules ...route.Rule) (*azure.Cloud, *route.Table) {
	t.Helper()
	c, ok := azure.CloudNamed(cloud)
	if !ok {
		t.Fatalf("no cloud %s", cloud)
	}
	table, err := route.Compile(rules, c)
	if err != nil {
		t.Fatal(err)
	}
	return c, table
}

func logins(t testing.TB) *Logins {
	t.Helper()
	cloud, table := compile(t, "public", route.Rule{Service: "keyvault"}, route.Rule{Service: "storage"}, route.Rule{Service: "arm"},
		route.Rule{Hosts: []string{"api.contoso.internal"}, Audience: "api://contoso"})
	l, err := New(Options{Tenants: []string{strings.ToUpper(tenantID), "contoso.example"}, Clients: []string{clientID}, Cloud: cloud, Routes: table})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// post is a login with the form at a path.
func post(path string, form url.Values) *Request {
	return &Request{
		Call: &azure.Call{
			Method: "POST", Scheme: "https", Host: "login.microsoftonline.com", Path: path, Length: -1,
			Header: azure.Header(http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}}),
		},
		Base: "https://login.microsoftonline.com", Form: []byte(form.Encode()), HasForm: true, Now: now,
	}
}

// form is a login for a scope and resource, either of which may be empty.
func form(scope, resource string) url.Values {
	f := url.Values{"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {secret}}
	if scope != "" {
		f.Set("scope", scope)
	}
	if resource != "" {
		f.Set("resource", resource)
	}
	return f
}

// with changes one value of a form; empty: takes it out.
func with(f url.Values, name string, values ...string) url.Values {
	if f[name] = values; len(values) == 0 {
		delete(f, name)
	}
	return f
}

const v1, v2 = "/" + tenantID + "/oauth2/token", "/" + tenantID + "/oauth2/v2.0/token"

// claimsOf reads a placeholder as SDKs do.
func claimsOf(t testing.TB, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("a placeholder of %d parts", len(parts))
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func decode(t testing.TB, body []byte) map[string]any {
	t.Helper()
	var answer map[string]any
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return answer
}

func TestLoginsAreAnswered(t *testing.T) {
	l := logins(t)
	assertion := with(with(form("https://vault.azure.net/.default", ""), "client_secret"), "client_assertion", "a.b.c")
	for _, test := range []struct {
		name, path, audience string
		form                 url.Values
	}{
		{"secret", v2, "https://vault.azure.net", form("https://vault.azure.net/.default", "")},
		{"certificate", v2, "https://vault.azure.net", with(assertion, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")},
		{"storage", v2, "https://storage.azure.com", form("https://storage.azure.com/.default", "")},
		{"storage with its slash", v2, "https://storage.azure.com/", form("https://storage.azure.com//.default", "")},
		{"one account", v2, "https://acct.blob.core.windows.net", form("https://acct.blob.core.windows.net/.default", "")},
		{"the Azure CLI's Resource Manager", v2, "https://management.core.windows.net/", form("https://management.core.windows.net//.default", "")},
		{"with scopes of a user's", v2, "https://management.azure.com", form("openid profile offline_access https://management.azure.com/.default", "")},
		{"an API of our own", v2, "api://contoso", form("api://contoso/.default", "")},
		{"version 1", v1, "https://vault.azure.net", form("", "https://vault.azure.net")},
		{"by the domain's name", "/Contoso.example/oauth2/v2.0/token", "https://vault.azure.net", form("https://vault.azure.net/.default", "")},
		{"in capitals", strings.ToUpper(v2), "https://vault.azure.net", with(form("https://vault.azure.net/.default", ""), "client_id", strings.ToUpper(clientID))},
	} {
		d := l.Decide(post(test.path, test.form))
		if d.Action != Answer || d.Result != Answered || d.Status != 200 || d.Code != "" || d.Audience != test.audience || d.Client != test.form.Get("client_id") {
			t.Errorf("%s: %+v", test.name, d)
			continue
		}
		answer := decode(t, d.Body)
		token, _ := answer["access_token"].(string)
		claims := claimsOf(t, token)
		tenant, _, _ := strings.Cut(strings.ToLower(test.path[1:]), "/")
		if claims["aud"] != test.audience || claims["iss"] != azure.PlaceholderIssuer+tenant+"/" || claims["appid"] != d.Client ||
			claims["exp"] != float64(now.Add(lifetime).Unix()) || claims["tid"] != tenant {
			t.Errorf("%s: the placeholder says %v", test.name, claims)
		}
		if answer["token_type"] != "Bearer" || strings.Contains(string(d.Body), secret) {
			t.Errorf("%s: %v", test.name, answer)
		}
		want := any(900.0)
		if test.path == v1 {
			want = "900"
			if answer["resource"] != test.audience || answer["expires_on"] != "1795522500" {
				t.Errorf("%s: %v", test.name, answer)
			}
		}
		if answer["expires_in"] != want {
			t.Errorf("%s: expires_in is %#v, want %#v", test.name, answer["expires_in"], want)
		}
		call := &azure.Call{Header: azure.Header{"Authorization": {"Bearer " + token}}}
		if audience, ok := azure.PlaceholderAudience(call); !ok || audience != test.audience {
			t.Errorf("%s: it is not recognised: %q, %v", test.name, audience, ok)
		}
	}
}

// No two placeholders are the same, or signed alike.
func TestPlaceholdersAreWorthNothing(t *testing.T) {
	l := logins(t)
	get := func() []string {
		token := decode(t, l.Decide(post(v2, form("https://vault.azure.net/.default", ""))).Body)["access_token"].(string)
		return strings.Split(token, ".")
	}
	a, b := get(), get()
	if a[2] == b[2] || a[1] == b[1] || len(a[2]) != 43 {
		t.Errorf("%q and %q", a, b)
	}
	if header := claimsOf(t, "x."+a[0]+".x"); header["alg"] != "HS256" {
		t.Errorf("%v", header)
	}
}

func TestBasicNamesTheClient(t *testing.T) {
	l := logins(t)
	basic := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, test := range []struct {
		authorization, inForm string
		want                  Result
	}{
		{basic(clientID + ":" + secret), "", Answered},
		{basic(clientID + ":" + secret), clientID, Answered},
		{basic("other:" + secret), clientID, Passed},
		{basic("other:" + secret), "", Passed},
		{basic("%zz:x"), "", Passed},
		{"Basic !", "", Passed},
		{"Bearer x", clientID, Passed},
	} {
		f := with(form("https://vault.azure.net/.default", ""), "client_id")
		if test.inForm != "" {
			f.Set("client_id", test.inForm)
		}
		r := post(v2, f)
		r.Call.Header.(azure.Header)["Authorization"] = []string{test.authorization}
		if d := l.Decide(r); d.Result != test.want {
			t.Errorf("%s with %q: %s (%s)", test.authorization, test.inForm, d.Result, d.Reason)
		}
	}
}

// What is not understood whole, and what others log in with, is Entra's.
func TestOtherLoginsPass(t *testing.T) {
	l := logins(t)
	vault := func() url.Values { return form("https://vault.azure.net/.default", "") }
	change := func(f func(*Request)) *Request {
		r := post(v2, vault())
		f(r)
		return r
	}
	for name, r := range map[string]*Request{
		"another tenant":     post("/99999999-2222-3333-4444-555555555555/oauth2/v2.0/token", vault()),
		"any tenant":         post("/common/oauth2/v2.0/token", vault()),
		"another client":     post(v2, with(vault(), "client_id", "99999999-bbbb-cccc-dddd-eeeeeeeeeeee")),
		"no client":          post(v2, with(vault(), "client_id")),
		"two clients":        post(v2, with(vault(), "client_id", clientID, "other")),
		"two grants":         post(v2, with(vault(), "grant_type", "client_credentials", "password")),
		"two scopes":         post(v2, with(vault(), "scope", "https://vault.azure.net/.default", "x")),
		"no grant":           post(v2, with(vault(), "grant_type")),
		"user's password":    post(v2, with(vault(), "grant_type", "password")),
		"refresh token":      post(v2, with(vault(), "grant_type", "refresh_token")),
		"authorization code": post(v2, with(vault(), "grant_type", "authorization_code")),
		"device code":        post(v2, with(vault(), "grant_type", "urn:ietf:params:oauth:grant-type:device_code")),
		"on behalf of":       post(v2, with(vault(), "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")),
		"grant in capitals":  post(v2, with(vault(), "grant_type", "CLIENT_CREDENTIALS")),
		"another endpoint":   post("/"+tenantID+"/oauth2/v2.0/devicecode", vault()),
		"a longer path":      post(v2+"/x", vault()),
		"a slash at the end": post(v2+"/", vault()),
		"two slashes":        post("/"+v2, vault()),
		"escaped":            post("/"+tenantID+"/oauth2%2ftoken", vault()),
		"a GET":              change(func(r *Request) { r.Call.Method = "GET" }),
		"JSON":               change(func(r *Request) { r.Call.Header = azure.Header{"Content-Type": {"application/json"}} }),
		"no type":            change(func(r *Request) { r.Call.Header = nil }),
		"two types": change(func(r *Request) {
			r.Call.Header = azure.Header{"Content-Type": {"application/x-www-form-urlencoded", "x"}}
		}),
		"too long":             change(func(r *Request) { r.Call.Length = MaxForm + 1 }),
		"semicolons":           change(func(r *Request) { r.Form = []byte(strings.ReplaceAll(string(r.Form), "&", ";")) }),
		"broken escapes":       change(func(r *Request) { r.Form = append(r.Form, "&x=%zz"...) }),
		"the root":             change(func(r *Request) { r.Call.Path = "/" }),
		"keys":                 change(func(r *Request) { r.Call.Path = "/common/discovery/keys"; r.Call.Method = "GET" }),
		"somebody's discovery": change(func(r *Request) { r.Call.Path = "/common/discovery/instance"; r.Call.Method = "GET" }),
		"not ASCII":            change(func(r *Request) { r.Call.Path = "/\u0130\u0130/oauth2/token" }),
	} {
		if d := l.Decide(r); d.Action != Pass || d.Result != Passed || d.Body != nil || d.Reason == "" {
			t.Errorf("%s: %+v", name, d)
		}
	}
	r := post(v2, nil)
	r.HasForm = false
	if d := l.Decide(r); d.Action != Read {
		t.Errorf("without its form: %+v", d)
	}
}

// A listed client that asks for what no route has learns that from bearerd.
func TestRefusals(t *testing.T) {
	l := logins(t)
	for _, test := range []struct {
		name, path, code, says string
		number                 float64
		form                   url.Values
	}{
		{"no route", v2, "invalid_resource", `no route of bearerd has the audience "https://graph.microsoft.com"`, 500011, form("https://graph.microsoft.com/.default", "")},
		{"no route, version 1", v1, "invalid_resource", `"https://graph.microsoft.com/"`, 500011, form("", "https://graph.microsoft.com/")},
		{"a single permission", v2, "invalid_scope", "ends in /.default", 1002012, form("https://vault.azure.net/user_impersonation", "")},
		{"two resources", v2, "invalid_scope", "one scope", 1002012, form("https://vault.azure.net/.default https://storage.azure.com/.default", "")},
		{"no scope", v2, "invalid_scope", "one scope", 1002012, form("", "https://vault.azure.net")},
		{"no resource", v1, "invalid_request", "must hold resource", 900144, form("https://vault.azure.net/.default", "")},
		{"not a resource", v1, "invalid_resource", "holds a space", 500011, form("", "https://vault.azure.net x")},
	} {
		r := post(test.path, test.form)
		r.Call.Header.(azure.Header)["Client-Request-Id"] = []string{tenantID}
		d := l.Decide(r)
		if d.Action != Answer || d.Result != Refused || d.Status != 400 || d.Code != CodeLogin {
			t.Errorf("%s: %+v", test.name, d)
			continue
		}
		answer := decode(t, d.Body)
		description, _ := answer["error_description"].(string)
		numbers, _ := answer["error_codes"].([]any)
		if answer["error"] != test.code || !strings.Contains(description, test.says) || !strings.HasPrefix(description, "AADSTS") ||
			!strings.Contains(description, CodeLogin) || answer["correlation_id"] != tenantID || len(numbers) != 1 || numbers[0] != test.number {
			t.Errorf("%s: %s", test.name, d.Body)
		}
		if strings.Contains(string(d.Body), secret) {
			t.Errorf("%s: the secret is repeated", test.name)
		}
	}
	r := post(v2, form("x/.default", ""))
	r.Call.Header.(azure.Header)["Client-Request-Id"] = []string{"\"} not an id"}
	if id, _ := decode(t, l.Decide(r).Body)["correlation_id"].(string); !isID(id) {
		t.Errorf("the correlation id is %q", id)
	}
}

func TestDiscovery(t *testing.T) {
	l := logins(t)
	get := func(path, query, base string) Decision {
		return l.Decide(&Request{Call: &azure.Call{Method: "GET", Host: "login.windows.net", Path: path, Query: query, Header: azure.Header{}}, Base: base, Now: now})
	}
	for path, want := range map[string]string{
		"/" + tenantID + "/v2.0/.well-known/openid-configuration": "/oauth2/v2.0/token",
		"/" + tenantID + "/.well-known/openid-configuration":      "/oauth2/token",
	} {
		for _, base := range []string{"https://login.windows.net", "http://127.0.0.1:8180/entra"} {
			d := get(path, "", base)
			if d.Action != Answer || d.Result != Described || d.Status != 200 {
				t.Fatalf("%s: %+v", path, d)
			}
			if got := decode(t, d.Body)["token_endpoint"]; got != base+"/"+tenantID+want {
				t.Errorf("%s: the token endpoint is %v", path, got)
			}
		}
	}
	const at = "api-version=1.1&authorization_endpoint="
	for query, want := range map[string]Result{
		at + "https%3A%2F%2Flogin.microsoftonline.com%2F" + tenantID + "%2Foauth2%2Fv2.0%2Fauthorize": Described,
		at + "https://sts.windows.net/contoso.example/oauth2/authorize":                               Described,
		at + "https://login.microsoftonline.us/" + tenantID + "/oauth2/authorize":                     Passed,
		at + "https://login.microsoftonline.com/common/oauth2/authorize":                              Described,
		at + "https://evil.example/" + tenantID + "/oauth2/authorize":                                 Passed,
		at + "https://login.microsoftonline.com:444/" + tenantID:                                      Passed,
		at + "%zz": Passed,
		at + ":":   Passed,
		at + "https://login.windows.net/x&" + at + "x": Passed,
		at + "https://login.windows.net/":              Passed,
		"":                                             Passed,
	} {
		d := get("/common/discovery/instance", query, "https://login.windows.net")
		if d.Result != want {
			t.Errorf("%s: %s, want %s", query, d.Result, want)
		}
		if want == Described && !strings.Contains(string(d.Body), `"aliases":["login.microsoftonline.com","login.windows.net","login.microsoft.com","sts.windows.net"]`) {
			t.Errorf("%s", d.Body)
		}
	}
}

func TestHosts(t *testing.T) {
	for cloud, want := range map[string]string{"public": "login.microsoftonline.com", "usgov": "login.microsoftonline.us", "china": "login.chinacloudapi.cn"} {
		c, table := compile(t, cloud, route.Rule{Service: "keyvault"})
		l, err := New(Options{Tenants: []string{tenantID}, Clients: []string{clientID}, Cloud: c, Routes: table})
		if err != nil || !l.Names(want) || l.Hosts()[0] != want || l.Names("payroll.vault.azure.net") {
			t.Errorf("%s: %v, %v", cloud, l.Hosts(), err)
		}
	}
	var none *Logins
	if none.Names("login.microsoftonline.com") || none.Hosts() != nil {
		t.Error("none names hosts")
	}
}

func TestNewRefusesWhatWouldNotHold(t *testing.T) {
	cloud, _ := compile(t, "public")
	bare, err := azure.NewCloud(azure.Definition{Name: "own", Services: []azure.ServiceDefinition{{Name: "x", Audience: "api://x", Hosts: []string{"x.example"}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		cloud *azure.Cloud
		rule  route.Rule
		want  string
	}{
		{cloud, route.Rule{Hosts: []string{"sts.windows.net"}, Audience: "api://x"}, "a route names sts.windows.net, where logins are answered; remove the host from the route"},
		{cloud, route.Rule{Service: "arm", Gateway: "entra"}, `a route has the gateway "entra", which is the login host's; give the route's another name`},
		{bare, route.Rule{Service: "x"}, "the cloud own has no login host; name it under cloud.login"},
	} {
		table, err := route.Compile([]route.Rule{test.rule}, test.cloud)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(Options{Tenants: []string{tenantID}, Clients: []string{clientID}, Cloud: test.cloud, Routes: table}); err == nil || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}

// FuzzDecide holds: whatever a form says, an answer is given to a client
// credential of a listed client alone, and never repeats the secret.
func FuzzDecide(f *testing.F) {
	f.Add(v2, form("https://vault.azure.net/.default", "").Encode(), "")
	f.Add(v1, form("", "https://graph.microsoft.com").Encode(), "Basic Og==")
	f.Add("/common/discovery/instance", "", "Bearer x")
	f.Add("/"+tenantID+"/.well-known/openid-configuration", "a=b;c&%", "")
	l := logins(f)
	f.Fuzz(func(t *testing.T, path, body, authorization string) {
		r := post(path, nil)
		r.Form = []byte(body)
		if authorization != "" {
			r.Call.Header.(azure.Header)["Authorization"] = []string{authorization}
		}
		d := l.Decide(r)
		if d.Action != Answer {
			if d.Body != nil || d.Result != Passed {
				t.Fatalf("%+v", d)
			}
			return
		}
		if !json.Valid(d.Body) {
			t.Fatalf("no JSON: %s", d.Body)
		}
		if said, err := url.ParseQuery(body); err != nil || said.Get("grant_type") != "client_credentials" || !strings.EqualFold(d.Client, clientID) {
			t.Fatalf("answered %q by %q: %+v", body, authorization, d)
		}
	})
}
