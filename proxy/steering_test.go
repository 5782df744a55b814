package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/imds"
)

func TestLinksToTheServiceComeBackThroughTheBaseURL(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		h := rw.Header()
		h.Set("Location", r.URL.Query().Get("location"))
		h.Set("Azure-AsyncOperation", "https://"+armHost+"/operations/1?api-version=2024-01-01")
		h.Set("Operation-Location", "https://"+strings.ToUpper(armHost)+":443/operations/2")
		rw.WriteHeader(http.StatusAccepted)
	})
	base := w.base("/arm")
	for location, want := range map[string]string{
		"https://" + armHost + "/a?b=c%2F":             base + "/a?b=c%2F",
		"https://" + armHost:                           base,
		"/a?b":                                         "/arm/a?b",
		"https://" + armHost + ".evil.example/a":       "https://" + armHost + ".evil.example/a",
		"https://" + armHost + "@evil.example/a":       "https://" + armHost + "@evil.example/a",
		"https://" + armHost + ":4430/a":               "https://" + armHost + ":4430/a",
		"//evil.example/a":                             "//evil.example/a",
		"https://elsewhere.example/https://" + armHost: "https://elsewhere.example/https://" + armHost,
	} {
		r := newRequest(t, "GET", base+"/x", nil)
		q := r.URL.Query()
		q.Set("location", location)
		r.URL.RawQuery = q.Encode()
		answer, _ := do(t, w.plain(), r)
		if got := answer.Header.Get("Location"); got != want {
			t.Errorf("Location %q became %q, want %q", location, got, want)
		}
		if got := answer.Header.Get("Azure-AsyncOperation"); got != base+"/operations/1?api-version=2024-01-01" {
			t.Errorf("Azure-AsyncOperation became %q", got)
		}
		if got := answer.Header.Get("Operation-Location"); got != base+"/operations/2" {
			t.Errorf("Operation-Location became %q", got)
		}
	}
	answer, _ := do(t, w.viaConnect(false), newRequest(t, "GET", "https://"+armHost+"/x?location=https://"+armHost+"/a", nil))
	if got := answer.Header.Get("Location"); got != "https://"+armHost+"/a" {
		t.Errorf("Location became %q for a caller that uses the service's own URLs", got)
	}
}

func TestOnlyURLsOfTheUpstreamItselfAreMapped(t *testing.T) {
	for _, tt := range []struct {
		port uint16
		link string
		want string // empty: not mapped
	}{
		{443, "https://up.example/a", "http://us/g/a"},
		{443, "https://up.example:443/a", "http://us/g/a"},
		{443, "https://up.example:8443/a", ""},
		{443, "http://up.example/a", ""},
		{8443, "https://up.example:8443/a?b", "http://us/g/a?b"},
		{8443, "https://up.example:8443", "http://us/g"},
		{8443, "https://up.example/a", ""}, // another port is another service
		{8443, "https://up.example:443/a", ""},
		{8443, "https://up.example:84430/a", ""},
		{443, "https://up.example:/a", "http://us/g/a"}, // no port after a colon is the scheme's own
		{443, "https://UP.example./a", "http://us/g/a"},
		{443, "https://up.example:443@evil.example/", ""},
		{443, "https://up.example\\@evil.example/", ""},
	} {
		b := testBase(t, fmt.Sprint("up.example:", tt.port))
		if got, ok := b.mapURL(tt.link); got != tt.want || ok != (tt.want != "") {
			t.Errorf("port %d: %q became %q, want %q", tt.port, tt.link, got, tt.want)
		}
	}
}

func TestNextLinkOfAListComesBackThroughTheBaseURL(t *testing.T) {
	const page = `{"value":[{"nextLink":"https://` + armHost + `/data"}],"nextLink":"https://` + armHost + `/list?page=2"}`
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Accept-Encoding"); strings.HasPrefix(r.Host, armHost) && got != "identity" {
			t.Errorf("the list was asked for with Accept-Encoding %q", got)
		}
		h := rw.Header()
		h.Set("Content-Type", r.URL.Query().Get("type"))
		h.Set("ETag", `"1"`)
		h.Set("Content-MD5", "x")
		h.Set("Content-Length", fmt.Sprint(len(page)))
		if r.Method != "HEAD" {
			io.WriteString(rw, page)
		}
	})
	get := func(url string) (*http.Response, string) {
		r := newRequest(t, "GET", url, nil)
		r.Header.Set("Accept-Encoding", "gzip")
		return do(t, w.plain(), r)
	}
	answer, body := get(w.base("/arm/list?type=application/json%3Bcharset=utf-8"))
	want := strings.Replace(page, `"nextLink":"https://`+armHost+`/list`, `"nextLink":"`+w.base("/arm/list"), 1)
	if body != want {
		t.Errorf("got %s\nwant %s", body, want)
	}
	if answer.Header.Get("ETag") != `W/"1"` || answer.Header.Get("Content-MD5") != "" || answer.ContentLength != -1 {
		t.Errorf("length, digest and tag of the page as it was came with the mapped one: %v", answer.Header)
	}
	for name, url := range map[string]string{"no JSON": w.base("/arm/list?type=text/plain"), "a service without such lists": w.base("/api/list?type=application/json")} {
		answer, body := get(url)
		if body != page || answer.Header.Get("ETag") != `"1"` || answer.Header.Get("Content-MD5") != "x" {
			t.Errorf("%s: got %v %s, want it untouched", name, answer.Header, body)
		}
	}
}

// lineServer answers each line with itself in capitals, then with "BYE" when
// the client has sent all.
func lineServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			lines := bufio.NewScanner(conn)
			for lines.Scan() {
				fmt.Fprintln(conn, strings.ToUpper(lines.Text()))
			}
			io.WriteString(conn, "BYE")
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func TestUnroutedHostIsTunnelledUntouched(t *testing.T) {
	w := newWorld(t, echo)
	w.dialer.to = lineServer(t)
	conn := w.connect("mail.example:25")
	io.WriteString(conn, "helo\n")
	in := bufio.NewReader(conn)
	if line, _ := in.ReadString('\n'); line != "HELO\n" {
		t.Errorf("got %q", line)
	}
	conn.(*net.TCPConn).CloseWrite()
	if rest, _ := io.ReadAll(in); string(rest) != "BYE" {
		t.Errorf("after a half-close the other direction brought %q, want BYE", rest)
	}
}

func TestUnroutedPlainHTTPPassesWithoutAToken(t *testing.T) {
	w := newWorld(t, echo)
	plain := httptest.NewServer(http.HandlerFunc(echo))
	defer plain.Close()
	w.dialer.to = plain.Listener.Addr().String()
	r := newRequest(t, "POST", "http://intranet.example:8000/a?b", strings.NewReader("x"))
	r.Header.Set("Authorization", "Basic eDp5")
	_, body := do(t, w.viaConnect(false), r)
	for _, want := range []string{"POST intranet.example:8000 /a?b\n", "Authorization: Basic eDp5\n", "body 1"} {
		if !strings.Contains(body, want) {
			t.Errorf("the service got\n%s\nwithout %q", body, want)
		}
	}
}

func TestUnroutedHostIsRefusedWhereTheConfigurationSaysSo(t *testing.T) {
	w := newWorld(t, echo, func(o *Options, _ *httptest.Server) { o.RefuseUnmatched = true })
	for method, target := range map[string]string{"CONNECT": "other.example:443", "GET": "http://other.example/"} {
		wantProblem(t, w.raw(method+" "+target+" HTTP/1.1\r\nHost: x\r\n\r\n", method), "", 403, CodeUnmatched)
	}
	if w.dialer.dials.Load() != 0 {
		t.Error("a connection was opened")
	}
}

func TestRoutedPort80InsideATunnelLeavesVerified(t *testing.T) {
	w := newWorld(t, echo)
	conn := w.connect(vaultHost + ":80")
	fmt.Fprintf(conn, "GET /secrets/a HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", vaultHost)
	answer, _ := io.ReadAll(conn)
	if !strings.Contains(string(answer), "GET "+vaultHost+" /secrets/a\nAuthorization: Bearer token-1") {
		t.Errorf("got %s", answer)
	}
}

func TestClientHelloThatComesWithTheConnectIsNotLost(t *testing.T) {
	w := newWorld(t, echo)
	w.dialer.to = lineServer(t)
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "CONNECT x.example:99 HTTP/1.1\r\nHost: x.example:99\r\n\r\nearly\n")
	in := bufio.NewReader(conn)
	if _, err := http.ReadResponse(in, &http.Request{Method: "CONNECT"}); err != nil {
		t.Fatal(err)
	}
	if line, _ := in.ReadString('\n'); line != "EARLY\n" {
		t.Errorf("got %q", line)
	}
}

func TestShutdownLetsRequestsEndAndClosesTunnels(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-leave
		io.WriteString(rw, "done")
	})
	service := w.dialer.to
	w.dialer.to = lineServer(t)
	tunnel := w.connect("mail.example:25")
	io.WriteString(tunnel, "helo\n")
	in := bufio.NewReader(tunnel)
	in.ReadString('\n')
	w.dialer.to = service

	got := make(chan string, 1)
	client := w.viaConnect(true)
	go func() {
		answer, err := client.Get("https://" + vaultHost + "/slow")
		if err != nil {
			got <- err.Error()
			return
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		got <- string(body)
	}()
	<-entered
	ended := make(chan error, 1)
	go func() { ended <- w.server.Shutdown(context.Background()) }()
	// The listener is closed first; the request goes on.
	for {
		conn, err := net.Dial("tcp", w.addr)
		if err != nil {
			break
		}
		conn.Close()
	}
	select {
	case err := <-ended:
		t.Fatalf("Shutdown ended (%v) with a request under way", err)
	default:
	}
	close(leave)
	if body := <-got; body != "done" {
		t.Errorf("the request under way got %q", body)
	}
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	tunnel.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("the tunnel was left open: %v", err)
	}
}

func TestShutdownBreaksOffWhatOutlastsIt(t *testing.T) {
	entered := make(chan struct{})
	w := newWorld(t, func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})
	got := make(chan error, 1)
	client := w.viaConnect(false)
	go func() {
		answer, err := client.Get("https://" + vaultHost + "/slow")
		if err == nil {
			answer.Body.Close()
		}
		got <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.server.Shutdown(ctx); err == nil {
		t.Error("Shutdown did not say that it broke something off")
	}
	if err := <-got; err == nil {
		t.Error("the request got an answer")
	}
}

// What a handler uses, the cache and the log, must outlive it.
func TestCloseWaitsForHandlers(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	w := newWorld(t, echo, func(o *Options, _ *httptest.Server) {
		o.Tokens = slowTokens{o.Tokens, entered, leave}
	})
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /vault/x HTTP/1.1\r\nHost: %s\r\n\r\n", w.addr)
	<-entered
	closed := make(chan struct{})
	go func() {
		w.server.Close()
		close(closed)
	}()
	io.Copy(io.Discard, conn) // ends with the connection
	select {
	case <-closed:
		t.Error("Close returned while a token was being waited for")
	default:
	}
	close(leave)
	<-closed
}

// slowTokens waits to be let on, whatever becomes of the request.
type slowTokens struct {
	Tokens
	entered, leave chan struct{}
}

// Token implements Tokens.
func (s slowTokens) Token(ctx context.Context, k cache.Key) (*imds.Token, error) {
	close(s.entered)
	<-s.leave
	return s.Tokens.Token(ctx, k)
}
