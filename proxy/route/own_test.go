package route

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/proxy/azure"
)

// bearer is the Authorization of a token with these claims.
func bearer(claims string) string {
	e := base64.RawURLEncoding
	return "Bearer " + e.EncodeToString([]byte(`{"typ":"JWT"}`)) + "." + e.EncodeToString([]byte(claims)) + ".c2ln"
}

// What a call brings of its own decides, together with the route's own, whether
// it goes as it is, with the machine's token, or not at all.
func TestOwnCredentials(t *testing.T) {
	now := time.Now()
	token := func(audience, issuer string, until time.Time) string {
		return bearer(fmt.Sprintf(`{"aud":%q,"iss":%q,"exp":%d}`, audience, issuer, until.Unix()))
	}
	const (
		vault, storage = "https://vault.azure.net", "https://storage.azure.com/"
		entra          = "https://sts.windows.net/t/"
		placeholder    = azure.PlaceholderIssuer + "t/"
		sas            = "sv=2022-11-02&sig=abc"
	)
	soon, past := now.Add(time.Hour), now.Add(-time.Hour)
	for _, test := range []struct {
		name, authorization, query string
		own                        Own
		action                     Action
		kind, code                 string
	}{
		{"nothing", "", "", OwnPass, Inject, "none", ""},
		{"shared key", "SharedKey acct:c2ln", "", OwnRefuse, Inject, "dead", ""},
		{"expired", token(storage, entra, past), "", OwnRefuse, Inject, "dead", ""},
		{"live", token(storage, entra, soon), "", OwnPass, Pass, "token", ""},
		{"live", token(storage, entra, soon), "", OwnReplace, Inject, "token", ""},
		{"live", token(storage, entra, soon), "", OwnRefuse, Refuse, "token", CodeOwnCredential},
		{"live for an account", token("https://acct.blob.core.windows.net/", entra, soon), "", OwnPass, Pass, "token", ""},
		{"live for somebody unknown", token("api://x", entra, soon), "", OwnPass, Pass, "token", ""},
		{"live for another service", token(vault, entra, soon), "", OwnPass, Inject, "foreign", ""},
		{"live for another service", token(vault, entra, soon), "", OwnRefuse, Inject, "foreign", ""},
		{"SAS", "", sas, OwnPass, Pass, "sas", ""},
		{"SAS", "", sas, OwnReplace, Refuse, "sas", CodeOwnCredential},
		{"SAS", "", sas, OwnRefuse, Refuse, "sas", CodeOwnCredential},
		{"SAS beside another service's token", token(vault, entra, soon), sas, OwnReplace, Refuse, "sas", CodeOwnCredential},
		{"placeholder", token(storage, placeholder, soon), "", OwnPass, Inject, "placeholder", ""},
		{"placeholder", token(storage, placeholder, soon), "", OwnRefuse, Inject, "placeholder", ""},
		{"placeholder that has ended", token(storage, placeholder, past), "", OwnPass, Inject, "placeholder", ""},
		{"placeholder for an account", token("https://acct.blob.core.windows.net", placeholder, soon), "", OwnPass, Inject, "placeholder", ""},
		{"placeholder for another service", token(vault, placeholder, soon), "", OwnPass, Refuse, "placeholder", CodePlaceholder},
		{"placeholder for somebody unknown", token("api://x", placeholder, soon), "", OwnReplace, Refuse, "placeholder", CodePlaceholder},
		{"placeholder for nobody", bearer(`{"iss":"` + placeholder + `"}`), "", OwnPass, Refuse, "placeholder", CodePlaceholder},
	} {
		table := compile(t, Rule{Service: "storage", Own: test.own})
		c := &azure.Call{Method: "GET", Scheme: "https", Host: "acct.blob.core.windows.net", Path: "/c/b", Query: test.query, Header: azure.Header{}}
		if test.authorization != "" {
			c.Header = azure.Header(http.Header{"Authorization": {test.authorization}})
		}
		d := table.Decide(c, nil, now)
		if d.Action != test.action || d.Own.Kind() != test.kind || d.Code != test.code || d.Route == nil || d.Reason == "" {
			t.Errorf("%s, own: %s: %s %s %q (%s), want %s %s %q", test.name, test.own, d.Action, d.Own.Kind(), d.Code, d.Reason, test.action, test.kind, test.code)
		}
		if d.Action == Inject && d.Own != azure.None && !strings.Contains(d.Reason, d.Own.String()) {
			t.Errorf("%s: the reason %q does not tell what is replaced", test.name, d.Reason)
		}
	}
}

// No placeholder goes where nothing takes its place.
func TestPlaceholderIsNotSentToUnroutedHosts(t *testing.T) {
	table := compile(t, Rule{Service: "storage"})
	c := &azure.Call{Method: "GET", Scheme: "http", Host: "evil.example", Path: "/", Header: azure.Header{"Authorization": {bearer(`{"iss":"` + azure.PlaceholderIssuer + `t/"}`)}}}
	if d := table.Decide(c, nil, time.Now()); d.Action != Refuse || d.Code != CodePlaceholder {
		t.Errorf("%s %s", d.Action, d.Code)
	}
	c.Header = azure.Header{"Authorization": {"Bearer dummy"}}
	if d := table.Decide(c, nil, time.Now()); d.Action != Tunnel {
		t.Errorf("a dummy: %s", d.Action)
	}
}
