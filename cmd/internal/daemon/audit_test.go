package daemon

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/proxy/audit"
)

func auditFile(t *testing.T, path string) (records []audit.Record) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var r audit.Record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		records = append(records, r)
	}
	return records
}

// Calls, and tokens given out in IMDS's place, are recorded with the identity
// that Azure's own logs name. A reload that takes nothing over opens the file
// anew all the same, and the end writes what there is.
func TestAuditStreamIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	r := launch(t, imdstest.Options{}, publicCloud+"listen: [{address: \"127.0.0.1:0\"}, {address: \"127.0.0.1:0\", mode: imds}]\n"+
		"audit: {to: "+path+", on_error: refuse}\n"+vaultRoute)
	if status := r.secret(); status != http.StatusOK {
		t.Fatalf("the call got %d", status)
	}
	request, err := http.NewRequest("GET", "http://"+r.Addresses()[1]+"/metadata/identity/oauth2/token?api-version=2018-02-01&resource="+url.QueryEscape("https://vault.azure.net"), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Metadata", "true")
	answer, err := r.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	until(t, "both are recorded", func() bool { return len(auditFile(t, path)) == 2 })
	records := auditFile(t, path)
	call, token := records[0], records[1]
	if call.Event != audit.Call || call.Route != "keyvault" || call.Operation != "keyvault.secret.get" || call.ObjectID == "" || call.Audience != "https://vault.azure.net" {
		t.Errorf("the call is recorded as %+v", call)
	}
	if runtime.GOOS == "linux" && !strings.Contains(call.Unknown, "never a caller") { // the test calls itself
		t.Errorf("the caller is recorded as %+v", call)
	}
	if token.Event != audit.Token || token.ObjectID != call.ObjectID || token.Action != "inject" || !token.Mints || token.Status != http.StatusOK || token.Audience != call.Audience {
		t.Errorf("the token is recorded as %+v", token)
	}

	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	r.edit("routes:", "router:")
	if err := r.Reload(); err == nil {
		t.Error("the mistake was taken over")
	}
	r.secret()
	if err := r.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if old, now := auditFile(t, path+".1"), auditFile(t, path); len(old) != 2 || len(now) != 1 {
		t.Errorf("the old file has %d records, the other %d; want 2 and 1", len(old), len(now))
	}
	if !strings.Contains(metricsOf(t, r), `bearerd_audit_records_total{result="written"} 3`) {
		t.Error("the metrics do not count them")
	}
}

func metricsOf(t *testing.T, r *running) string {
	t.Helper()
	w := httptest.NewRecorder()
	r.metrics.Handler(nil).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// A stream that cannot be had ends the start.
func TestAuditStreamThatCannotBeHadEndsTheStart(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+anyPort+vaultRoute)
	c := r.parse()
	c.StateDir, c.Audit.To = t.TempDir(), filepath.Join(t.TempDir(), "none", "audit.log")
	if d, err := Start(t.Context(), Options{Config: c, Version: "test", Log: r.log}); err == nil || !strings.Contains(err.Error(), "the audit stream: ") {
		if d != nil {
			_ = d.Shutdown(t.Context())
		}
		t.Errorf("Start gave %v", err)
	}
}
