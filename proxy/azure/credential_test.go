package azure

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func jwt(header, claims string) string {
	e := base64.RawURLEncoding
	return e.EncodeToString([]byte(header)) + "." + e.EncodeToString([]byte(claims)) + "." + e.EncodeToString([]byte("signature"))
}

func jwtUntil(at time.Time) string {
	return jwt(`{"alg":"RS256","typ":"JWT"}`, fmt.Sprintf(`{"aud":"https://storage.azure.com/","exp":%d}`, at.Unix()))
}

// service gives a service of the public cloud.
func service(t testing.TB, name string) *Service {
	t.Helper()
	cloud, _ := CloudNamed("public")
	s, ok := cloud.Service(name)
	if !ok {
		t.Fatalf("no service is called %s", name)
	}
	return s
}

func TestCredentialOf(t *testing.T) {
	storage := service(t, "storage")
	live, expired := jwtUntil(now.Add(time.Hour)), jwtUntil(now.Add(-time.Second))
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	jwe := part(`{"alg":"RSA-OAEP","enc":"A256GCM"}`) + ".a.b.c.d"
	for _, test := range []struct {
		name, authorization, query string
		want                       Credential
	}{
		{"nothing", "", "api-version=7.4", None},
		{"live token", "Bearer " + live, "", Live},
		{"scheme in any case", "bEARER " + live, "", Live},
		{"several spaces", " Bearer \t " + live, "", Live},
		{"a tab", "Bearer\t" + live, "", Live},
		{"alg none", "Bearer " + jwt(`{"alg":"none"}`, `{"exp":9999999999}`), "", Live},
		{"padded parts", "Bearer " + part(`{"a":1}`) + "=." + part(`{"exp":9999999999}`) + "==.x", "", Live},
		{"no signature", "Bearer " + part(`{"alg":"none"}`) + "." + part(`{"exp":9999999999}`) + ".", "", Live},
		{"expiry with a fraction", "Bearer " + jwt(`{}`, `{"exp":9999999999.5}`), "", Live},
		{"proof of possession", "PoP " + jwt(`{"typ":"pop"}`, `{"at":"x","ts":1}`), "", Live},
		{"encrypted token", "Bearer " + jwe, "", Live},
		{"expired token", "Bearer " + expired, "", Dead},
		{"expires now", "Bearer " + jwtUntil(now), "", Dead},
		{"token without expiry", "Bearer " + jwt(`{"alg":"RS256"}`, `{"sub":"1234567890"}`), "", Dead},
		{"expiry as text", "Bearer " + jwt(`{}`, `{"exp":"9999999999"}`), "", Dead},
		{"two parts", "Bearer " + part(`{}`) + "." + part(`{"exp":9999999999}`), "", Dead},
		{"four parts", "Bearer " + live + ".x", "", Dead},
		{"five parts that are no JWE", "Bearer a.b.c.d.e", "", Dead},
		{"header is no JSON", "Bearer x." + part(`{"exp":9999999999}`) + ".x", "", Dead},
		{"claims are a list", "Bearer " + jwt(`{}`, `[9999999999]`), "", Dead},
		{"claims are null", "Bearer " + jwt(`{}`, `null`), "", Dead},
		{"dummy", "Bearer dummy", "", Dead},
		{"only a scheme", "Bearer", "", Dead},
		{"empty value", " ", "", Dead},
		{"token without a scheme", live, "", Dead},
		{"shared key", "SharedKey acct:c2ln", "", Dead},
		{"shared key lite", "SharedKeyLite acct:c2ln", "", Dead},
		{"shared key of another case", "sharedkey acct:c2ln", "", Dead},
		{"App Configuration's key", "HMAC-SHA256 Credential=x&SignedHeaders=y&Signature=z", "", Dead},
		{"basic", "Basic dTpw", "", Dead},
		{"a live token under another scheme", "Basic " + live, "", Dead},
		{"Service Bus signature", "SharedAccessSignature sr=x&sig=y&se=9999999999&skn=z", "", SAS},
		{"expired Service Bus signature", "SharedAccessSignature sr=x&sig=y&se=1&skn=z", "", Dead},
		{"Service Bus signature without sig", "SharedAccessSignature sr=x&se=9999999999", "", Dead},

		{"SAS", "", "sv=2022-11-02&sr=b&sig=abc%3D", SAS},
		{"SAS in capitals", "", "SV=2022-11-02&SIG=abc", SAS},
		{"SAS with escaped names", "", "s%76=2022-11-02&%73ig=abc", SAS},
		{"expired SAS", "", "se=2001-01-01&sig=abc", SAS},
		{"SAS by permissions", "", "sig=abc&sp=r", SAS},
		{"SAS beside a token", "Bearer " + live, "sv=2022-11-02&sig=abc", SAS},
		{"SAS beside a shared key", "SharedKey acct:c2ln", "sv=2022-11-02&sig=abc", SAS},
		{"sig alone", "", "sig=abc", None},
		{"sv alone", "", "sv=2022-11-02", None},
		{"sig as a value", "", "sv=1&x=sig", None},
		{"a name that begins like it", "", "signature=1&sv=2", None},
		{"semicolons do not separate", "", "a=1;sig=2;sv=3", None},
		{"token for another service", "Bearer " + jwt(`{}`, `{"aud":"https://vault.azure.net","exp":9999999999}`), "", Foreign},
		{"expired token for another service", "Bearer " + jwt(`{}`, `{"aud":"https://vault.azure.net","exp":1}`), "", Dead},
		{"token for somebody unknown", "Bearer " + jwt(`{}`, `{"aud":"api://contoso","exp":9999999999}`), "", Live},
		{"token for several", "Bearer " + jwt(`{}`, `{"aud":["https://vault.azure.net"],"exp":9999999999}`), "", Live},
		{"SAS beside a token for another service", "Bearer " + jwt(`{}`, `{"aud":"https://vault.azure.net","exp":9999999999}`), "sv=1&sig=x", SAS},
		{"placeholder", "Bearer " + jwt(`{"alg":"HS256"}`, `{"iss":"https://bearerd.invalid/t/","exp":9999999999}`), "", Placeholder},
		{"placeholder of long ago", "bearer  " + jwt(`{"alg":"HS256"}`, `{"iss":"https://bearerd.invalid/t/","exp":1}`), "", Placeholder},
		{"an issuer that only looks like ours", "Bearer " + jwt(`{}`, `{"iss":"https://bearerd.invalid.example/","exp":9999999999}`), "", Live},
		{"placeholder in the query", "", "access_token=" + jwt(`{}`, `{"iss":"https://bearerd.invalid/t/","exp":9999999999}`), None},

		{"token in the query", "", "access_token=" + live, Live},
		{"expired token in the query", "", "access_token=" + expired, None},
	} {
		c := &Call{Query: test.query, Header: Header{}}
		if test.authorization != "" {
			c.Header = Header{"Authorization": {test.authorization}}
		}
		if got := storage.CredentialOf(c, now); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// A token hidden behind a dead header must not be overruled by ours.
func TestAnyOfSeveralAuthorizationsCounts(t *testing.T) {
	live := "Bearer " + jwtUntil(now.Add(time.Hour))
	for _, values := range [][]string{{live, "Basic x"}, {"Basic x", live}, {"Basic x", "SharedAccessSignature sig=1&se=9999999999", live}} {
		if got := service(t, "storage").CredentialOf(&Call{Header: Header{"Authorization": values}}, now); got != Live {
			t.Errorf("%d values: %s", len(values), got)
		}
	}
	if got := service(t, "storage").CredentialOf(&Call{Header: Header{"Authorization": {"Basic x", "Bearer y"}}}, now); got != Dead {
		t.Errorf("two dead ones: %s", got)
	}
}

func TestCredentialOfNothingDoesNotAllocate(t *testing.T) {
	storage := service(t, "storage")
	for _, c := range []*Call{
		{},
		{Query: "api-version=7.4&maxresults=25&sigx=1", Header: Header(http.Header{"Accept": {"application/json"}})},
		{Query: "sv=2022-11-02&sig=abc", Header: Header{}},
	} {
		if n := testing.AllocsPerRun(100, func() { storage.CredentialOf(c, now) }); n != 0 {
			t.Errorf("%q: %v allocations", c.Query, n)
		}
	}
}

// A signature in the query is one where the service takes it alone. Elsewhere
// sig is any parameter, and a call with it must not go without a token.
func TestSignatureCountsWhereItIsTaken(t *testing.T) {
	custom := Custom("api", "api://x")
	for _, test := range []struct {
		service *Service
		host    string
		want    Credential
	}{
		{service(t, "storage"), "acct.blob.core.windows.net", SAS},
		{service(t, "keyvault"), "payroll.vault.azure.net", None},
		{service(t, "arm"), "management.azure.com", None},
		{service(t, "servicebus"), "ours.servicebus.windows.net", None},
		{custom, "api.contoso.internal", None},
		{custom, "prod-01.westeurope.logic.azure.com", SAS},
		{custom, "logic.azure.com.example", None},
	} {
		c := &Call{Host: test.host, Query: "sv=1&sp=x&sig=abc", Header: Header{}}
		if got := test.service.CredentialOf(c, now); got != test.want {
			t.Errorf("%s at %s: %s, want %s", test.service.Name, test.host, got, test.want)
		}
	}
}

func TestTakes(t *testing.T) {
	public, _ := CloudNamed("public")
	arm, vault, storage := service(t, "arm"), service(t, "keyvault"), service(t, "storage")
	for _, test := range []struct {
		service        *Service
		audience       string
		takes, foreign bool
	}{
		{arm, "https://management.azure.com/", true, false},
		{arm, "https://management.azure.com", true, false},
		{arm, "HTTPS://Management.Azure.com", true, false},
		{arm, "https://management.core.windows.net/", true, false}, // the Azure CLI's
		{arm, "797f4846-ba00-4fd7-ba43-dac1f8f63013", true, false},
		{arm, "https://vault.azure.net", false, true},
		{arm, "https://management.azure.com.example", false, false},
		{arm, "", false, false},
		{vault, "cfa8b339-82a2-471a-a3c9-0fc0be7a4093", true, false},
		{vault, "https://payroll.vault.azure.net", true, false},
		{vault, "https://storage.azure.com/", false, true},
		{vault, "https://vault.azure.cn", false, false}, // of another cloud: the vault's to judge
		{storage, "https://storage.azure.com", true, false},
		{storage, "https://acct.blob.core.windows.net/", true, false},
		{storage, "https://acct.blob.core.windows.net:444/", false, false},
		{storage, "00000003-0000-0000-c000-000000000000", false, true},
		{storage.WithAudience("api://x"), "api://x", true, false},
		{service(t, "eventhubs"), "https://servicebus.azure.net/", true, false},
		{public.Custom("api", "api://x"), "api://x", true, false},
		{public.Custom("api", "api://x"), "api://y", false, false},
		{public.Custom("api", "api://x"), "https://vault.azure.net", false, true},
		{public.Custom("wrong", "https://vault.azure.net"), "https://vault.azure.net", true, false},
		{Custom("api", "api://x"), "https://vault.azure.net", false, false},
	} {
		if got := test.service.Takes(test.audience); got != test.takes {
			t.Errorf("%s takes %q: %v", test.service.Name, test.audience, got)
		}
		if got := test.service.isForeign(test.audience); got != test.foreign {
			t.Errorf("%q is foreign to %s: %v", test.audience, test.service.Name, got)
		}
	}
}

// FuzzCredentialOf: a Bearer value of three parts is live if, and only if, an
// independent reading finds JSON objects and an expiry to come.
func FuzzCredentialOf(f *testing.F) {
	f.Add(`{"alg":"RS256"}`, `{"exp":9999999999}`, "sig")
	f.Add(`{}`, `{"exp":1}`, "")
	f.Add(`[]`, `{"exp":1e400}`, "")
	f.Add(`{}`, `{"exp":null}`, "x")
	storage := service(f, "storage")
	f.Fuzz(func(t *testing.T, header, claims, signature string) {
		e := base64.RawURLEncoding
		token := e.EncodeToString([]byte(header)) + "." + e.EncodeToString([]byte(claims)) + "." + e.EncodeToString([]byte(signature))
		got := storage.CredentialOf(&Call{Header: Header{"Authorization": {"Bearer " + token}}}, now)
		var h, c map[string]any
		wellFormed := strings.HasPrefix(header, "{") && strings.HasPrefix(claims, "{") &&
			json.Unmarshal([]byte(header), &h) == nil && json.Unmarshal([]byte(claims), &c) == nil
		future := false
		for name, value := range c { // encoding/json matches names in any case
			if number, ok := value.(float64); ok && strings.EqualFold(name, "exp") && number > float64(now.Unix()) {
				future = true
			}
		}
		if got == Live && !(wellFormed && future) {
			t.Fatalf("live: %q %q", header, claims)
		}
		if exp, ok := c["exp"].(float64); got != Live && wellFormed && len(c) == 1 && ok && exp > float64(now.Unix()) {
			t.Fatalf("%s: %q %q", got, header, claims)
		}
	})
}
