package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bearerd/bearerd/proxy/azure"
)

const vaultChallenge = `Bearer authorization="https://login.windows.net/11111111-1111-1111-1111-111111111111", resource="https://vault.azure.net"`

// revoking rejects token-1 as a vault does and echoes what carries another.
func revoking(calls *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.Header.Get("Authorization") == "Bearer token-1" {
			w.Header().Set("WWW-Authenticate", vaultChallenge)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		echo(w, r)
	}
}

func TestRejectedTokenIsRenewedAndTheCallReplayedOnce(t *testing.T) {
	for name, body := range map[string]io.Reader{"no body": nil, "with a length": strings.NewReader("hello"), "without a length": io.MultiReader(strings.NewReader("hello"))} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", HTTP/2 ", http2), func(t *testing.T) {
				var calls atomic.Int64
				// The service reads the body before it answers, so it has ended.
				w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
					text, _ := io.ReadAll(r.Body)
					r.Body = io.NopCloser(strings.NewReader(string(text)))
					revoking(&calls)(rw, r)
				})
				if seeker, ok := body.(io.Seeker); ok {
					seeker.Seek(0, io.SeekStart)
				} else if body != nil {
					body = io.MultiReader(strings.NewReader("hello"))
				}
				answer, text := do(t, w.viaConnect(http2), newRequest(t, "POST", "https://"+vaultHost+"/keys/k/backup", body))
				if answer.StatusCode != 200 || !strings.Contains(text, "Bearer token-2") || calls.Load() != 2 || w.tokens.renewals.Load() != 1 {
					t.Errorf("got %d after %d calls and %d renewals:\n%s", answer.StatusCode, calls.Load(), w.tokens.renewals.Load(), text)
				}
				if want := map[bool]string{true: "body 0", false: "body 5"}[body == nil]; !strings.HasSuffix(text, want) {
					t.Errorf("the replay carried another body:\n%s\nwant %s", text, want)
				}
			})
		}
	}
}

func TestUnauthorizedPassesWhen(t *testing.T) {
	tests := []struct {
		name      string
		challenge string
		stuck     bool
		size      int // of the body
		renewals  int64
	}{
		{"the renewal brings the same token", vaultChallenge, true, 0, 1},
		{"the body is larger than the spool", vaultChallenge, false, 1 << 20, 1},
		{"the token is not what is wrong", `Bearer error="insufficient_claims", claims="e30="`, false, 0, 0},
		{"there is no challenge", "", false, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var calls atomic.Int64
			w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				io.Copy(io.Discard, r.Body)
				if tt.challenge != "" {
					rw.Header().Set("WWW-Authenticate", tt.challenge)
				}
				rw.WriteHeader(http.StatusUnauthorized)
				io.WriteString(rw, "the service's own words")
			})
			w.tokens.stuck = tt.stuck
			answer, body := do(t, w.plain(), newRequest(t, "PUT", w.base("/vault/secrets/a"), io.LimitReader(zeros{}, int64(tt.size))))
			if answer.StatusCode != 401 || body != "the service's own words" || answer.Header.Get("WWW-Authenticate") != tt.challenge {
				t.Errorf("got %d %v %s, want the service's own 401", answer.StatusCode, answer.Header, body)
			}
			if calls.Load() != 1 || w.tokens.renewals.Load() != tt.renewals {
				t.Errorf("%d calls and %d renewals, want 1 and %d", calls.Load(), w.tokens.renewals.Load(), tt.renewals)
			}
		})
	}
}

// A service may refuse a call before its body has ended. The transport then
// still reads it, and must not steal from the second attempt.
func TestEarlyUnauthorizedIsReplayedWhileASmallBodyIsUnderWay(t *testing.T) {
	var calls atomic.Int64
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(rw).EnableFullDuplex(); err != nil { // it does not wait for the body
			t.Error(err)
		}
		revoking(&calls)(rw, r)
	}, upstreamHTTP1)
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT /vault/secrets/a HTTP/1.1\r\nHost: %s\r\nContent-Length: 20\r\n\r\nbegin", w.addr)
	eventually(t, "the second attempt has reached the service", func() bool { return w.tokens.renewals.Load() == 1 })
	io.WriteString(conn, "fifteen further")
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != 200 || calls.Load() != 2 || !strings.HasSuffix(string(body), "body 20") {
		t.Errorf("got %d after %d calls:\n%s\nwant 200 and the whole body after two", answer.StatusCode, calls.Load(), body)
	}
}

func TestEarlyUnauthorizedPassesWhileALargeBodyIsUnderWay(t *testing.T) {
	var calls atomic.Int64
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(rw).EnableFullDuplex(); err != nil { // it does not wait for the body
			t.Error(err)
		}
		revoking(&calls)(rw, r)
	}, upstreamHTTP1)
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT /vault/secrets/a HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000000\r\n\r\nbegin", w.addr)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != 401 || calls.Load() != 1 {
		t.Errorf("got %d after %d calls, want the service's 401 after one", answer.StatusCode, calls.Load())
	}
}

func TestUploadThatWaitsForContinueIsReplayed(t *testing.T) {
	var calls atomic.Int64
	w := newWorld(t, revoking(&calls), upstreamHTTP1)
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const size = 1 << 20 // far more than a spool
	fmt.Fprintf(conn, "PUT /vault/secrets/a HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", w.addr, size)
	in := bufio.NewReader(conn)
	if line, _ := in.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q, want the body to be asked for once the second token is accepted", line)
	}
	in.ReadString('\n')
	go io.CopyN(conn, zeros{}, size)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != 200 || !strings.HasSuffix(string(body), fmt.Sprint("body ", size)) || calls.Load() != 2 {
		t.Errorf("got %d after %d calls: %s", answer.StatusCode, calls.Load(), body)
	}
}

// The sequence of the Key Vault clients of Azure's SDKs: a probe without body,
// then the write with whatever credential they were given.
func TestKeyVaultProbeIsAnsweredHere(t *testing.T) {
	var calls atomic.Int64
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) { calls.Add(1); echo(rw, r) })
	client := w.viaConnect(true)
	probe := newRequest(t, "PUT", "https://"+vaultHost+"/secrets/a?api-version=7.4", http.NoBody)
	answer, _ := do(t, client, probe)
	if answer.StatusCode != 401 || calls.Load() != 0 {
		t.Fatalf("the probe got %d after %d calls, want a 401 of ours", answer.StatusCode, calls.Load())
	}
	challenge := answer.Header.Get("WWW-Authenticate")
	for _, part := range []string{`Bearer authorization="https://login.microsoftonline.com/`, `resource="https://vault.azure.net"`} {
		if !strings.Contains(challenge, part) {
			t.Errorf("the challenge %q lacks %q", challenge, part)
		}
	}
	if !azure.TokenRejected([]string{challenge}) {
		t.Error("the challenge is none that a client would answer")
	}
	write := newRequest(t, "PUT", "https://"+vaultHost+"/secrets/a?api-version=7.4", strings.NewReader(`{"value":"v"}`))
	write.Header.Set("Authorization", "Bearer dummy")
	answer, body := do(t, client, write)
	if answer.StatusCode != 200 || !strings.Contains(body, "Authorization: Bearer token-1\n") || !strings.HasSuffix(body, "body 13") {
		t.Errorf("the write got %d:\n%s", answer.StatusCode, body)
	}
}

func TestWriteOfAPlainClientIsNoProbe(t *testing.T) {
	w := newWorld(t, echo)
	for name, r := range map[string]*http.Request{
		"write with a body":     newRequest(t, "PUT", w.base("/vault/secrets/a"), strings.NewReader("{}")),
		"operation without one": newRequest(t, "POST", w.base("/vault/secrets/a/backup"), nil),
		"read":                  newRequest(t, "GET", w.base("/vault/secrets/a"), nil),
		"another service's":     newRequest(t, "PUT", w.base("/blob/c"), nil),
	} {
		if answer, body := do(t, w.plain(), r); answer.StatusCode != 200 {
			t.Errorf("%s got %d %s", name, answer.StatusCode, body)
		}
	}
}
