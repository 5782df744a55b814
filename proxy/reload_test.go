package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

// testSettings are those of a world, with some of its rules alone.
func testSettings(t *testing.T, rules ...route.Rule) Settings {
	t.Helper()
	cloud, _ := azure.CloudNamed("public")
	table, err := route.Compile(rules, cloud)
	if err != nil {
		t.Fatal(err)
	}
	return Settings{Routes: table, AccessLog: AccessAll}
}

func TestRequestsFollowTheSettingsOfTheirStart(t *testing.T) {
	entered, leave := make(chan struct{}, 1), make(chan struct{})
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			entered <- struct{}{}
			<-leave
		}
		echo(rw, r)
	})
	client := w.viaConnect(true)
	slow := make(chan string, 1)
	go func() {
		answer, err := client.Get("https://" + apiHost + "/slow")
		if err != nil {
			slow <- err.Error()
			return
		}
		defer answer.Body.Close()
		slow <- answer.Status
	}()
	<-entered
	settings := testSettings(t, testRules()[0])
	settings.RefuseUnmatched, settings.Names = true, []string{"Proxy.Corp.Example"}
	if err := w.server.Update(settings); err != nil {
		t.Fatal(err)
	}
	close(leave)
	if got := <-slow; got != "200 OK" {
		t.Errorf("the request under way got %s", got)
	}
	// The same connection is held to the routes of now.
	answer, body := do(t, client, newRequest(t, "GET", "https://"+apiHost+"/", nil))
	wantProblem(t, answer, body, 403, CodeUnmatched)
	wantProblem(t, w.raw("CONNECT "+blobHost+":443 HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT"), "", 403, CodeUnmatched)
	if answer := w.raw("GET /vault/x HTTP/1.1\r\nHost: proxy.corp.example\r\n\r\n", "GET"); answer.StatusCode != 200 {
		t.Errorf("by its other name it answers %d", answer.StatusCode)
	}
	wantProblem(t, w.raw("GET /api/x HTTP/1.1\r\nHost: proxy.corp.example\r\n\r\n", "GET"), "", 404, CodeUnknownGateway)
}

func TestSettingsThatAreWrongChangeNothing(t *testing.T) {
	w := newWorld(t, echo)
	settings := testSettings(t)
	settings.Names = []string{"not a name"}
	if err := w.server.Update(settings); err == nil {
		t.Error("a name that is none was taken")
	}
	if answer, _ := do(t, w.plain(), newRequest(t, "GET", w.base("/vault/x"), nil)); answer.StatusCode != 200 {
		t.Errorf("the routes of before answer %d", answer.StatusCode)
	}
}

// A connection that was opened while the host was routed carries no token once
// it is not.
func TestHostThatIsNoLongerRoutedGetsNoToken(t *testing.T) {
	w := newWorld(t, echo)
	client := w.viaConnect(false)
	do(t, client, newRequest(t, "GET", "https://"+apiHost+"/", nil))
	if err := w.server.Update(testSettings(t, testRules()[0])); err != nil {
		t.Fatal(err)
	}
	if _, body := do(t, client, newRequest(t, "GET", "https://"+apiHost+"/", nil)); body != "GET "+apiHost+" /\nUser-Agent: Go-http-client/1.1\nbody 0" {
		t.Errorf("the service got\n%s", body)
	}
}

func TestTunnelsThatAreRoutedOrRefusedNowAreClosed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Settings)
		closed []string
	}{
		{"the same again", func(*Settings) {}, nil},
		{"one is routed", func(s *Settings) {
			*s = testSettings(t, append(testRules(), route.Rule{Hosts: []string{"b.example"}, Audience: "api://b"})...)
		}, []string{"b.example"}},
		{"all are refused", func(s *Settings) { s.RefuseUnmatched = true }, []string{"a.example", "b.example"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, echo)
			w.dialer.to = echoServer(t)
			tunnels := make(map[string]net.Conn)
			for _, host := range []string{"a.example", "b.example"} {
				conn := w.connect(host + ":443")
				fmt.Fprintln(conn, "helo")
				if line, _ := bufio.NewReader(conn).ReadString('\n'); line != "helo\n" {
					t.Fatalf("got %q", line)
				}
				tunnels[host] = conn
			}
			settings := testSettings(t, testRules()...)
			tt.change(&settings)
			if err := w.server.Update(settings); err != nil {
				t.Fatal(err)
			}
			for host, conn := range tunnels {
				io.WriteString(conn, "more\n")
				line, err := bufio.NewReader(conn).ReadString('\n')
				if closed := err != nil; closed != slices.Contains(tt.closed, host) {
					t.Errorf("%s: got %q (%v) after the change", host, line, err)
				}
			}
		})
	}
}

// A tunnel that was decided on before a reload must not outlive it.
func TestTunnelUnderWayDuringAReloadIsClosed(t *testing.T) {
	dialing, dial := make(chan struct{}), make(chan struct{})
	w := newWorld(t, echo, func(o *Options, _ *httptest.Server) {
		o.Dialer = &slowDialer{Dialer: o.Dialer, dialing: dialing, dial: dial}
	})
	w.dialer.to = echoServer(t)
	conn := w.dial()
	io.WriteString(conn, "CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n")
	<-dialing
	settings := testSettings(t, testRules()...)
	settings.RefuseUnmatched = true
	if err := w.server.Update(settings); err != nil {
		t.Fatal(err)
	}
	close(dial)
	in := bufio.NewReader(conn)
	if answer, err := http.ReadResponse(in, &http.Request{Method: "CONNECT"}); err != nil || answer.StatusCode != 200 {
		t.Fatalf("got %v (%v)", answer, err)
	}
	io.WriteString(conn, "helo\n")
	if line, err := in.ReadString('\n'); err == nil {
		t.Errorf("the tunnel works: %q", line)
	}
}

// slowDialer says that it is at work, and waits to be let on.
type slowDialer struct {
	Dialer
	dialing, dial chan struct{}
}

// DialContext implements Dialer.
func (d *slowDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	d.dialing <- struct{}{}
	<-d.dial
	return d.Dialer.DialContext(ctx, network, addr)
}

// echoServer gives what it gets, on any number of connections at once.
func echoServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer conn.Close()
				io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wait.Wait() })
	return l.Addr().String()
}
