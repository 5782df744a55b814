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
	"sync"
	"sync/atomic"
	"testing"
)

// ntlmServer logs in connections, as NTLM does: the client names itself, gets a
// challenge, and answers it on the same connection, which from then on is the
// user's, whatever is sent over it.
type ntlmServer struct {
	*httptest.Server
	accepted atomic.Int64
	open     atomic.Int64
}

// login is how far a connection has come.
type login struct {
	mu        sync.Mutex // guards what follows
	challenge string
	user      string
}

type loginKey struct{}

func startNTLM(t testing.TB) *ntlmServer {
	s := &ntlmServer{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.answer))
	s.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, loginKey{}, &login{challenge: fmt.Sprint("challenge-", s.accepted.Add(1))})
	}
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			s.open.Add(-1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *ntlmServer) answer(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	conn := r.Context().Value(loginKey{}).(*login)
	conn.mu.Lock()
	defer conn.mu.Unlock()
	message, _ := strings.CutPrefix(r.Header.Get("Authorization"), "NTLM ")
	user, answered, _ := strings.Cut(message, ":")
	switch {
	case message == "negotiate":
		w.Header().Set("WWW-Authenticate", "NTLM "+conn.challenge)
		w.WriteHeader(http.StatusUnauthorized)
		return
	case answered == conn.challenge:
		conn.user = user
	case message != "" || conn.user == "":
		w.Header().Set("WWW-Authenticate", "NTLM")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	fmt.Fprint(w, conn.user)
}

// plainWorld is a Server all of whose ways out lead to one plain server.
func plainWorld(t testing.TB, upstream *httptest.Server) *world {
	return newWorld(t, nil, func(o *Options, _ *httptest.Server) {
		o.Dialer = &fakeDialer{to: upstream.Listener.Addr().String()}
	})
}

// keepAlive is one connection of a caller.
type keepAlive struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

func (w *world) keepAlive() *keepAlive {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return &keepAlive{w.t, conn, bufio.NewReader(conn)}
}

// call sends one request over the connection and gives the status, the
// challenge and the body.
func (k *keepAlive) call(method, host, authorization, body string) (int, string, string) {
	k.t.Helper()
	text := method + " http://" + host + "/ HTTP/1.1\r\nHost: " + host + "\r\n"
	if authorization != "" {
		text += "Authorization: NTLM " + authorization + "\r\n"
	}
	if method == http.MethodPost {
		text += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	if _, err := io.WriteString(k.conn, text+"\r\n"+body); err != nil {
		k.t.Fatal(err)
	}
	answer, err := http.ReadResponse(k.in, &http.Request{Method: method})
	if err != nil {
		k.t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		k.t.Fatal(err)
	}
	return answer.StatusCode, strings.TrimPrefix(answer.Header.Get("WWW-Authenticate"), "NTLM "), string(got)
}

const intranet = "intranet.example"

// Two callers log in at once. Each is taken for itself, as often as it comes,
// and a third that never logged in is nobody.
func TestCallerCannotInheritTheLoginOfAnothersConnection(t *testing.T) {
	server := startNTLM(t)
	w := plainWorld(t, server.Server)
	users := []string{"alice", "bob"}
	callers := []*keepAlive{w.keepAlive(), w.keepAlive()}
	var challenges []string
	for _, c := range callers {
		if status, scheme, _ := c.call("GET", intranet, "", ""); status != 401 || scheme != "NTLM" {
			t.Fatalf("without a login: %d %q", status, scheme)
		}
		_, challenge, _ := c.call("POST", intranet, "negotiate", "")
		challenges = append(challenges, challenge)
	}
	if challenges[0] == challenges[1] {
		t.Fatal("both callers are on one connection")
	}
	for i, c := range callers {
		if status, _, body := c.call("POST", intranet, users[i]+":"+challenges[i], "a form"); status != 200 || body != users[i] {
			t.Errorf("%s logs in: %d %q", users[i], status, body)
		}
	}
	for range 3 {
		for i, c := range callers {
			if status, _, body := c.call("GET", intranet, "", ""); status != 200 || body != users[i] {
				t.Errorf("%s is taken for %q (%d)", users[i], body, status)
			}
		}
		if status, _, body := w.keepAlive().call("GET", intranet, "", ""); status != 401 {
			t.Errorf("a stranger is taken for %q (%d)", body, status)
		}
	}
}

// The login ends with the caller's connection, so that the next caller cannot
// find it.
func TestUpstreamConnectionEndsWithTheCallers(t *testing.T) {
	server := startNTLM(t)
	w := plainWorld(t, server.Server)
	first := w.keepAlive()
	for range 3 {
		first.call("GET", intranet, "", "")
	}
	if n := server.accepted.Load(); n != 1 {
		t.Errorf("three calls took %d connections", n)
	}
	first.conn.Close()
	eventually(t, "the upstream's connection has ended", func() bool { return server.open.Load() == 0 })
	if n := w.ownWays(); n != 0 {
		t.Errorf("%d ways out are left", n)
	}
}

func (w *world) ownWays() int {
	w.server.unrouted.mu.Lock()
	defer w.server.unrouted.mu.Unlock()
	return len(w.server.unrouted.open)
}

// However many hosts one connection asks for, it holds one connection.
func TestCallerHoldsOneUpstreamConnection(t *testing.T) {
	server := startNTLM(t)
	w := plainWorld(t, server.Server)
	caller := w.keepAlive()
	for i := range 20 {
		caller.call("GET", fmt.Sprintf("host%d.example", i), "", "")
	}
	eventually(t, "the others have ended", func() bool { return server.open.Load() == 1 })
}

// A caller whose calls are all routed costs what it did.
func TestRoutedCallsMakeNoWayOfTheirOwn(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, _ *http.Request) {})
	do(t, w.plain(), newRequest(t, "GET", w.base("/vault/secrets/x"), nil))
	if n := w.ownWays(); n != 0 {
		t.Errorf("there are %d", n)
	}
}
