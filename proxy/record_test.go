package proxy

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/proxy/audit"
	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/route"
)

// disk is where an audit stream goes, which can be full.
type disk struct {
	mu   sync.Mutex // guards what follows
	text strings.Builder
	full bool
}

// Write implements io.Writer.
func (d *disk) Write(text []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return 0, errors.New("no space left on device")
	}
	return d.text.Write(text)
}

func (d *disk) fill(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

// audits has the server write its stream to d.
func audits(t testing.TB, d *disk, refuse bool) worldOption {
	return func(o *Options, _ *httptest.Server) {
		s, err := audit.Open(audit.Options{To: audit.Stdout, Stdout: d, Refuse: refuse})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close(t.Context()) })
		o.Audit = s
	}
}

// audited gives the records, once the server has ended.
func (w *world) audited(d *disk) []audit.Record {
	w.t.Helper()
	if err := w.server.Shutdown(w.t.Context()); err != nil {
		w.t.Error(err)
	}
	if err := w.server.audit.Close(w.t.Context()); err != nil {
		w.t.Error(err)
	}
	var all []audit.Record
	for line := range strings.Lines(d.text.String()) {
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			w.t.Fatalf("%q: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}

// tokenOf is a token whose claims name an identity.
func tokenOf(oid string) *imds.Token {
	part := base64.RawURLEncoding.EncodeToString
	return imds.NewToken(part([]byte(`{}`))+"."+part([]byte(`{"oid":"`+oid+`"}`))+"."+part([]byte("secret-signature")), time.Now().Add(time.Hour), time.Time{})
}

func withIDs(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Ms-Request-Id", "service-"+r.Header.Get("X-Ms-Client-Request-Id"))
	io.WriteString(w, "hello")
}

// Whatever becomes of a call to a routed host, it has one record; what goes
// elsewhere has none.
func TestEachRoutedCallHasOneRecord(t *testing.T) {
	d := new(disk)
	w := newWorld(t, withIDs, upstreamHTTP1, audits(t, d, true),
		withRoutes(t, route.Rule{Service: "keyvault", Hosts: []string{vaultHost}, Gateway: "vault", Operations: []string{"keyvault.secret.get", "keyvault.secret.backup"}},
			route.Rule{Service: "storage", Hosts: []string{blobHost}, Gateway: "blob"}),
		answersLogins, func(o *Options, _ *httptest.Server) { o.Tokens = oneToken{tokenOf("0000-oid")} })
	ask := func(id, method, url string, header ...string) {
		r := newRequest(t, method, url, nil)
		r.Header.Set("X-Ms-Client-Request-Id", id)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		do(t, w.plain(), r)
	}
	ask("get", "GET", w.base("/vault/secrets/db?api-version=7.4&sig=c4n4ry"))
	ask("backup", "POST", w.base("/vault/secrets/db/backup?api-version=7.4"))
	ask("refused", "DELETE", w.base("/vault/secrets/db?api-version=7.4"))
	ask("trace", "TRACE", w.base("/vault/secrets/db"))
	ask("own", "GET", w.base("/blob/c/b?sv=2024-11-04&sp=r&sig=c4n4ry"))
	ask("dead", "GET", w.base("/blob/c/b"), "Authorization", "SharedKey acct:c4n4ry")
	ask("probe", "PUT", w.base("/vault/secrets/db?api-version=7.4"))
	ask("unknown", "GET", w.base("/nope"))
	do(t, w.viaConnect(false), newRequest(t, "GET", "https://"+vaultHost+"/secrets/c?api-version=7.4", nil))
	w.raw("CONNECT "+vaultHost+":8443 HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT")
	w.raw("GET http://elsewhere.example/ HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n", "GET")
	do(t, w.plain(), loginRequest(t, w.base("/entra"+loginPath), loginForm(loginClient, "https%3A%2F%2Fvault.azure.net")))
	do(t, w.plain(), loginRequest(t, w.base("/entra"+loginPath), loginForm("another", "https%3A%2F%2Fvault.azure.net")))

	var got []string
	records := w.audited(d)
	for _, r := range records {
		got = append(got, fmt.Sprintf("%s %s | %s %s %s%s | %s %s oid=%s %s own=%s mints=%t | %d %s %s | %d", r.Event, r.ClientRequestID, r.Steering, r.Method, r.Host, r.Path,
			r.Action, r.Route, r.ObjectID, r.Operation, r.Own, r.Mints, r.Status, r.Code, r.ServiceRequestID, r.Sent))
		if r.Time.IsZero() || r.Seconds <= 0 || r.Remote == "" || r.Unknown == "" || r.RequestID == "" || r.ClientRequestID != "" && r.RequestID != r.ClientRequestID {
			t.Errorf("the record lacks what all have: %+v", r)
		}
	}
	want := []string{
		"call get | base GET " + vaultHost + "/secrets/db | inject keyvault oid=0000-oid keyvault.secret.get own= mints=false | 200  service-get | 5",
		"call backup | base POST " + vaultHost + "/secrets/db/backup | inject keyvault oid=0000-oid keyvault.secret.backup own= mints=true | 200  service-backup | 5",
		"call refused | base DELETE " + vaultHost + "/secrets/db | refuse keyvault oid= keyvault.secret.delete own= mints=false | 403 BearerdNotPermitted  | 0",
		"call trace | base TRACE " + vaultHost + "/secrets/db | refuse unrouted oid=  own= mints=false | 405 BearerdMethodNotAllowed  | 0",
		"call own | base GET " + blobHost + "/c/b | pass storage oid= storage.blob.get own=sas mints=false | 200  service-own | 5",
		"call dead | base GET " + blobHost + "/c/b | inject storage oid=0000-oid storage.blob.get own=dead mints=false | 200  service-dead | 5",
		"call probe | base PUT " + vaultHost + "/secrets/db | refuse keyvault oid= keyvault.secret.set own= mints=false | 403 BearerdNotPermitted  | 0",
		"call  | connect GET " + vaultHost + "/secrets/c | inject keyvault oid=0000-oid keyvault.secret.get own= mints=false | 200  service- | 5",
		"connect  | connect CONNECT " + vaultHost + " | refuse unrouted oid=  own= mints=false | 403 BearerdPortNotRouted  | 0",
		"login  | base POST " + loginHost + loginPath + " | answered unrouted oid=  own= mints=false | 200   | ",
	}
	if len(got) != len(want) {
		t.Fatalf("got %d records, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("got\n%s\nwant\n%s", got[i], want[i])
		}
	}
	if r := records[9]; r.Client != loginClient || r.Audience == "" {
		t.Errorf("the login is told as %+v", r)
	}
	for _, secret := range []string{"c4n4ry", "secret-signature", loginSecret} {
		if strings.Contains(d.text.String(), secret) {
			t.Errorf("%s is in the stream", secret)
		}
	}
}

// Each call of a batch has a record of its own, behind the batch's.
func TestCallsOfABatchAreRecorded(t *testing.T) {
	d := new(disk)
	w := newWorld(t, new(bodies).handle, audits(t, d, false), withRoutes(t, batchRules()...), func(o *Options, _ *httptest.Server) { o.Tokens = byIdentity{} })
	w.batchTo(blobRoot, mixed, blobBody("DELETE /in/one", "DELETE /other/two"))
	var got []string
	for _, r := range w.audited(d) {
		got = append(got, fmt.Sprint(r.Event, " ", r.Calls, " ", r.Route, " ", r.Method, " ", r.Path, " ", r.Operation))
	}
	want := []string{"call 2 batch POST / storage.blob.batch", "batch_call 0 in DELETE /in/one storage.blob.delete", "batch_call 0 other DELETE /other/two storage.blob.delete"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// With on_error: refuse nothing goes out that cannot be written down; what no
// route names is not concerned.
func TestNoCallGoesOutUnrecorded(t *testing.T) {
	d := new(disk)
	calls := 0
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) { calls++; withIDs(w, r) }, audits(t, d, true), answersLogins)
	d.fill(true)
	do(t, w.plain(), newRequest(t, "GET", w.base("/vault/secrets/under-way"), nil))
	eventually(t, "the stream fails", func() bool { return w.server.audit.State() != nil })
	for _, url := range []string{w.base("/vault/secrets/x"), w.base("/entra" + loginPath)} {
		answer, body := do(t, w.plain(), newRequest(t, "GET", url, nil))
		wantProblem(t, answer, body, http.StatusServiceUnavailable, CodeAuditUnavailable)
		if answer.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if calls != 1 {
		t.Errorf("%d calls went out, want the one from before", calls)
	}
	if code := w.raw("CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT").StatusCode; code != 200 {
		t.Errorf("a tunnel got %d", code)
	}
	d.fill(false)
	eventually(t, "the stream is written again", func() bool { return w.server.audit.State() == nil })
	do(t, w.plain(), newRequest(t, "GET", w.base("/vault/secrets/after"), nil))
	var paths []string
	for _, r := range w.audited(d) {
		paths = append(paths, r.Path)
	}
	if want := []string{"/secrets/under-way", "/secrets/after"}; !slices.Equal(paths, want) {
		t.Errorf("recorded are %q, want %q", paths, want)
	}
}

func TestRecordTellsWhoCalled(t *testing.T) {
	var r audit.Record
	RecordCaller(&r, &caller.Caller{Known: true, UID: 1001, PID: 42, Cgroup: "/a", Certificates: slices.Repeat([]string{strings.Repeat("x", 300)}, 20)})
	if r.UID == nil || *r.UID != 1001 || r.PID != 42 || r.Cgroup != "/a" || r.Unknown != "" || len(r.Certificates) != 16 || len(r.Certificates[0]) > 210 {
		t.Errorf("got %+v", r)
	}
	r = audit.Record{}
	RecordCaller(&r, &caller.Caller{Unknown: "it came from afar"})
	if r.UID != nil || r.Unknown != "it came from afar" {
		t.Errorf("got %+v", r)
	}
}

// The log and the stream call a call by one name: its caller's where it has one.
func TestRequestIDIsTheCallersOrMade(t *testing.T) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	d := new(disk)
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header["X-Ms-Client-Request-Id"], r.Header["Traceparent"], r.Header["Tracestate"], r.Header["X-Request-Id"])
	}, audits(t, d, false))
	for _, test := range []struct{ id, parent, want string }{
		{"mine-1", "00-" + trace + "-00f067aa0ba902b7-01", "mine-1"},
		{"", "00-" + trace + "-00f067aa0ba902b7-01", trace},
		{"not an id", "", ""},
		{"", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", ""},
		{"", "00-" + strings.ToUpper(trace) + "-00f067aa0ba902b7-01", ""},
		{"", "ff-" + trace + "-00f067aa0ba902b7-01", ""},
		{"", trace, ""},
	} {
		r := newRequest(t, "GET", w.base("/blob/"+test.want), nil)
		if test.id != "" {
			r.Header.Set("X-Ms-Client-Request-Id", test.id)
		}
		if test.parent != "" {
			r.Header.Set("Traceparent", test.parent)
			r.Header.Set("Tracestate", "vendor=1")
		}
		_, body := do(t, w.plain(), r)
		if want := fmt.Sprint(r.Header["X-Ms-Client-Request-Id"], r.Header["Traceparent"], r.Header["Tracestate"], []string(nil)); body != want {
			t.Errorf("the service got %s, want what the caller sent, %s", body, want)
		}
	}
	var told, recorded []string
	for _, r := range w.audited(d) {
		recorded = append(recorded, r.RequestID)
		if want := strings.TrimPrefix(r.Path, "/"); want != "" && r.RequestID != want || len(r.RequestID) < 6 {
			t.Errorf("the call is called %q, want %q", r.RequestID, want)
		}
	}
	for _, line := range w.logs.FilterMessage("request").All() {
		told = append(told, line.ContextMap()["request_id"].(string))
	}
	if !slices.Equal(told, recorded) || len(told) != 7 {
		t.Errorf("the log says %q, the stream %q", told, recorded)
	}
	slices.Sort(told)
	if len(slices.Compact(told)) != 7 {
		t.Errorf("two calls are called the same: %q", told)
	}
}
