package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/proxy/route"
)

const tableHost = "acct.table.core.windows.net"

// batchRules let one container be deleted from, and another by another identity.
func batchRules() []route.Rule {
	other := imds.Identity{ClientID: "00000000-0000-0000-0000-000000000002"}
	return []route.Rule{
		{Name: "batch", Service: "storage", Hosts: []string{blobHost}, Operations: []string{"storage.blob.batch"}, Gateway: "blob"},
		{Name: "in", Service: "storage", Hosts: []string{blobHost}, Paths: []string{"/in/**"}, Operations: []string{"storage.blob.delete", "storage.blob.get"}},
		{Name: "other", Service: "storage", Hosts: []string{blobHost}, Paths: []string{"/other/**"}, Operations: []string{"storage.blob.*"}, Identity: other},
		{Name: "table", Service: "storage", Hosts: []string{tableHost}, Operations: []string{"storage.table.batch", "storage.table.entity.insert"}, Gateway: "table"},
		{Name: "arm", Service: "arm", Operations: []string{"arm.batch", "arm.vm.read"}, Gateway: "arm"},
		{Name: "arm-restart", Service: "arm", Operations: []string{"arm.vm.restart"}, Identity: other},
	}
}

// byIdentity gives each identity a token of its own.
type byIdentity struct{}

func (byIdentity) Token(_ context.Context, k cache.Key) (*imds.Token, error) {
	return imds.NewToken("of "+k.Identity.String(), time.Now().Add(time.Hour), time.Time{}), nil
}

func (b byIdentity) Renew(ctx context.Context, k cache.Key, _ *imds.Token) (*imds.Token, error) {
	return b.Token(ctx, k)
}

// blobBody writes a batch of parts, each METHOD TARGET and lines of fields.
func blobBody(parts ...string) string {
	var b strings.Builder
	for i, part := range parts {
		line, fields, _ := strings.Cut(part, "\n")
		fmt.Fprintf(&b, "--b\nContent-Type: application/http\nContent-Transfer-Encoding: binary\nContent-ID: %d\n\n%s HTTP/1.1\n", i, line)
		if fields != "" {
			b.WriteString(fields + "\n")
		}
		b.WriteString("\n\n")
	}
	return crlf(b.String() + "--b--\n")
}

func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

// bodies keeps what reaches the upstream.
type bodies struct {
	mu     sync.Mutex // guards what follows
	heads  []http.Header
	texts  []string
	reject bool // the first call
}

func (b *bodies) handle(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil || r.ContentLength != int64(len(text)) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	b.heads, b.texts = append(b.heads, r.Header), append(b.texts, string(text))
	if b.reject && len(b.texts) == 1 {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (b *bodies) last() (http.Header, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.texts) == 0 {
		return nil, ""
	}
	return b.heads[len(b.heads)-1], b.texts[len(b.texts)-1]
}

// batchTo makes a call with a batch, by CONNECT.
func (w *world) batchTo(url, contentType, body string) (*http.Response, string) {
	w.t.Helper()
	r := newRequest(w.t, "POST", url, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return do(w.t, w.viaConnect(false), r)
}

const (
	mixed    = "multipart/mixed; boundary=b"
	blobRoot = "https://" + blobHost + "/?comp=batch"
)

// Each part leaves with the token of the route that takes it, and with nothing
// that the caller said about its version or its credential.
func TestEachPartOfABlobBatchIsAuthorised(t *testing.T) {
	up := &bodies{}
	w := newWorld(t, up.handle, withRoutes(t, batchRules()...), func(o *Options, _ *httptest.Server) { o.Tokens = byIdentity{} })
	live := liveToken(t)
	body := blobBody(
		"DELETE /in/a?snapshot=1\nAuthorization: SharedKey acct:x\nX-MS-Version: 2019-12-12\nx-ms-date: now\nContent-Length: 0\nHost: "+blobHost,
		"DELETE /in/b",
		"PUT /other/c?comp=tier\nx-ms-access-tier: Cool\nAuthorization: Bearer placeholder",
		"DELETE /in/d\nAuthorization: Bearer "+live,
		"DELETE /in/e?sv=1&se=2&sig=x",
	)
	if answer, text := w.batchTo(blobRoot, mixed, body); answer.StatusCode != http.StatusAccepted {
		t.Fatalf("got %d %s", answer.StatusCode, text)
	}
	head, got := up.last()
	want := blobBody(
		"DELETE /in/a?snapshot=1\nAuthorization: Bearer of system-assigned\nContent-Length: 0\nX-Ms-Date: now",
		"DELETE /in/b\nAuthorization: Bearer of system-assigned",
		"PUT /other/c?comp=tier\nAuthorization: Bearer of client_id:00000000-0000-0000-0000-000000000002\nX-Ms-Access-Tier: Cool",
		"DELETE /in/d\nAuthorization: Bearer "+live,
		"DELETE /in/e?sv=1&se=2&sig=x",
	)
	if got != want {
		t.Errorf("the service got\n%s\nwant\n%s", got, want)
	}
	if head.Get("Authorization") != "Bearer of system-assigned" || head.Get("X-Ms-Version") != "2018-11-09" {
		t.Errorf("the service got %v", head)
	}
}

// A part that no route takes refuses all: the service would make the others, and
// the app could not tell.
func TestPartsOutsideTheRoutesRefuseTheBatch(t *testing.T) {
	up := &bodies{}
	w := newWorld(t, up.handle, withRoutes(t, batchRules()...))
	set := func(parts string) string {
		return crlf("--b\nContent-Type: multipart/mixed; boundary=c\n\n" + parts + "--c--\n--b--\n")
	}
	const tablePart = "--c\nContent-Type: application/http\nContent-Transfer-Encoding: binary\n\n"
	vm := "/subscriptions/0/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm"
	for _, test := range []struct {
		name, url, as, body string
		status              int
		code                Code
		want                string // of the message
	}{
		{"another container", blobRoot, mixed, blobBody("DELETE /in/a", "DELETE /private/a"), 403, route.CodeNotPermitted, "call 2 of the batch's 2: no route takes the whole call;"},
		{"escaped dots", blobRoot, mixed, blobBody("DELETE /in/..%2fprivate/a"), 403, route.CodeNotPermitted, "call 1 of the batch's 1: no route"},
		{"dots", blobRoot, mixed, blobBody("DELETE /in/../private/a"), 403, route.CodeNotPermitted, "call 1 of the batch's 1: no route"},
		{"a double slash", blobRoot, mixed, blobBody("DELETE /in//a"), 403, route.CodeNotPermitted, "call 1 of the batch's 1: no route"},
		{"an absolute URL", blobRoot, mixed, blobBody("DELETE https://" + blobHost + "/in/a"), 400, CodeBadBatch, "its call 1: its target is not a path"},
		{"another Host", blobRoot, mixed, blobBody("DELETE /in/a\nHost: other.blob.core.windows.net"), 400, CodeBadBatch, "its call 1: its Host is another than the batch's"},
		{"a smuggled part", blobRoot, mixed, blobBody("DELETE /in/a\nX-A: --b\nDELETE: /private/a"), 400, CodeBadBatch, "its boundary stands within a part"},
		{"another operation", blobRoot, mixed, blobBody("PUT /in/a?comp=tier"), 403, route.CodeNotPermitted, "call 1 of the batch's 1: no route"},
		{"an override", blobRoot, mixed, blobBody("DELETE /in/a\nX-HTTP-Method-Override: PUT"), 403, route.CodeNotPermitted, "call 1 of the batch's 1: no route"},
		{"what no batch carries", blobRoot, mixed, blobBody("GET /in/a"), 403, route.CodeNotPermitted, "call 1 of the batch's 1: storage.blob.get is no operation that storage.blob.batch carries; send it by itself"},
		{"the whole container", blobRoot, mixed, blobBody("DELETE /in?restype=container"), 403, route.CodeNotPermitted, "call 1 of the batch's 1: no route"},
		{"a batch within", blobRoot, mixed, blobBody("POST /?comp=batch"), 403, route.CodeNotPermitted, "call 1 of the batch's 1: storage.blob.batch is no operation that storage.blob.batch carries;"},
		{"no part", blobRoot, mixed, crlf("--b--\n"), 400, CodeBadBatch, "it holds no call"},
		{"no body", blobRoot, mixed, "", 400, CodeBadBatch, "it does not begin with its boundary"},
		{"too long", blobRoot, mixed, strings.Repeat("x", 4<<20+1), 413, CodeBadBatch, "the batch is longer than the 4194304 bytes that services take; send several"},

		{"an entity's deletion", "https://" + tableHost + "/$batch", mixed, set(tablePart + "DELETE https://" + tableHost + "/t(PartitionKey='a',RowKey='b') HTTP/1.1\nIf-Match: *\n\n\n"), 403, route.CodeNotPermitted, "call 1 of the batch's 1: no route"},
		{"another account", "https://" + tableHost + "/$batch", mixed, set(tablePart + "POST https://other.table.core.windows.net/t HTTP/1.1\n\n{}\n"), 400, CodeBadBatch, "its call 1: it names another host than the batch"},
		{"a user's entity", "https://" + tableHost + "/$batch", mixed, set(tablePart + "POST /t HTTP/1.1\nAuthorization: Bearer " + liveToken(t) + "\n\n{}\n"), 403, route.CodeOwnCredential, "call 1 of the batch's 1: it brings a live token, and the token of the batch is for all; leave it out"},
		{"keys", "https://" + armHost + "/batch", "application/json", `{"requests":[{"httpMethod":"GET","url":"` + vm + `"},{"httpMethod":"POST","url":"/subscriptions/0/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a/listKeys"}]}`, 403, route.CodeNotPermitted, "call 2 of the batch's 2: no route"},
		{"another identity", "https://" + armHost + "/batch", "application/json", `{"requests":[{"httpMethod":"POST","url":"` + vm + `/restart"}]}`, 403, route.CodeNotPermitted, "arm-restart (routes[5]) takes it for another identity than arm (routes[4]), which takes the batch, and one token is for all; send it by itself"},
		{"elsewhere", "https://" + armHost + "/batch", "application/json", `{"requests":[{"httpMethod":"GET","url":"https://evil.example` + vm + `"}]}`, 400, CodeBadBatch, "its call 1: it names another host than the batch"},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer, text := w.batchTo(test.url, test.as, test.body)
			wantProblem(t, answer, text, test.status, test.code)
			if !strings.Contains(text, test.want) {
				t.Errorf("got %s\nwant %s", text, test.want)
			}
			if _, sent := up.last(); sent != "" {
				t.Errorf("the service got %q", sent)
			}
		})
	}
	if free := w.server.spools.free.Load(); free != 64<<20 {
		t.Errorf("%d bytes of the budget are free, want all", free)
	}
}

// What is allowed goes on byte for byte where nothing has to be added.
func TestAllowedBatchesGoOn(t *testing.T) {
	up := &bodies{}
	w := newWorld(t, up.handle, withRoutes(t, batchRules()...))
	vm := "/subscriptions/0/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm"
	for _, test := range []struct{ url, as, body string }{
		{"https://" + tableHost + "/$batch", mixed, crlf("--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: application/http\n\nPOST https://" + tableHost + "/t HTTP/1.1\n\n{\"a\":1}\n--c--\n--b--\n")},
		{"https://" + armHost + "/batch?api-version=1", "application/json", `{"requests": [{"httpMethod":"GET", "url":"` + vm + `"}, {"httpMethod":"GET","url":"https://` + armHost + vm + `"}]}`},
	} {
		answer, text := w.batchTo(test.url, test.as, test.body)
		head, got := up.last()
		if answer.StatusCode != http.StatusAccepted || got != test.body || head.Get("Authorization") != "Bearer token-1" {
			t.Errorf("%s: %d %s; the service got %v %q", test.url, answer.StatusCode, text, head, got)
		}
	}
}

// Through a base URL the clients put its path, or all of it, before each target.
func TestBatchByBaseURLNamesTheService(t *testing.T) {
	up := &bodies{}
	w := newWorld(t, up.handle, withRoutes(t, batchRules()...))
	vm := "/subscriptions/0/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm"
	for _, test := range []struct{ path, as, body, want string }{
		{"/blob/?comp=batch", mixed, blobBody("DELETE /blob/in/a"), blobBody("DELETE /in/a\nAuthorization: Bearer token-1")},
		{"/blob?restype=container&comp=batch", mixed, blobBody("DELETE /blob/in/a"), blobBody("DELETE /in/a\nAuthorization: Bearer token-1")},
		{"/arm/batch", "application/json", `{"requests":[{"httpMethod":"GET","url":"` + w.base("/arm"+vm) + `"}]}`, `{"requests":[{"httpMethod":"GET","url":"https://` + armHost + vm + `"}]}`},
		{"/table/$batch", mixed, crlf("--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: application/http\n\nPOST " + w.base("/table/t") + " HTTP/1.1\n\n{}\n--c--\n--b--\n"),
			crlf("--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: application/http\n\nPOST https://" + tableHost + "/t HTTP/1.1\n\n{}\n--c--\n--b--\n")},
	} {
		r := newRequest(t, "POST", w.base(test.path), strings.NewReader(test.body))
		r.Header.Set("Content-Type", test.as)
		r.Header.Set("Content-MD5", "of another body")
		answer, text := do(t, w.plain(), r)
		head, got := up.last()
		if answer.StatusCode != http.StatusAccepted || got != test.want || head["Content-Md5"] != nil {
			t.Errorf("%s: %d %s; the service got %v\n%s\nwant\n%s", test.path, answer.StatusCode, text, head, got, test.want)
		}
	}
}

// After a 401 the batch and its parts carry the fresh token.
func TestBatchIsReplayedWithAFreshToken(t *testing.T) {
	up := &bodies{reject: true}
	w := newWorld(t, up.handle)
	answer, text := w.batchTo(blobRoot, mixed, blobBody("DELETE /c/a", "DELETE /c/b"))
	head, got := up.last()
	if answer.StatusCode != http.StatusAccepted || head.Get("Authorization") != "Bearer token-2" ||
		got != blobBody("DELETE /c/a\nAuthorization: Bearer token-2", "DELETE /c/b\nAuthorization: Bearer token-2") {
		t.Errorf("%d %s; the service got %v %q", answer.StatusCode, text, head, got)
	}
	eventually(t, "the budget is whole", func() bool { return w.server.spools.free.Load() == 64<<20 })
}

// A batch with a credential of its own is its caller's, and so are its parts.
func TestBatchWithAnOwnCredentialGetsNoToken(t *testing.T) {
	up := &bodies{}
	w := newWorld(t, up.handle, withRoutes(t, batchRules()...))
	body := blobBody("DELETE /in/a\nAuthorization: SharedKey acct:x", "DELETE /in/b")
	answer, text := w.batchTo(blobRoot+"&sv=1&se=2&sp=d&sig=x", mixed, body)
	if head, got := up.last(); answer.StatusCode != http.StatusAccepted || got != body || head["Authorization"] != nil {
		t.Errorf("%d %s; the service got %v %q", answer.StatusCode, text, head, got)
	}
	// Restricted is restricted, whoever pays.
	answer, text = w.batchTo(blobRoot+"&sv=1&se=2&sp=d&sig=x", mixed, blobBody("DELETE /private/a"))
	wantProblem(t, answer, text, 403, route.CodeNotPermitted)
}

// Without restrictions nothing of a batch that needs no token per part is held,
// so that one longer than we would hold passes.
func TestUnrestrictedBatchStreams(t *testing.T) {
	up := &bodies{}
	w := newWorld(t, up.handle)
	body := strings.Repeat("x", 5<<20)
	if answer, text := w.batchTo("https://"+armHost+"/batch", "application/json", body); answer.StatusCode != http.StatusAccepted {
		t.Errorf("%d %s", answer.StatusCode, text)
	}
}

// Batches share the memory of the spools, and wait for room.
func TestBatchesAreBoundedTogether(t *testing.T) {
	up := &bodies{}
	w := newWorld(t, up.handle, func(o *Options, _ *httptest.Server) { o.Limits.SpoolTotal = 100 })
	answer, text := w.batchTo(blobRoot, mixed, blobBody("DELETE /c/a"))
	wantProblem(t, answer, text, 503, CodeBusy)
	if answer.Header.Get("Retry-After") != "1" {
		t.Errorf("got %v", answer.Header)
	}
	if free := w.server.spools.free.Load(); free != 100 {
		t.Errorf("%d bytes are free", free)
	}
}

// The attack is bodies that never end, and keep the memory for batches and logins
// from everybody else.
func TestStalledBodiesGiveTheirMemoryBack(t *testing.T) {
	up := &bodies{}
	w := newWorld(t, up.handle, withRoutes(t, batchRules()...), answersLogins, func(o *Options, _ *httptest.Server) {
		o.Limits.HeldTimeout, o.Limits.SpoolTotal = 50*time.Millisecond, 128<<10
	})
	head := "POST /blob/?comp=batch HTTP/1.1\r\nHost: " + w.addr + "\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Length: 60000\r\n\r\n--b"
	answer := w.raw(head, "POST")
	wantProblem(t, answer, "", http.StatusRequestTimeout, CodeBusy)
	if !answer.Close {
		t.Error("what may follow on the connection is the body's rest, and it stays open")
	}
	answer = w.raw("POST /entra"+loginPath+" HTTP/1.1\r\nHost: "+w.addr+"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 300\r\n\r\ngrant_type=", "POST")
	wantProblem(t, answer, "", http.StatusRequestTimeout, CodeBusy)
	pipe, stalled := io.Pipe()
	defer stalled.Close()
	request := newRequest(t, "POST", blobRoot, pipe) // by HTTP/2
	request.Header.Set("Content-Type", mixed)
	answer, text := do(t, w.viaConnect(true), request)
	wantProblem(t, answer, text, http.StatusRequestTimeout, CodeBusy)
	eventually(t, "the memory is given back", func() bool { return w.server.spools.free.Load() == 128<<10 })
}

// A key that is asked for within a batch is marked in the log like any other.
func TestBatchThatGivesACredentialIsMarked(t *testing.T) {
	up := &bodies{}
	w := newWorld(t, up.handle, withRoutes(t, route.Rule{Service: "arm", Operations: []string{"arm.batch", "arm.storageaccount.listkeys", "arm.subscription.read"}}))
	for target, want := range map[string]bool{"/subscriptions/0/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a/listKeys": true, "/subscriptions/0/": false} {
		method := map[bool]string{true: "POST", false: "GET"}[want]
		if answer, text := w.batchTo("https://"+armHost+"/batch", "application/json", `{"requests":[{"httpMethod":"`+method+`","url":"`+target+`"}]}`); answer.StatusCode != http.StatusAccepted {
			t.Fatalf("%s: %d %s", target, answer.StatusCode, text)
		}
		batches := func() *observer.ObservedLogs { return w.logs.FilterField(zap.String("operation", "arm.batch")) }
		eventually(t, "the call is logged", func() bool { return batches().Len() > 0 })
		if line := batches().All()[0].ContextMap(); line["mints"] == true != want {
			t.Errorf("%s: %v", target, line)
		}
		w.logs.TakeAll()
	}
}

// No token of a part, nor a caller's credential, is logged.
func TestBatchLeavesNoCredentialInTheLog(t *testing.T) {
	up := &bodies{}
	w := newWorld(t, up.handle, withRoutes(t, batchRules()...))
	live := liveToken(t)
	w.batchTo(blobRoot, mixed, blobBody("DELETE /in/a\nAuthorization: Bearer "+live))
	w.batchTo(blobRoot, mixed, blobBody("DELETE /private/a?sig=secret\nAuthorization: Bearer "+live))
	w.batchTo(blobRoot, mixed, blobBody("DELETE /in/a\nAuthorization : Bearer "+live))
	var text bytes.Buffer
	for _, entry := range w.logs.All() {
		fmt.Fprintln(&text, entry.Message, entry.ContextMap())
	}
	if !strings.Contains(text.String(), "calls:1") {
		t.Errorf("the log does not tell how many calls the batch had: %s", &text)
	}
	for _, secret := range []string{live, "token-1", "secret"} {
		if strings.Contains(text.String(), secret) {
			t.Errorf("the log holds %s:\n%s", secret, &text)
		}
	}
}
