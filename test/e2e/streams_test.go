//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

const (
	apiHost     = "api.contoso.internal"
	apiAudience = "api://contoso-internal"
)

// startForAPI starts bearerd in front of an API of the user's own, which shows
// how HTTP itself comes through, and takes nobody without a token.
func startForAPI(t *testing.T) *rig.Daemon {
	t.Helper()
	imds := rig.StartIMDS(t, imdstest.Options{})
	tokens := azuretest.NewVerifier(imds.Tenant(), imds.PublicKey(), nil)
	cloud := imds.StartCloud(t, azuretest.Options{
		Hosts:  []string{},
		Others: map[string]http.Handler{apiHost: azuretest.Protect(tokens, apiAudience, azuretest.Echo{})},
	})
	return env.Start(t, rig.Settings{IMDS: imds, Upstream: cloud.ConnectTo(), CA: cloud.CAPEM(), Routes: `
  - {name: internal-api, hosts: [api.contoso.internal], audience: "api://contoso-internal", upgrades: [websocket], gateway: api}
`})
}

// app is a Go program that is steered in one way.
type app struct {
	name, base string
	client     *http.Client
}

func apps(t *testing.T, d *rig.Daemon) []app {
	t.Helper()
	return []app{
		{"base URL, HTTP/1.1", d.URL + "/api", rig.Direct},
		{"proxy variables, HTTP/1.1", "https://" + apiHost, d.AppClient(t, false)},
		{"proxy variables, HTTP/2", "https://" + apiHost, d.AppClient(t, true)},
	}
}

func (a app) open(t *testing.T, method, path string, body io.Reader) *http.Response {
	t.Helper()
	// A stream that stands still must not hold the tests up.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		resp.Body.Close()
	})
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s %s: %s %s", method, path, resp.Status, text)
	}
	return resp
}

// Events reach the app as they happen, while the stream stays open.
func TestServerSentEvents(t *testing.T) {
	d := startForAPI(t)
	for _, a := range apps(t, d) {
		t.Run(a.name, func(t *testing.T) {
			lines := bufio.NewScanner(a.open(t, http.MethodGet, "/events?n=3&hold=1", nil).Body)
			var events []string
			for len(events) < 3 && lines.Scan() {
				if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
					events = append(events, data)
				}
			}
			if got := strings.Join(events, ","); got != "event 0,event 1,event 2" {
				t.Errorf("got %s (%v)", got, lines.Err())
			}
		})
	}
}

// Each line is answered before the next one is sent, in one request.
func TestFullDuplex(t *testing.T) {
	d := startForAPI(t)
	for _, a := range apps(t, d) {
		t.Run(a.name, func(t *testing.T) {
			body, sender := io.Pipe()
			defer sender.Close()
			resp := a.open(t, http.MethodPost, "/duplex", body)
			answers := bufio.NewReader(resp.Body)
			for i := range 5 {
				if _, err := fmt.Fprintf(sender, "line %d\n", i); err != nil {
					t.Fatal(err)
				}
				if text, err := answers.ReadString('\n'); text != fmt.Sprintf("LINE %d\n", i) {
					t.Fatalf("line %d came back as %q (%v)", i, text, err)
				}
			}
			sender.Close()
			if rest, err := io.ReadAll(answers); len(rest) != 0 || err != nil {
				t.Errorf("the end was %q (%v)", rest, err)
			}
		})
	}
}

// Trailers come through in both directions, but for those that could be taken
// for header fields which bearerd would have dropped.
func TestTrailers(t *testing.T) {
	d := startForAPI(t)
	const text = "what the digest in the trailer is of"
	digest := sha256.Sum256([]byte(text))
	for _, a := range apps(t, d) {
		t.Run(a.name, func(t *testing.T) {
			resp := a.open(t, http.MethodPost, "/trailers", io.MultiReader(strings.NewReader(text)))
			if got, err := io.ReadAll(resp.Body); string(got) != text || err != nil {
				t.Errorf("the body came back as %q (%v)", got, err)
			}
			if got := resp.Trailer.Get("X-Sha256"); got != hex.EncodeToString(digest[:]) {
				t.Errorf("the answer's trailers are %v", resp.Trailer)
			}

			req, err := http.NewRequest(http.MethodPost, a.base+"/anything", io.MultiReader(strings.NewReader(text)))
			if err != nil {
				t.Fatal(err)
			}
			req.Trailer = http.Header{"X-Checksum": {"42"}, "X-Forwarded-For": {"10.0.0.1"}}
			var got azuretest.Echoed
			if err := json.Unmarshal([]byte(read(t, a.client, req)), &got); err != nil {
				t.Fatal(err)
			}
			if got.Trailer.Get("X-Checksum") != "42" || len(got.Trailer) != 1 {
				t.Errorf("the service got the trailers %v, want X-Checksum alone", got.Trailer)
			}
		})
	}
}

// An informational answer comes before the final one.
func TestEarlyHints(t *testing.T) {
	d := startForAPI(t)
	for _, a := range apps(t, d) {
		t.Run(a.name, func(t *testing.T) {
			var hints []string
			trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				hints = append(hints, fmt.Sprint(code, " ", h.Get("Link")))
				return nil
			}}
			req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, a.base+"/hints", nil)
			if err != nil {
				t.Fatal(err)
			}
			read(t, a.client, req)
			if len(hints) != 1 || hints[0] != "103 </style.css>; rel=preload" {
				t.Errorf("the hints were %q", hints)
			}
		})
	}
}

// A query reaches the service byte for byte, and an app's credential that is
// none does not.
func TestWhatReachesTheService(t *testing.T) {
	d := startForAPI(t)
	const query = "/a%2Fb//c;d/../e?x=1;y=2&sp=%20%zz+&&z"
	for _, s := range everySteering() {
		t.Run(s.name, func(t *testing.T) {
			a := curl(t, d, s, s.base(d, apiHost, "api")+query, "--path-as-is", "--http1.1", // HTTP/2 has no Connection
				"--header", "Authorization: Basic "+rig.CallerCredential, "--header", "Proxy-Connection: keep-alive",
				"--header", "X-Forwarded-For: 10.0.0.1", "--header", "Connection: X-Secret", "--header", "X-Secret: "+rig.CallerCredential)
			var got azuretest.Echoed
			if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK {
				t.Fatalf("got %d %s: %v", a.status, a.body, err)
			}
			if got.URI != query || got.Host != apiHost {
				t.Errorf("the service was asked for %s of %s, want %s", got.URI, got.Host, query)
			}
			if token := d.IMDS.Minted()[0]; got.Header.Get("Authorization") != azuretest.Digest("Bearer "+token) {
				t.Errorf("the service was shown %s, want the machine's token", got.Header.Get("Authorization"))
			}
			for _, name := range []string{"X-Secret", "X-Forwarded-For", "Proxy-Connection", "Via"} {
				if got.Header[name] != nil {
					t.Errorf("%s reached the service", name)
				}
			}
		})
	}
}

// A redirect is the app's to follow: bearerd asks nobody else. By a base URL, one
// to the service itself keeps coming through.
func TestRedirectsArePassedBack(t *testing.T) {
	d := startForAPI(t)
	for _, s := range everySteering() {
		t.Run(s.name, func(t *testing.T) {
			base := s.base(d, apiHost, "api")
			mapped := "https://" + apiHost
			if s.name == viaBaseURL().name {
				mapped = base
			}
			for to, want := range map[string]string{
				"https://" + apiHost + "/next?x=1":           mapped + "/next?x=1",
				"https://" + apiHost + ".evil.example/":      "https://" + apiHost + ".evil.example/",
				"https://evil.example/?u=https://" + apiHost: "https://evil.example/?u=https://" + apiHost,
			} {
				a := curl(t, d, s, base+"/redirect?to="+url.QueryEscape(to))
				if a.status != http.StatusFound || a.header.Get("Location") != want {
					t.Errorf("a redirect to %s became %d %s, want %s", to, a.status, a.header.Get("Location"), want)
				}
			}
		})
	}
}

// A service that refuses an upload in place of 100 Continue is heard, and the
// body is not sent to it.
func TestExpectContinue(t *testing.T) {
	d := startForAPI(t)
	file := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(file, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range everySteering() {
		t.Run(s.name, func(t *testing.T) {
			text := rig.Run(t, append(env.BaseEnv(), s.env(d)...), "", "curl", "--silent", "--show-error", "--http1.1", "--max-time", "30", "--expect100-timeout", "20",
				"--output", "/dev/null", "--write-out", "%{http_code} %{size_upload}", "--header", "Expect: 100-continue", "--data-binary", "@"+file, s.base(d, apiHost, "api")+"/refuse")
			if text != "417 0" {
				t.Errorf("curl says %s, want 417 and nothing uploaded", text)
			}
			a := curl(t, d, s, s.base(d, apiHost, "api")+"/x", "--http1.1", "--header", "Expect: 100-continue", "--data-binary", "@"+file)
			var got azuretest.Echoed
			if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Read != 2<<20 {
				t.Errorf("a service that takes the upload got %d bytes of it: %d (%v)", got.Read, a.status, err)
			}
		})
	}
}

// WebSocket is switched to where the route says so, and frames pass both ways.
func TestWebSocket(t *testing.T) {
	d := startForAPI(t)
	for _, c := range []struct {
		name, path string
		dial       func(t *testing.T) net.Conn
	}{
		{"base URL", "/api/websocket", func(t *testing.T) net.Conn {
			conn, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			return conn
		}},
		{"proxy variables", "/websocket", func(t *testing.T) net.Conn { return tunnel(t, d, apiHost+":443", apiHost) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := c.dial(t)
			defer conn.Close()
			host := apiHost
			if strings.HasPrefix(c.path, "/api") {
				host = strings.TrimPrefix(d.URL, "http://")
			}
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", c.path, host)
			buffered := bufio.NewReader(conn)
			resp, err := http.ReadResponse(buffered, nil)
			// The key and its answer are RFC 6455's own example.
			if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
				t.Fatalf("the handshake got %v (%v)", resp, err)
			}
			for i := range 3 {
				frame := fmt.Sprintf("\x81\x07frame %d", i)
				got := make([]byte, len(frame))
				_, writeErr := io.WriteString(conn, frame)
				if _, err := io.ReadFull(buffered, got); string(got) != frame {
					t.Fatalf("frame %d came back as %q (%v)", i, got, errors.Join(writeErr, err))
				}
			}
		})
	}
}

// A caller that leaves does not keep the service at work.
func TestServiceIsToldThatTheCallerLeft(t *testing.T) {
	left := make(chan struct{})
	waiting := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(left)
	})
	d := env.Start(t, rig.Settings{
		IMDS: rig.StartIMDS(t, imdstest.Options{}), Upstream: map[string]string{vaultHost: env.CA.ServeTLS(t, waiting, vaultHost)}, Routes: vaultRoute,
	})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.URL+"/vault/secrets/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := rig.Direct.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	resp.Body.Close()
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Error("the service still works for a caller that has left")
	}
}
