package imds_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/imdstest"
)

const (
	vault = "https://vault.azure.net"
	// canary is in every good answer, and must not be in anything printed. It
	// looks like no JWT, so that nothing hides it by its shape.
	canary = "canary-0123456789"
)

// goodBody is an answer of IMDS.
func goodBody() string {
	return `{"access_token":"` + canary + `","expires_in":"86400","expires_on":"` +
		strconv.FormatInt(time.Now().Add(24*time.Hour).Unix(), 10) + `","token_type":"Bearer","resource":"` + vault + `"}`
}

// newClient gives a client of the URL, closed with the test.
func newClient(t *testing.T, o imds.Options) *imds.Client {
	t.Helper()
	c, err := imds.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// serve starts a server on loopback and gives a client of it.
func serve(t *testing.T, h http.HandlerFunc) *imds.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return newClient(t, imds.Options{Endpoint: s.URL})
}

// fetch asks for a vault's token, which has to fail with the class, and holds
// the error to what all errors promise.
func fetch(t *testing.T, c *imds.Client, want imds.Class) *imds.Error {
	t.Helper()
	token, err := c.Token(t.Context(), imds.Identity{}, vault)
	var failed *imds.Error
	if !errors.As(err, &failed) || token != nil {
		t.Fatalf("got token %v and error %v, want an *imds.Error", token, err)
	}
	if failed.Class != want {
		t.Errorf("got class %s, want %s: %v", failed.Class, want, err)
	}
	if failed.Audience != vault {
		t.Errorf("the error names the audience %q", failed.Audience)
	}
	for _, text := range []string{failed.Error(), failed.Hint(), fmt.Sprintf("%+v", failed), fmt.Sprintf("%#v", failed), fmt.Sprint(failed.Err)} {
		if strings.Contains(text, canary) {
			t.Errorf("the token is in %q", text)
		}
	}
	if !strings.HasSuffix(failed.Error(), "; "+failed.Hint()) || failed.Hint() == "" {
		t.Errorf("%q does not end with what to do", failed)
	}
	if strings.ContainsFunc(failed.Error(), func(r rune) bool { return r < ' ' }) {
		t.Errorf("%q has control characters", failed)
	}
	return failed
}

func TestRequestIsTheDocumentedOne(t *testing.T) {
	const resourceID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/reports"
	tests := []struct {
		name     string
		identity imds.Identity
		query    string
	}{
		{"system-assigned", imds.Identity{}, ""},
		{"by client id", imds.Identity{ClientID: "c"}, "client_id=c&"},
		{"by object id", imds.Identity{ObjectID: "o"}, "object_id=o&"},
		{"by resource id", imds.Identity{ResourceID: resourceID}, "msi_res_id=" + strings.ReplaceAll(resourceID, "/", "%2F") + "&"},
		{"by an id that has to be escaped", imds.Identity{ClientID: "a&resource=b"}, "client_id=a%26resource%3Db&"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got *http.Request
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				got = r
				_, _ = io.WriteString(w, goodBody())
			})
			if _, err := c.Token(t.Context(), tt.identity, vault); err != nil {
				t.Fatal(err)
			}
			want := map[string]bool{"api-version=2018-02-01": true, "resource=https%3A%2F%2Fvault.azure.net": true}
			if tt.query != "" {
				want[strings.TrimSuffix(tt.query, "&")] = true
			}
			for pair := range strings.SplitSeq(got.URL.RawQuery, "&") {
				if !want[pair] {
					t.Errorf("the query has %q", pair)
				}
				delete(want, pair)
			}
			if len(want) > 0 {
				t.Errorf("the query %q lacks %v", got.URL.RawQuery, want)
			}
			if got.Method != http.MethodGet || got.URL.Path != "/metadata/identity/oauth2/token" || got.ContentLength != 0 {
				t.Errorf("got %s %s with %d bytes", got.Method, got.URL.Path, got.ContentLength)
			}
			if values := got.Header["Metadata"]; len(values) != 1 || values[0] != "true" {
				t.Errorf("the header Metadata is %q", values)
			}
			if got.Header["X-Forwarded-For"] != nil || got.Header["Authorization"] != nil {
				t.Errorf("the header has %v", got.Header)
			}
		})
	}
}

func TestIDsThatExcludeOneAnotherAreNotSent(t *testing.T) {
	c := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("IMDS was asked") })
	for _, id := range []imds.Identity{
		{ClientID: "c", ObjectID: "o"},
		{ObjectID: "o", ResourceID: "/subscriptions/s"},
		{ClientID: "c", ResourceID: "/subscriptions/s"},
		{ResourceID: "reports"},
	} {
		_, err := c.Token(t.Context(), id, vault)
		var failed *imds.Error
		if !errors.As(err, &failed) || failed.Class != imds.Misconfigured {
			t.Errorf("%+v: got %v", id, err)
		}
	}
}

func TestEndpointIsSchemeAndAuthorityAlone(t *testing.T) {
	for _, endpoint := range []string{"169.254.169.254", "http://", "ftp://h", "http://h/metadata", "http://h?a=b", "http://h#f", "http://user:hunter2@h", "http://user:hunter2@h:x"} {
		c, err := imds.New(imds.Options{Endpoint: endpoint})
		if err == nil {
			c.Close()
			t.Errorf("%q was taken", endpoint)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error quotes a password: %v", err)
		}
	}
	for _, endpoint := range []string{"", "http://127.0.0.1:80/", "https://imds.example"} {
		newClient(t, imds.Options{Endpoint: endpoint})
	}
}

// TestMain has set a proxy. The wildcard address leads to loopback, and unlike
// loopback's own it is not exempt from the environment's proxies.
func TestEnvironmentsProxyIsNotUsed(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, goodBody()) }))
	defer s.Close()
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	endpoint := "http://0.0.0.0:" + port
	r, err := http.NewRequest(http.MethodGet, endpoint, nil)
	if err != nil {
		t.Fatal(err)
	}
	if proxy, err := http.ProxyFromEnvironment(r); proxy == nil {
		t.Fatalf("the environment has no proxy for %s: %v", endpoint, err)
	}
	c := newClient(t, imds.Options{Endpoint: endpoint})
	if _, err := c.Token(t.Context(), imds.Identity{}, vault); err != nil {
		t.Error(err)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+r.URL.RequestURI(), status)
		})
		if failed := fetch(t, c, imds.Malformed); failed.Status != status {
			t.Errorf("got status %d", failed.Status)
		}
	}
}

func TestAttemptEndsAfterTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := imdstest.New(imdstest.Options{})
		server.Script(imdstest.Hang())
		c := newClient(t, imds.Options{Transport: server})
		started := time.Now()
		failed := fetch(t, c, imds.Unavailable)
		if took := time.Since(started); took != 10*time.Second {
			t.Errorf("the attempt took %s", took)
		}
		if !errors.Is(failed, context.DeadlineExceeded) || !strings.Contains(failed.Error(), "no answer within 10s") {
			t.Errorf("got %v", failed)
		}
	})
}

// A server that sends a byte now and then must not hold an attempt for longer
// than one that says nothing.
func TestAttemptEndsInTheMiddleOfABody(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"`+canary)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer s.Close()
	c := newClient(t, imds.Options{Endpoint: s.URL, Timeout: 50 * time.Millisecond})
	if failed := fetch(t, c, imds.Unavailable); !errors.Is(failed, context.DeadlineExceeded) || failed.Status != 200 {
		t.Errorf("got %v", failed)
	}
}

func TestCallerMayGiveUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	_, err := c.Token(ctx, imds.Identity{}, vault)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Package net/http would ask again by itself on a connection that it kept, past
// the limits that the cache keeps.
func TestFailedCallIsOneCall(t *testing.T) {
	server := imdstest.New(imdstest.Options{})
	server.Script(imdstest.Fault{}, imdstest.Reset())
	c := serve(t, server.ServeHTTP)
	if _, err := c.Token(t.Context(), imds.Identity{}, vault); err != nil {
		t.Fatal(err)
	}
	fetch(t, c, imds.Unavailable)
	if got := len(server.Calls()); got != 2 {
		t.Errorf("IMDS was asked %d times, want 2", got)
	}
}

func TestNobodyAnswers(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, imds.Options{Endpoint: "http://" + address})
	failed := fetch(t, c, imds.Unavailable)
	if failed.Status != 0 || !strings.Contains(failed.Error(), "connection refused") || !strings.Contains(failed.Hint(), "Azure machines only") {
		t.Errorf("got %v", failed)
	}
}

func TestBodyIsBounded(t *testing.T) {
	const chunk, chunks = 1 << 16, 1024 // 64 MiB, more than connections buffer
	for status, want := range map[int]imds.Class{
		200: imds.Malformed,
		429: imds.Throttled, // whatever its body
	} {
		sent := make(chan int, 1)
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			_, err := io.WriteString(w, `{"access_token":"`+canary+`","expires_in":"86400","padding":"`)
			n := 0
			for ; n < chunks && err == nil; n++ {
				_, err = io.WriteString(w, strings.Repeat("x", chunk))
			}
			_, _ = io.WriteString(w, `"}`)
			sent <- n
		})
		failed := fetch(t, c, want)
		if !strings.Contains(failed.Error(), "longer than 1048576 bytes") {
			t.Errorf("status %d: got %v", status, failed)
		}
		if status == 429 && failed.RetryAfter != 7*time.Second {
			t.Errorf("got a wait of %s", failed.RetryAfter)
		}
		if n := <-sent; n == chunks {
			t.Errorf("status %d: the whole body was read", status)
		}
	}
}

func TestAnswersThatAreNoTokens(t *testing.T) {
	past := strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)
	tests := []struct{ name, body, say string }{
		{"HTML", `<!DOCTYPE html><html>` + canary + `</html>`, "not the JSON of a token"},
		{"nothing", ``, "not the JSON of a token"},
		{"truncated", goodBody()[:60], "not the JSON of a token"},
		{"two answers", goodBody() + goodBody(), "not the JSON of a token"},
		{"a list", `["` + canary + `"]`, "not the JSON of a token"},
		{"a number for a token", `{"access_token":12}`, "not the JSON of a token"},
		{"null", `null`, "no access_token"},
		{"no token", `{"expires_in":"86400"}`, "no access_token"},
		{"no expiry", `{"access_token":"` + canary + `"}`, "no usable expiry"},
		{"an empty expiry", `{"access_token":"` + canary + `","expires_in":"","expires_on":""}`, "no usable expiry"},
		{"an expiry of words", `{"access_token":"` + canary + `","expires_in":"soon","expires_on":"then"}`, "no usable expiry"},
		{"an expiry of another kind", `{"access_token":"` + canary + `","expires_in":true,"expires_on":{}}`, "no usable expiry"},
		{"expired", `{"access_token":"` + canary + `","expires_on":"` + past + `"}`, "expired by this machine's clock, 1h"},
		{"expired by both", `{"access_token":"` + canary + `","expires_in":"0","expires_on":"` + past + `"}`, "has expired"},
		{"expired in the past", `{"access_token":"` + canary + `","expires_in":"-60"}`, "has expired"},
		{"of another type", `{"access_token":"` + canary + `","token_type":"pop","expires_in":"86400"}`, "not a bearer token"},
		{"a line break", `{"access_token":"` + canary + `\r\nX-Evil: 1","expires_in":"86400"}`, "no header may carry"},
		{"a space", `{"access_token":"` + canary + ` ","expires_in":"86400"}`, "no header may carry"},
		{"a byte beyond ASCII", `{"access_token":"` + canary + `ä","expires_in":"86400"}`, "no header may carry"},
		{"a control character", `{"access_token":"` + canary + `\u007f","expires_in":"86400"}`, "no header may carry"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tt.body) })
			failed := fetch(t, c, imds.Malformed)
			if failed.Status != 200 || !strings.Contains(failed.Error(), tt.say) {
				t.Errorf("got %v, want %q", failed, tt.say)
			}
		})
	}
}

// Package net/http quotes what it does not understand. A token that comes back
// in such a line must not get into an error.
func TestTokenThatIsNoHTTPIsNotQuoted(t *testing.T) {
	for name, answer := range map[string]string{
		"no status line": `{"access_token":"` + canary + `"}` + "\r\n\r\n",
		"no field":       "HTTP/1.1 200 OK\r\n" + `{"access_token":"` + canary + `"}` + "\r\n\r\n",
		"odd length":     "HTTP/1.1 200 OK\r\nContent-Length: " + canary + "\r\n\r\n",
		"odd status":     "HTTP/1.1 " + canary + "\r\n\r\n",
		"odd trailer":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + canary + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, answer)
			})
			fetch(t, c, imds.Malformed)
		})
	}
}

func TestObserverHearsOfEveryCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := imdstest.New(imdstest.Options{})
		server.Script(imdstest.Slow(time.Second), imdstest.Throttled(nil), imdstest.Hang())
		var got []string
		c := newClient(t, imds.Options{Transport: server, Observe: func(status string, took time.Duration) {
			got = append(got, status+" "+took.String())
		}})
		if _, err := c.Token(t.Context(), imds.Identity{}, vault); err != nil {
			t.Error(err)
		}
		fetch(t, c, imds.Throttled)
		fetch(t, c, imds.Unavailable)
		if _, err := c.Environment(t.Context()); err != nil {
			t.Error(err)
		}
		if want := "[200 1s 429 0s error 10s 200 0s]"; fmt.Sprint(got) != want {
			t.Errorf("got %v, want %s", got, want)
		}
	})
}

func TestEnvironment(t *testing.T) {
	c := newClient(t, imds.Options{Transport: imdstest.New(imdstest.Options{Environment: "AzureUSGovernmentCloud"})})
	if got, err := c.Environment(t.Context()); err != nil || got != "AzureUSGovernmentCloud" {
		t.Errorf("got %q, %v", got, err)
	}
	for name, h := range map[string]http.HandlerFunc{
		"a page":      func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>"+canary+"</html>") },
		"nothing":     func(http.ResponseWriter, *http.Request) {},
		"a long name": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("a", 65)) },
		"a refusal":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
	} {
		got, err := serve(t, h).Environment(t.Context())
		if err == nil || got != "" || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), "name the cloud in the configuration") {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}
