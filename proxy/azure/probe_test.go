package azure

import (
	"net/url"
	"strings"
	"testing"
)

func callTo(method, host, target string) *Call {
	path, query, _ := strings.Cut(target, "?")
	return &Call{Method: method, Scheme: "https", Host: host, Path: path, Query: query, Header: Header{}}
}

// What the Key Vault clients send to elicit a challenge, seen from those for Go
// (azsecrets 1.5.1) and JavaScript (@azure/keyvault-secrets 4.11.2).
func TestIsProbe(t *testing.T) {
	vault, _ := mustCloud(t, "public").Service("keyvault")
	hsm, _ := mustCloud(t, "public").Service("managedhsm")
	storage, _ := mustCloud(t, "public").Service("storage")
	for _, call := range []string{
		"PUT /secrets/a", "PATCH /secrets/a/1", "PATCH /certificates/a/pending", "PUT /keys/a/rotationpolicy", "PUT /certificates/contacts",
		"POST /keys/a/create", "POST /keys/a/1/sign", "POST /keys/a/1/unwrapkey", "POST /keys/a/1/release", "POST /keys/backup/1/decrypt",
		"POST /secrets/restore", "POST /keys/restore", "POST /certificates/a/import", "POST /certificates/a/pending/merge",
		"POST /storage/a/regeneratekey", "POST /rng", "POST /backup", "POST /securitydomain/upload",
		"POST /", "POST /secrets/backup", "POST /secrets/a/rotate", "POST /keys/a/1/rotate", "POST /a/b/c/d/e/backup", "POST /unknown/a/b",
	} {
		method, path, _ := strings.Cut(call, " ")
		for _, s := range []*Service{vault, hsm} {
			if !s.IsProbe(callTo(method, "x.vault.azure.net", path)) {
				t.Errorf("%s: %s is taken for a real request", s.Name, call)
			}
		}
		if storage.IsProbe(callTo(method, "x.blob.core.windows.net", path)) {
			t.Errorf("%s is taken for a probe of storage", call)
		}
		withBody := callTo(method, "x.vault.azure.net", path)
		for _, withBody.Length = range []int64{-1, 1} {
			if vault.IsProbe(withBody) {
				t.Errorf("%s with a body of length %d is taken for a probe", call, withBody.Length)
			}
		}
		authorised := callTo(method, "x.vault.azure.net", path)
		authorised.Header = Header{"Authorization": {"Bearer dummy"}}
		if vault.IsProbe(authorised) {
			t.Errorf("%s with an Authorization is taken for a probe", call)
		}
	}
	for _, call := range []string{
		"GET /secrets/a", "HEAD /secrets/a", "DELETE /secrets/a", "OPTIONS /",
		"POST /secrets/a/backup", "POST /keys/a/backup", "POST /certificates/a/backup", "POST /storage/a/backup", "POST //secrets/a/backup", "POST /SECRETS/a/BACKUP/",
		"POST /deletedsecrets/a/recover", "POST /deletedkeys/a/recover", "POST /deletedcertificates/a/recover", "POST /deletedstorage/a/recover", "POST /deletedstorage/a/sas/b/recover",
		"POST /keys/a/rotate",
	} {
		method, path, _ := strings.Cut(call, " ")
		if vault.IsProbe(callTo(method, "x.vault.azure.net", path)) {
			t.Errorf("%s is taken for a probe", call)
		}
	}
}

// The clients' own readings of a challenge, in their essence: the Go one
// splits at spaces, wants exactly one equals sign in each part, and takes the
// fourth part of the URL without looking; the JavaScript one splits at spaces
// with or without a comma before them, and wants quotes.
func TestChallengeSuitsTheClients(t *testing.T) {
	for _, test := range []struct{ cloud, service, host, tenant, wantTenant, login string }{
		{"public", "keyvault", "payroll.vault.azure.net", "72f988bf-86f1-41af-91ab-2d7cd011db47", "72f988bf-86f1-41af-91ab-2d7cd011db47", "login.microsoftonline.com"},
		{"public", "keyvault", "payroll.vault.azure.net", "contoso.onmicrosoft.com", "contoso.onmicrosoft.com", "login.microsoftonline.com"},
		{"public", "managedhsm", "hsm.managedhsm.azure.net", "", "common", "login.microsoftonline.com"},
		{"usgov", "keyvault", "payroll.vault.usgovcloudapi.net", "x\", evil=\"", "common", "login.microsoftonline.us"},
		{"china", "keyvault", "payroll.vault.azure.cn", "a\r\nb", "common", "login.chinacloudapi.cn"},
	} {
		s, _ := mustCloud(t, test.cloud).Service(test.service)
		challenge := s.Challenge(test.tenant)
		goValues, jsValues := map[string]string{}, map[string]string{}
		for _, part := range strings.Split(strings.ReplaceAll(challenge, "Bearer ", ""), " ") {
			if sub := strings.Split(part, "="); len(sub) == 2 {
				goValues[sub[0]] = strings.TrimSuffix(strings.ReplaceAll(sub[1], `"`, ""), ",")
			}
		}
		for _, part := range strings.Fields(strings.ReplaceAll(challenge, ",", " ")) {
			if name, value, ok := strings.Cut(part, `="`); ok {
				jsValues[name] = strings.TrimSuffix(value, `"`)
			}
		}
		for client, values := range map[string]map[string]string{"Go": goValues, "JavaScript": jsValues} {
			authority := strings.Split(values["authorization"], "/")
			if len(authority) != 4 || authority[2] != test.login || authority[3] != test.wantTenant {
				t.Errorf("%s reads authorization %q of %s", client, values["authorization"], challenge)
			}
			resource, err := url.Parse(values["resource"])
			if err != nil || resource.Host == "" || !strings.HasSuffix(test.host, "."+resource.Host) || strings.HasSuffix(values["resource"], "/") {
				t.Errorf("%s reads resource %q of %s", client, values["resource"], challenge)
			}
		}
		if !TokenRejected([]string{challenge}) {
			t.Errorf("%s is no challenge to ourselves", challenge)
		}
	}
}
