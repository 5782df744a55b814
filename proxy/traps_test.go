package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// dial opens a connection to the plain port that ends with the test.
func (w *world) dial() net.Conn {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// service starts a TLS server that answers each connection's first request with
// raw bytes, and leads all names there.
func (w *world) service(answer func(request *http.Request, conn net.Conn)) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			secured := tlsServer(conn, w.ca, "http/1.1")
			if r, err := http.ReadRequest(bufio.NewReader(secured)); err == nil {
				answer(r, secured)
			}
			secured.Close()
		}
	}()
	w.t.Cleanup(func() { l.Close(); <-done })
	w.dialer.to = l.Addr().String()
}

func TestHeaderOfAStreamArrivesBeforeItsBody(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		leave := make(chan struct{})
		w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "text/event-stream")
			http.NewResponseController(rw).Flush()
			<-leave
		})
		answer, err := w.viaConnect(http2).Get("https://" + apiHost + "/events")
		if err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode != 200 {
			t.Errorf("got %d", answer.StatusCode)
		}
		close(leave)
		answer.Body.Close()
	}
}

func TestRefusalDoesNotWaitForTheBody(t *testing.T) {
	w := newWorld(t, echo)
	for _, target := range []string{"/nope/x", "/vault/x"} {
		if target == "/vault/x" {
			w.tokens.err = errNoWay
		}
		conn := w.dial()
		fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 100\r\n\r\nbegin", target, w.addr)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		if answer.Header.Get(ErrorHeader) == "" {
			t.Errorf("%s got %d", target, answer.StatusCode)
		}
	}
}

// HTTP/2 carries in a path what ends the request line in HTTP/1.1.
func TestPathCannotEndTheRequestLine(t *testing.T) {
	var calls atomic.Int64
	w := newWorld(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) }, upstreamHTTP1)
	for _, path := range []string{"/secrets/a HTTP/1.1", "/secrets/a#/b", "/secrets/a?b c", "/a?b#c"} {
		conn := w.intercepted(vaultHost, vaultHost, "h2")
		if got := h2StatusOf(t, conn, "GET", path, vaultHost, ""); got != "400" {
			t.Errorf("%q got %s, want 400", path, got)
		}
	}
	for _, path := range []string{"//a/%zz", `//a/"b"`} { // net/http would send these as something else
		if answer := w.raw("GET http://"+blobHost+path+" HTTP/1.1\r\nHost: x\r\n\r\n", "GET"); answer.StatusCode != 400 {
			t.Errorf("%q got %d, want 400", path, answer.StatusCode)
		}
	}
	if calls.Load() != 0 {
		t.Error("one of them was forwarded")
	}
}

func TestHeaderThatIsTooLargeIsRefused(t *testing.T) {
	w := newWorld(t, echo, func(o *Options, _ *httptest.Server) { o.Limits.HeaderBytes = 8 << 10 })
	large := strings.Repeat("a", 16<<10)
	conn := w.dial()
	go fmt.Fprintf(conn, "GET /vault/x HTTP/1.1\r\nHost: %s\r\nX-Large: %s\r\n\r\n", w.addr, large)
	if answer, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || answer.StatusCode != 431 {
		t.Errorf("HTTP/1.1: got %v (%v), want 431", answer, err)
	}
	r := newRequest(t, "GET", "https://"+vaultHost+"/x", nil)
	for i := range 16 { // HTTP/2 ends the connection over a single one of that size
		r.Header.Set(fmt.Sprint("X-Large-", i), large[:1<<10])
	}
	// The client may see the limit in our settings, and refuse to send it.
	if answer, err := w.viaConnect(true).Do(r); err == nil {
		answer.Body.Close()
		if answer.StatusCode != 431 {
			t.Errorf("HTTP/2: got %d, want 431", answer.StatusCode)
		}
	} else if !strings.Contains(err.Error(), "header list") {
		t.Errorf("HTTP/2: %v", err)
	}
}

func TestAnswersWithoutABodyPassAsTheyAre(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("ETag", `"1"`)
		switch r.URL.Path {
		case "/204":
			rw.WriteHeader(http.StatusNoContent)
		case "/304":
			rw.WriteHeader(http.StatusNotModified)
		case "/length":
			rw.Header().Set("Content-Length", "1234")
		case "/empty":
			rw.Header().Set("Content-Length", "0")
		}
	})
	for _, tt := range []struct {
		method, path string
		status       int
		length       string
	}{
		{"HEAD", "/length", 200, "1234"}, {"GET", "/empty", 200, "0"}, {"HEAD", "/empty", 200, "0"},
		{"DELETE", "/204", 204, ""}, {"GET", "/304", 304, ""}, {"PUT", "/empty", 200, "0"},
	} {
		for name, ask := range map[string]func() (*http.Response, string){
			"base": func() (*http.Response, string) {
				return do(t, w.plain(), newRequest(t, tt.method, w.base("/blob"+tt.path), nil))
			},
			"CONNECT": func() (*http.Response, string) {
				return do(t, w.viaConnect(true), newRequest(t, tt.method, "https://"+blobHost+tt.path, nil))
			},
		} {
			answer, body := ask()
			if answer.StatusCode != tt.status || answer.Header.Get("Content-Length") != tt.length || body != "" || answer.Header.Get("ETag") != `"1"` {
				t.Errorf("%s %s by %s: got %d %v %q", tt.method, tt.path, name, answer.StatusCode, answer.Header, body)
			}
		}
	}
}

func TestEmptyBodyKeepsItsLength(t *testing.T) {
	lengths := make(chan string, 1)
	w := newWorld(t, echo)
	w.service(func(r *http.Request, conn net.Conn) {
		lengths <- fmt.Sprint(r.Header["Content-Length"], r.TransferEncoding)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	for _, method := range []string{"PUT", "POST"} {
		w.raw(method+" /blob/c HTTP/1.1\r\nHost: "+w.addr+"\r\nContent-Length: 0\r\n\r\n", method)
		if got := <-lengths; got != "[0] []" {
			t.Errorf("%s: the service got the length %s, want 0", method, got)
		}
	}
}

func TestRedirectsAndCookiesPassBothWays(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if got := r.Header["Cookie"]; len(got) != 1 || got[0] != "a=1; b=2" {
			t.Errorf("the service got the cookies %q", got)
		}
		rw.Header()["Set-Cookie"] = []string{"c=3; Path=/; HttpOnly", "d=4"}
		http.Redirect(rw, r, "https://elsewhere.example/", http.StatusTemporaryRedirect)
	})
	r := newRequest(t, "GET", "https://"+apiHost+"/", nil)
	r.Header.Set("Cookie", "a=1; b=2")
	answer, _ := do(t, w.viaConnect(true), r)
	if answer.StatusCode != 307 || answer.Header.Get("Location") != "https://elsewhere.example/" || len(answer.Header["Set-Cookie"]) != 2 {
		t.Errorf("got %d %v", answer.StatusCode, answer.Header)
	}
	if n := w.dialer.dials.Load(); n != 1 {
		t.Errorf("%d connections were opened; was the redirect followed?", n)
	}
}

func TestBrokenDownloadIsBrokenInHTTP2AndWithoutALength(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
		io.WriteString(rw, "half")
		http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	})
	for name, client := range map[string]*http.Client{"HTTP/1.1": w.viaConnect(false), "HTTP/2": w.viaConnect(true)} {
		answer, err := client.Get("https://" + apiHost + "/x")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(answer.Body); err == nil {
			t.Errorf("%s: half an answer was taken for a whole one", name)
		}
		answer.Body.Close()
	}
}

func TestCallerThatLeavesAnUploadOrDownloadEndsTheCall(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for _, method := range []string{"GET", "PUT"} {
			t.Run(fmt.Sprintf("%s, HTTP/2 %v", method, http2), func(t *testing.T) {
				left := make(chan struct{})
				w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
					defer close(left)
					if r.Method == "GET" {
						for {
							if _, err := rw.Write(make([]byte, 1<<10)); err != nil {
								return
							}
						}
					}
					http.NewResponseController(rw).Flush()
					io.Copy(io.Discard, r.Body)
				})
				body, feed := io.Pipe()
				r := newRequest(t, method, "https://"+apiHost+"/x", body)
				if method == "GET" {
					r.Body = nil
				}
				go func() {
					for {
						if _, err := feed.Write(make([]byte, 1<<10)); err != nil {
							return
						}
					}
				}()
				answer, err := w.viaConnect(http2).Do(r)
				if err != nil {
					t.Fatal(err)
				}
				if method == "GET" {
					io.ReadFull(answer.Body, make([]byte, 100))
				}
				answer.Body.Close()
				body.CloseWithError(errNoWay)
				select {
				case <-left:
				case <-time.After(10 * time.Second):
					t.Error("the service was kept at work for a caller that had left")
				}
			})
		}
	}
}

// net/http answers 200 for a handler that answers nothing. A caller that has
// closed its own direction is taken to have left, but may well read on.
func TestCallerThatLeftGetsNoEmptyAnswer(t *testing.T) {
	entered := make(chan struct{})
	w := newWorld(t, func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})
	conn := w.dial()
	fmt.Fprintf(conn, "GET /vault/x HTTP/1.1\r\nHost: %s\r\n\r\n", w.addr)
	<-entered
	conn.(*net.TCPConn).CloseWrite()
	if got, _ := io.ReadAll(conn); len(got) > 0 {
		t.Errorf("it got %q", got)
	}
}

func TestWebSocketInsideATunnel(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		conn, buffered, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(conn, buffered)
	})
	conn := w.intercepted(apiHost, apiHost, "http/1.1")
	fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", apiHost)
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	if err != nil || answer.StatusCode != 101 {
		t.Fatalf("got %v (%v)", answer, err)
	}
	io.WriteString(conn, "ping")
	got := make([]byte, 4)
	if _, err := io.ReadFull(in, got); err != nil || string(got) != "ping" {
		t.Errorf("got %q (%v) back", got, err)
	}
	conn.Close()

	answer = w.raw("GET /vault/socket HTTP/1.1\r\nHost: "+w.addr+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "GET")
	wantProblem(t, answer, "", 403, "BearerdNotPermitted") // the route does not list it
}

func TestServiceCannotSwitchProtocolsUnasked(t *testing.T) {
	for _, upgrade := range []string{"", "Connection: Upgrade\r\nUpgrade: websocket\r\n"} {
		w := newWorld(t, echo)
		w.service(func(_ *http.Request, conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
		})
		answer := w.raw("GET /api/x HTTP/1.1\r\nHost: "+w.addr+"\r\n"+upgrade+"\r\n", "GET")
		wantProblem(t, answer, "", 502, CodeUpstreamUnreachable)
	}
}

func TestAnswerWithAnImpossibleStatusIsRefused(t *testing.T) {
	w := newWorld(t, echo)
	w.service(func(_ *http.Request, conn net.Conn) {
		io.WriteString(conn, "HTTP/1.1 042 What\r\nContent-Length: 0\r\n\r\n")
	})
	answer := w.raw("GET /api/x HTTP/1.1\r\nHost: "+w.addr+"\r\n\r\n", "GET")
	wantProblem(t, answer, "", 502, CodeUpstreamUnreachable)
}

func TestHintsPassInHTTP2AndNotInHTTP10(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Link", "</a>; rel=preload")
		rw.WriteHeader(http.StatusEarlyHints)
		io.WriteString(rw, "done")
	})
	conn := w.intercepted(apiHost, apiHost, "h2")
	if got := h2StatusOf(t, conn, "GET", "/", apiHost, ""); got != "103" {
		t.Errorf("the first answer in HTTP/2 is %s, want 103", got)
	}
	old := w.dial()
	fmt.Fprintf(old, "GET /api/x HTTP/1.0\r\nHost: %s\r\n\r\n", w.addr)
	if all, _ := io.ReadAll(old); !bytes.HasPrefix(all, []byte("HTTP/1.0 200")) {
		t.Errorf("HTTP/1.0 got\n%s", all)
	}
}

// With one of the two limits alone, what net/http buffers grows with the number
// of streams.
func TestHTTP2WindowsAreSetOnBothSides(t *testing.T) {
	check := func(t *testing.T, framer *http2.Framer) {
		t.Helper()
		var stream, connection uint32
		for stream == 0 || connection == 0 {
			frame, err := framer.ReadFrame()
			if err != nil {
				t.Fatalf("before both windows were told (%d, %d): %v", stream, connection, err)
			}
			switch f := frame.(type) {
			case *http2.SettingsFrame:
				if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
					stream = v
				}
			case *http2.WindowUpdateFrame:
				if f.StreamID == 0 {
					connection += f.Increment
				}
			}
		}
		const preset = 65535
		if stream != streamWindow || connection+preset < connectionWindow || connection > connectionWindow {
			t.Errorf("the windows are %d and %d, want %d and %d", stream, connection+preset, streamWindow, connectionWindow)
		}
	}
	t.Run("callers", func(t *testing.T) {
		conn := newWorld(t, echo).intercepted(vaultHost, vaultHost, "h2")
		io.WriteString(conn, http2.ClientPreface)
		framer := http2.NewFramer(conn, conn)
		framer.WriteSettings()
		check(t, framer)
	})
	t.Run("services", func(t *testing.T) {
		w := newWorld(t, echo)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		w.dialer.to = l.Addr().String()
		asked := w.dial()
		fmt.Fprintf(asked, "GET /api/x HTTP/1.1\r\nHost: %s\r\n\r\n", w.addr)
		raw, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn := tlsServer(raw, w.ca, "h2")
		defer conn.Close()
		if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
			t.Fatal(err)
		}
		framer := http2.NewFramer(conn, conn)
		framer.WriteSettings()
		check(t, framer)
	})
}
