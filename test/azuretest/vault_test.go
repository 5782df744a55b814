package azuretest

import (
	"net/http"
	"strings"
	"testing"
)

const vaultURL = "https://" + VaultHost

func (w *world) vault(method, path, body string) answer {
	w.t.Helper()
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	return w.call(VaultAudience, method, vaultURL+path+separator+"api-version=7.4", body)
}

func TestVaultChallenges(t *testing.T) {
	w := newWorld(t, Options{})
	for name, tt := range map[string]struct{ audience, text string }{
		"no token":         {"", "AKV10000: Request is missing a Bearer or PoP token."},
		"another audience": {StorageAudience, "AKV10022: Invalid audience."},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.call(tt.audience, "PUT", vaultURL+"/secrets/a?api-version=7.4", `{"value":"x"}`)
			a.want(t, http.StatusUnauthorized, `"code":"Unauthorized"`, tt.text)
			const challenge = `Bearer authorization="https://login.windows.net/` + testTenant + `", resource="https://vault.azure.net"`
			if got := a.Header.Get("WWW-Authenticate"); got != challenge {
				t.Errorf("got challenge %q, want %q", got, challenge)
			}
		})
	}
	w.vault("PUT", "/secrets/a", `{"value":"x"}`).want(t, http.StatusOK)
	w.Tokens.Revoke()
	r, _ := http.NewRequest("GET", vaultURL+"/secrets/a?api-version=7.4", nil)
	r.Header.Set("Authorization", "Bearer "+w.token(VaultAudience))
	w.do(r).want(t, http.StatusOK)
	w.Tokens.Revoke()
	w.do(r).want(t, http.StatusUnauthorized, "revoked")
}

func TestVaultKeepsSecrets(t *testing.T) {
	w := newWorld(t, Options{})
	type bundle struct {
		ID, Value, ContentType string
		Tags                   map[string]string
	}
	var first, second, got bundle
	w.vault("PUT", "/secrets/db", `{"value":"one","tags":{"a":"b"}}`).json(t, &first)
	w.vault("PUT", "/secrets/db", `{"value":"two"}`).json(t, &second)
	w.vault("GET", "/secrets/DB/", "").json(t, &got)
	if got.Value != "two" || got.ID != second.ID || !strings.HasPrefix(got.ID, vaultURL+"/secrets/db/") {
		t.Errorf("got %+v, want the second version, %+v", got, second)
	}
	version := strings.TrimPrefix(first.ID, vaultURL)
	w.vault("PATCH", version, `{"contentType":"text/plain"}`).want(t, http.StatusOK)
	w.vault("GET", version, "").json(t, &got)
	if got.Value != "one" || got.ContentType != "text/plain" || got.Tags["a"] != "b" {
		t.Errorf("the first version is %+v", got)
	}
	w.vault("PATCH", version, `{"attributes":{"enabled":false}}`).want(t, http.StatusOK)
	w.vault("GET", version, "").want(t, http.StatusForbidden, "disabled")

	w.vault("GET", "/secrets/none", "").want(t, http.StatusNotFound, `"code":"SecretNotFound"`)
	w.vault("GET", "/secrets/db/none", "").want(t, http.StatusNotFound)
	w.call(VaultAudience, "GET", vaultURL+"/secrets/db", "").want(t, http.StatusBadRequest, "api-version")
	w.vault("POST", "/secrets/db", "").want(t, http.StatusMethodNotAllowed)
}

// The write that reaches a vault without its body is what the trap of the SDKs'
// first request would cause.
func TestVaultRefusesWriteWithoutItsBody(t *testing.T) {
	w := newWorld(t, Options{})
	for _, tt := range []struct{ method, path, body string }{
		{"PUT", "/secrets/db", ""}, {"PUT", "/secrets/db", "{}"}, {"PUT", "/secrets/db", "no JSON"},
		{"PATCH", "/secrets/db/1", ""}, {"POST", "/secrets/restore", ""}, {"POST", "/secrets/restore", "{}"},
		{"POST", "/secrets/restore", `{"value":"strange"}`},
	} {
		w.vault(tt.method, tt.path, tt.body).want(t, http.StatusBadRequest, `"code":"BadParameter"`)
	}
	w.vault("GET", "/secrets/db", "").want(t, http.StatusNotFound)
}

func TestVaultDeletesSoftlyAndRestores(t *testing.T) {
	w := newWorld(t, Options{})
	w.Vault.SetSecret(VaultHost, "Db", "x")
	var backup struct{ Value string }
	w.vault("POST", "/secrets/db/backup", "").json(t, &backup)
	w.vault("DELETE", "/secrets/db", "").want(t, http.StatusOK, vaultURL+"/deletedsecrets/db")
	w.vault("DELETE", "/secrets/db", "").want(t, http.StatusNotFound)
	w.vault("GET", "/secrets/db", "").want(t, http.StatusNotFound)
	w.vault("GET", "/deletedsecrets", "").want(t, http.StatusOK, "recoveryId")
	w.vault("PUT", "/secrets/db", `{"value":"y"}`).want(t, http.StatusConflict)
	w.vault("POST", "/secrets/restore", `{"value":"`+backup.Value+`"}`).want(t, http.StatusConflict)
	w.vault("POST", "/deletedsecrets/db/recover", "").want(t, http.StatusOK)
	w.vault("POST", "/deletedsecrets/db/recover", "").want(t, http.StatusNotFound)
	w.vault("GET", "/secrets/db", "").want(t, http.StatusOK, `"value":"x"`)
	w.vault("DELETE", "/secrets/db", "").want(t, http.StatusOK)
	w.vault("GET", "/deletedsecrets/db", "").want(t, http.StatusOK)
	w.vault("DELETE", "/deletedsecrets/db", "").want(t, http.StatusNoContent)
	w.vault("DELETE", "/deletedsecrets/db", "").want(t, http.StatusNotFound)
	w.vault("GET", "/deletedsecrets/db", "").want(t, http.StatusNotFound)
	w.vault("POST", "/secrets/restore", `{"value":"`+backup.Value+`"}`).want(t, http.StatusOK)
	w.vault("GET", "/secrets/db", "").want(t, http.StatusOK, `"value":"x"`)
}

func TestVaultListsInPagesWithAbsoluteLinks(t *testing.T) {
	w := newWorld(t, Options{})
	for _, name := range []string{"c", "a", "b", "d", "e"} {
		w.Vault.SetSecret(VaultHost, name, "of no concern")
		w.Vault.SetSecret(VaultHost, "a", "another version")
	}
	w.Vault.SetSecret("other.vault.azure.net", "f", "x")
	var names []string
	pages := 0
	for url := vaultURL + "/secrets?api-version=7.4&maxresults=25"; url != ""; pages++ {
		var page struct {
			Value    []struct{ ID string }
			NextLink string
		}
		a := w.call(VaultAudience, "GET", url, "")
		a.json(t, &page)
		if strings.Contains(a.body, "concern") {
			t.Errorf("a list shows a value: %s", a.body)
		}
		for _, item := range page.Value {
			names = append(names, strings.TrimPrefix(item.ID, vaultURL+"/secrets/"))
		}
		url = page.NextLink
		if url != "" && !strings.HasPrefix(url, vaultURL+"/secrets?") {
			t.Fatalf("the next page is at %q", url)
		}
	}
	if got := strings.Join(names, " "); got != "a b c d e" || pages != 3 {
		t.Errorf("got %q on %d pages", got, pages)
	}
	w.vault("GET", "/secrets/a/versions?maxresults=1", "").want(t, http.StatusOK, "/secrets/a/versions?")
	w.vault("GET", "/secrets/none/versions", "").want(t, http.StatusNotFound)
	w.vault("GET", "/secrets?$skiptoken=x", "").want(t, http.StatusBadRequest)
}
