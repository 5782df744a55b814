package proxy

import (
	"bytes"
	"context"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

// FuzzBatch holds: no part is sent with a token but a deletion below the allowed
// container, as other readers than ours find it in what is sent: Go's reader of
// multipart, and one that is as lenient as can be and takes for a part whatever
// looks like a request line.
func FuzzBatch(f *testing.F) {
	for _, seed := range []string{
		blobBody("DELETE /in/a", "DELETE /in/b?snapshot=1\nAuthorization: Basic x\nx-ms-version: 2011-08-18"),
		blobBody("DELETE /in/a\nX-A: --b\nDELETE: /private/a"), blobBody("DELETE /in/%2e%2e/private/a"),
		blobBody("PUT /in/a?comp=tier"), blobBody("DELETE /in/a\nX-HTTP-Method-Override: PUT"),
		crlf("--b\nContent-Type: application/http\n\nDELETE /in/a HTTP/1.1\nA: b\n\n--b\nContent-Type: application/http\n\nDELETE /private/a HTTP/1.1\n\n--b--"),
		"--b\nContent-Type: application/http\n\nDELETE /in/a HTTP/1.1\n\n\n--b--", strings.ReplaceAll(blobBody("DELETE /in/a"), "\r\n\r\n", "\r\n \r\n"),
		blobBody("DELETE /in/a") + blobBody("DELETE /private/a"), blobBody("DELETE /in/a HTTP/1.1\r\n\r\n\r\nDELETE /private/a"),
	} {
		f.Add(mixed, seed)
	}
	f.Add("multipart/mixed; boundary=\"b\"; boundary=c", strings.ReplaceAll(blobBody("DELETE /private/a"), "--b", "--c"))
	cloud, _ := azure.CloudNamed("public")
	table, err := route.Compile(batchRules()[:2], cloud)
	if err != nil {
		f.Fatal(err)
	}
	s := &Server{spools: newSpoolBudget(64<<10, 64<<20), tokens: &fakeTokens{}, now: time.Now}
	f.Fuzz(func(t *testing.T, contentType, text string) {
		r := httptest.NewRequestWithContext(context.Background(), "POST", blobRoot, strings.NewReader(text))
		r.Header.Set("Content-Type", contentType)
		x := &exchange{s: s, settings: &snapshot{routes: table}, r: r}
		x.setTarget("https", blobHost, 443, "/", "comp=batch")
		if x.decision = table.Decide(&x.call, nil, s.now()); x.decision.Action != route.Inject {
			t.Fatalf("the batch itself: %s", x.decision.Reason)
		}
		p := x.openBody()
		defer x.body.release()
		if p != nil {
			return
		}
		body, _ := x.body.next()
		sent, err := io.ReadAll(body)
		if err != nil || int64(len(sent)) != x.body.(*heldBody).size {
			t.Fatalf("%d bytes of %d: %v", len(sent), x.body.(*heldBody).size, err)
		}
		checkSent(t, contentType, sent)
	})
}

// checkSent reads a batch anew, by rules of its own.
func checkSent(t *testing.T, contentType string, sent []byte) {
	t.Helper()
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatalf("the Content-Type %q went on", contentType)
	}
	reader := multipart.NewReader(bytes.NewReader(sent), params["boundary"])
	parts := 0
	for {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%q went on: %v", sent, err)
		}
		inner, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		parts++
		head, _, _ := strings.Cut(string(inner), "\r\n")
		checkLine(t, head, sent)
		if n := bytes.Count(inner, []byte("Bearer token-1")); n > 1 {
			t.Fatalf("%q has %d tokens in a part", sent, n)
		}
	}
	requestLine := regexp.MustCompile(`(?im)^\s*[a-z]+\s+\S+\s+HTTP/\d`)
	lines := requestLine.FindAllString(string(sent), -1)
	if len(lines) != parts {
		t.Fatalf("%q has %d parts, and lines of %d requests", sent, parts, len(lines))
	}
	for _, line := range lines {
		checkLine(t, strings.TrimSpace(line)+".1", sent)
	}
}

// checkLine holds a request line to the deletion of a blob below /in/.
func checkLine(t *testing.T, line string, sent []byte) {
	t.Helper()
	words := strings.Fields(line)
	if len(words) != 3 || words[0] != http.MethodDelete {
		t.Fatalf("%q went on with %q", sent, line)
	}
	u, err := url.ParseRequestURI(words[1])
	if err != nil || u.Host != "" || !strings.HasPrefix(u.Path, "/in/") || len(u.Path) == len("/in/") || slices.Contains(strings.Split(u.Path, "/"), "..") {
		t.Fatalf("%q went on with the target %q", sent, words[1])
	}
	for param := range strings.SplitSeq(u.RawQuery, "&") {
		name, _, _ := strings.Cut(param, "=")
		switch name, err := url.QueryUnescape(name); strings.ToLower(name) {
		case "comp", "restype", "resource", "action":
			t.Fatalf("%q went on with the query %q (%v)", sent, u.RawQuery, err)
		}
	}
}
