package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// echo answers with what it was sent: the request line, then the header.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	fmt.Fprintf(w, "%s %s %s\n", r.Method, r.Host, r.RequestURI)
	for _, name := range []string{"Authorization", "Accept-Encoding", "User-Agent", "X-Ms-Version", "X-Kept", "X-Named", "Proxy-Authorization", "Via", "Te"} {
		for _, v := range r.Header[name] {
			fmt.Fprintf(w, "%s: %s\n", name, v)
		}
	}
	for name, v := range r.Trailer {
		fmt.Fprintf(w, "trailer %s: %s\n", name, v)
	}
	fmt.Fprintf(w, "body %d", len(body))
}

// Every way of steering, with HTTP/1.1 and HTTP/2 on either side, reaches the
// same service with the same token.
func TestEverySteeringCarriesTheToken(t *testing.T) {
	for _, upstream := range []string{"HTTP/1.1", "HTTP/2.0"} {
		var options []worldOption
		if upstream == "HTTP/1.1" {
			options = append(options, upstreamHTTP1)
		}
		w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
			if r.Proto != upstream {
				t.Errorf("the upstream was spoken to in %s, want %s", r.Proto, upstream)
			}
			echo(rw, r)
		}, options...)
		tests := []struct {
			name   string
			client *http.Client
			url    string
			proto  string
		}{
			{"CONNECT, HTTP/1.1", w.viaConnect(false), "https://" + vaultHost, "HTTP/1.1"},
			{"CONNECT, HTTP/2", w.viaConnect(true), "https://" + vaultHost, "HTTP/2.0"},
			{"absolute", w.viaConnect(false), "http://" + vaultHost, "HTTP/1.1"},
			{"base URL", w.plain(), w.base("/vault"), "HTTP/1.1"},
		}
		for _, tt := range tests {
			t.Run(tt.name+" to "+upstream, func(t *testing.T) {
				r := newRequest(t, "GET", tt.url+"/secrets/a?b=c", nil)
				r.Header.Set("User-Agent", "app")
				answer, body := do(t, tt.client, r)
				coding := "" // so that the links of a list can be mapped
				if tt.name == "base URL" {
					coding = "Accept-Encoding: identity\n"
				}
				want := "GET " + vaultHost + " /secrets/a?b=c\nAuthorization: Bearer token-1\n" + coding + "User-Agent: app\nbody 0"
				if body != want || answer.StatusCode != 200 {
					t.Errorf("got %d\n%s\nwant\n%s", answer.StatusCode, body, want)
				}
				if answer.Proto != tt.proto {
					t.Errorf("the caller was spoken to in %s, want %s", answer.Proto, tt.proto)
				}
			})
		}
	}
}

func TestPlainPortSpeaksNoHTTP2(t *testing.T) {
	w := newWorld(t, echo)
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	answer, _ := io.ReadAll(conn)
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 ")) {
		t.Errorf("HTTP/2's preface was answered with %q", answer)
	}
}

func TestPathAndQueryPassByteForByte(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, r.RequestURI) })
	targets := []string{
		"/c/b?sv=2020;sig=a%2Fb+c%3D&x", "/c/%7e%2E%2f%C3%A4", "/c//b", "/c/../b", "/c/b?", "/c/b?a=%zz", "/a;b=c/d,e", "/c/'(b)*!", "//c/b", "/",
	}
	for _, target := range targets {
		for name, text := range map[string]string{
			"base":     "GET /blob" + target + " HTTP/1.1\r\nHost: " + w.addr + "\r\n\r\n",
			"absolute": "GET http://" + blobHost + target + " HTTP/1.1\r\nHost: x\r\n\r\n",
		} {
			body, _ := io.ReadAll(w.raw(text, "GET").Body)
			if string(body) != target {
				t.Errorf("%s: %q reached the service as %q", name, target, body)
			}
		}
	}
}

func TestNothingIsAddedThatTheCallerDidNotSend(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Accept-Encoding", "User-Agent", "X-Forwarded-For", "Via", "Forwarded"} {
			if v, ok := r.Header[name]; ok {
				t.Errorf("%s: %q was added", name, v)
			}
		}
		rw.Header()["Content-Type"] = nil
		io.WriteString(rw, "<html>")
	})
	answer := w.raw("GET /blob/c/b HTTP/1.1\r\nHost: "+w.addr+"\r\n\r\n", "GET")
	if v, ok := answer.Header["Content-Type"]; ok {
		t.Errorf("Content-Type %q was guessed", v)
	}
}

func TestTraceIsRefused(t *testing.T) {
	w := newWorld(t, echo)
	answer := w.raw("TRACE /vault/x HTTP/1.1\r\nHost: "+w.addr+"\r\n\r\n", "TRACE")
	wantProblem(t, answer, "", 405, CodeMethodNotAllowed)
}

// java.net.http offers h2c with every plain request; it must be served, and the
// offer must not travel on.
func TestUpgradeToH2CIsNotForwarded(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Upgrade", "Http2-Settings", "Connection"} {
			if v, ok := r.Header[name]; ok {
				t.Errorf("%s: %q was forwarded", name, v)
			}
		}
	}, upstreamHTTP1)
	for _, named := range []string{"Upgrade, HTTP2-Settings", "Upgrade"} {
		answer := w.raw("GET /vault/x HTTP/1.1\r\nHost: "+w.addr+"\r\nConnection: "+named+"\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", "GET")
		if answer.StatusCode != 200 {
			t.Errorf("got %d, want 200", answer.StatusCode)
		}
	}
}

func TestTrailersPassBothWays(t *testing.T) {
	for _, upstream := range []string{"HTTP/1.1", "HTTP/2.0"} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("HTTP/2 caller %v to %s", http2, upstream), func(t *testing.T) {
				var options []worldOption
				if upstream == "HTTP/1.1" {
					options = append(options, upstreamHTTP1)
				}
				w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
					rw.Header().Set("Trailer", "X-Sum")
					echo(rw, r)
					rw.Header().Set("X-Sum", "42")
					rw.Header().Set(http.TrailerPrefix+"X-Late", "43")
				}, options...)
				r := newRequest(t, "PUT", "https://"+blobHost+"/c/b", nil)
				r.Trailer = http.Header{"X-Check": nil, "X-Ms-Version": nil}
				r.Body = io.NopCloser(&atEOF{r: strings.NewReader("hello"), f: func() {
					r.Trailer["X-Check"] = []string{"crc"}
					r.Trailer["X-Ms-Version"] = []string{"1999-01-01"}
				}})
				r.ContentLength = -1
				answer, body := do(t, w.viaConnect(http2), r)
				if !strings.Contains(body, "trailer X-Check: [crc]") {
					t.Errorf("the request's trailer did not reach the service:\n%s", body)
				}
				if strings.Contains(body, "1999") {
					t.Errorf("a trailer that is set as a header was forwarded:\n%s", body)
				}
				if got := answer.Trailer.Get("X-Sum"); got != "42" {
					t.Errorf("the answer's trailer is %q, want 42", got)
				}
				if got := answer.Trailer.Get("X-Late"); got != "43" {
					t.Errorf("the answer's trailer that was not announced is %q, want 43", got)
				}
			})
		}
	}
}

// atEOF calls f when r has ended.
type atEOF struct {
	r io.Reader
	f func()
}

func (a *atEOF) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	if err == io.EOF {
		a.f()
	}
	return n, err
}

// Each line that the caller sends is answered before it sends the next one.
func TestRequestAndAnswerStreamAtTheSameTime(t *testing.T) {
	for _, tt := range []struct {
		name  string
		http2 bool
		url   string
	}{{"CONNECT, HTTP/1.1", false, "https://" + apiHost}, {"CONNECT, HTTP/2", true, "https://" + apiHost}, {"base URL", false, ""}} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
				c := http.NewResponseController(rw)
				if r.ProtoMajor == 1 {
					if err := c.EnableFullDuplex(); err != nil {
						t.Error(err)
					}
				}
				lines := bufio.NewScanner(r.Body)
				for lines.Scan() {
					fmt.Fprintf(rw, "got %s\n", lines.Text())
					c.Flush()
				}
			})
			url, client := tt.url, w.viaConnect(tt.http2)
			if url == "" {
				url, client = w.base("/api"), w.plain()
			}
			in, out := io.Pipe()
			r := newRequest(t, "POST", url+"/chat", in)
			go io.WriteString(out, "one\n")
			answer, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			lines := bufio.NewScanner(answer.Body)
			for _, want := range []string{"one", "two", "three"} {
				if !lines.Scan() || lines.Text() != "got "+want {
					t.Fatalf("got %q, want the answer to %q", lines.Text(), want)
				}
				switch want {
				case "one":
					io.WriteString(out, "two\n")
				case "two":
					io.WriteString(out, "three\n")
				}
			}
			out.Close()
		})
	}
}

func TestServerSentEventsArriveAsTheyAreSent(t *testing.T) {
	next := make(chan struct{})
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(rw, "data: %d\n\n", i)
			http.NewResponseController(rw).Flush()
			<-next
		}
	})
	answer, err := w.viaConnect(false).Get("https://" + apiHost + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewReader(answer.Body)
	for i := range 3 {
		line, err := lines.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); line != want || err != nil {
			t.Fatalf("got %q (%v), want %q before the next event is made", line, err, want)
		}
		lines.ReadString('\n')
		next <- struct{}{}
	}
}

func TestInformationalAnswersPass(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Link", "</style.css>; rel=preload")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Del("Link")
		io.WriteString(rw, "done")
	})
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /api/x HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", w.addr)
	all, _ := io.ReadAll(conn)
	if !bytes.HasPrefix(all, []byte("HTTP/1.1 103 Early Hints\r\n")) || !bytes.Contains(all, []byte("preload")) {
		t.Errorf("103 did not come through:\n%s", all)
	}
	if final := all[bytes.Index(all, []byte("HTTP/1.1 200")):]; bytes.Contains(final, []byte("preload")) {
		t.Errorf("the hint's field leaked into the answer:\n%s", final)
	}
}

func TestExpectContinueAsksTheServiceFirst(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			rw.WriteHeader(http.StatusExpectationFailed)
			return
		}
		echo(rw, r)
	}, upstreamHTTP1)
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	head := "PUT /api%s HTTP/1.1\r\nHost: " + w.addr + "\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
	fmt.Fprintf(conn, head, "/yes")
	line, _ := answers.ReadString('\n')
	if line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q, want 100 once the service asked for the body", line)
	}
	answers.ReadString('\n')
	io.WriteString(conn, "hello")
	answer, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(answer.Body); !strings.HasSuffix(string(body), "body 5") {
		t.Errorf("the body did not reach the service: %s", body)
	}
	fmt.Fprintf(conn, head, "/no")
	if answer, err = http.ReadResponse(answers, nil); err != nil || answer.StatusCode != http.StatusExpectationFailed {
		t.Errorf("got %v (%v), want the service's 417 without a 100", answer, err)
	}
}

func TestWebSocketBecomesAPipe(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Authorization") != "Bearer token-1" {
			t.Errorf("the upgrade arrived with %v", r.Header)
		}
		conn, buffered, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
		io.Copy(conn, buffered)
	})
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The first frame follows at once, before the answer.
	fmt.Fprintf(conn, "GET /api/socket HTTP/1.1\r\nHost: %s\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\nping", w.addr)
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, &http.Request{Method: "GET"})
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != 101 || answer.Header.Get("Sec-WebSocket-Accept") != "x" {
		t.Fatalf("got %d %v", answer.StatusCode, answer.Header)
	}
	io.WriteString(conn, "pong")
	got := make([]byte, 8)
	if _, err := io.ReadFull(in, got); err != nil || string(got) != "pingpong" {
		t.Errorf("got %q (%v) back", got, err)
	}
}

func TestAnswerThatBreaksOffIsBrokenForTheCaller(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Length", "100")
		io.WriteString(rw, "half")
		http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	})
	answer, err := w.plain().Get(w.base("/api/x"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.ReadAll(answer.Body); err == nil {
		t.Error("half an answer was taken for a whole one")
	}
}

func TestLongBodiesStreamInBothDirections(t *testing.T) {
	const size = 8 << 20
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if n != size || err != nil {
			t.Errorf("the service got %d bytes (%v)", n, err)
		}
		io.Copy(rw, io.LimitReader(zeros{}, size))
	})
	for name, body := range map[string]io.Reader{"with a length": bytes.NewReader(make([]byte, size)), "without": io.LimitReader(zeros{}, size)} {
		r := newRequest(t, "PUT", "https://"+blobHost+"/c/b", body)
		answer, got := do(t, w.viaConnect(true), r)
		if len(got) != size || answer.StatusCode != 200 {
			t.Errorf("%s: %d bytes came back with %d", name, len(got), answer.StatusCode)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestUpstreamFailuresAreToldApart(t *testing.T) {
	t.Run("unreachable", func(t *testing.T) {
		w := newWorld(t, echo)
		w.dialer.err = errNoWay
		answer, body := do(t, w.plain(), newRequest(t, "GET", w.base("/vault/x"), nil))
		wantProblem(t, answer, body, 502, CodeUpstreamUnreachable)
	})
	t.Run("name not resolved", func(t *testing.T) {
		w := newWorld(t, echo)
		w.dialer.err = &net.DNSError{Err: "no such host", Name: vaultHost, IsNotFound: true}
		answer, body := do(t, w.plain(), newRequest(t, "GET", w.base("/vault/x"), nil))
		wantProblem(t, answer, body, 502, CodeUpstreamUnreachable)
	})
	t.Run("certificate of another authority", func(t *testing.T) {
		other := newTestCA(t)
		w := newWorld(t, echo, func(o *Options, _ *httptest.Server) { o.RootCAs = other.pool })
		answer, body := do(t, w.plain(), newRequest(t, "GET", w.base("/vault/x"), nil))
		wantProblem(t, answer, body, 502, CodeUpstreamTLS)
	})
	t.Run("no TLS at all", func(t *testing.T) {
		w := newWorld(t, echo)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
				c.Close()
			}
		}()
		w.dialer.to = l.Addr().String()
		answer, body := do(t, w.plain(), newRequest(t, "GET", w.base("/vault/x"), nil))
		wantProblem(t, answer, body, 502, CodeUpstreamTLS)
	})
	t.Run("time out", func(t *testing.T) {
		w := newWorld(t, echo)
		w.dialer.err = &net.OpError{Op: "dial", Err: timeoutError{}}
		answer, body := do(t, w.plain(), newRequest(t, "GET", w.base("/vault/x"), nil))
		wantProblem(t, answer, body, 504, CodeUpstreamTimeout)
	})
}

type timeoutError struct{}

func (timeoutError) Error() string { return "timed out" }
func (timeoutError) Timeout() bool { return true }

func TestNoTokenMeansNoCall(t *testing.T) {
	called := false
	w := newWorld(t, func(http.ResponseWriter, *http.Request) { called = true })
	w.tokens.err = errors.New("identity endpoint unreachable")
	answer, body := do(t, w.plain(), newRequest(t, "GET", w.base("/vault/x"), nil))
	wantProblem(t, answer, body, 503, CodeTokenUnavailable)
	if answer.Header.Get("Retry-After") == "" || !strings.HasPrefix(body, `{"error":{"code":"BearerdTokenUnavailable","message":`) {
		t.Errorf("got %v %s", answer.Header, body)
	}
	if called {
		t.Error("the call left without a token")
	}
}

func TestCallerThatLeavesEndsTheCall(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(left)
	})
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /vault/x HTTP/1.1\r\nHost: %s\r\n\r\n", w.addr)
	<-entered
	conn.Close()
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Error("the service was kept at work for a caller that had left")
	}
}
