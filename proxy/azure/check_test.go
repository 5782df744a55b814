package azure

import (
	"net/http"
	"strings"
	"testing"
)

// Nothing that a check asks for changes anything, or gives a credential.
func TestChecksReadOnly(t *testing.T) {
	cloud, _ := CloudNamed("public")
	hosts := map[string]string{
		"payroll.vault.azure.net":     "keyvault.secret.list",
		"pool.managedhsm.azure.net":   "managedhsm.key.list",
		"acct.blob.core.windows.net":  "storage.container.list",
		"acct.dfs.core.windows.net":   "storage.dfs.filesystem.list",
		"acct.queue.core.windows.net": "storage.queue.list",
		"acct.table.core.windows.net": "storage.table.list",
		"management.azure.com":        "arm.subscription.read",
	}
	for host, want := range hosts {
		s := serviceOf(t, cloud, host)
		check, ok := s.CheckOf(host)
		if !ok {
			t.Errorf("%s has no check", host)
			continue
		}
		path, query, _ := strings.Cut(check.Target, "?")
		header := make(http.Header)
		for _, f := range check.Header {
			header.Set(f.Name, f.Value)
		}
		op := s.OperationOf(&Call{Method: http.MethodGet, Scheme: "https", Host: host, Path: path, Query: query, Header: Header(header)})
		if op.Name != want || op.Mints {
			t.Errorf("%s: %s is %+v, want %s", host, check.Target, op, want)
		}
		if !strings.Contains(check.Grant, "PRINCIPAL") || check.Reads == "" {
			t.Errorf("%s: %+v", host, check)
		}
	}
	if _, ok := serviceOf(t, cloud, "acct.file.core.windows.net").CheckOf("acct.file.core.windows.net"); ok {
		t.Error("files have a check")
	}
	if _, ok := Custom("contoso", "api://contoso").CheckOf("api.contoso.example"); ok {
		t.Error("nobody knows what is harmless to an API of the operator's own")
	}
}

func serviceOf(t *testing.T, cloud *Cloud, host string) *Service {
	t.Helper()
	for _, s := range cloud.Services() {
		if len(s.Hosts())+len(s.Patterns()) > 0 && s.Has(host) {
			return s
		}
	}
	t.Fatalf("nobody has %s", host)
	return nil
}
