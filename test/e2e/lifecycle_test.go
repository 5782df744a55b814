//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// slowService begins an answer and ends it when it is told to.
type slowService struct {
	begun, finish chan struct{}
}

func (s *slowService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, "begun ")
	w.(http.Flusher).Flush()
	s.begun <- struct{}{}
	select {
	case <-s.finish:
		_, _ = io.WriteString(w, "and finished")
	case <-r.Context().Done():
	}
}

func startWithSlowService(t *testing.T) (*rig.Daemon, *slowService) {
	t.Helper()
	s := &slowService{begun: make(chan struct{}, 1), finish: make(chan struct{})}
	d := env.Start(t, rig.Settings{
		IMDS:     rig.StartIMDS(t, imdstest.Options{}),
		Upstream: map[string]string{vaultHost: env.CA.ServeTLS(t, s, vaultHost)},
		Routes:   vaultRoute,
	})
	return d, s
}

// SIGTERM refuses new connections, lets a call in flight end, and exits 0.
func TestSIGTERMDrains(t *testing.T) {
	d, s := startWithSlowService(t)
	resp, err := rig.Direct.Get(d.URL + "/vault/secrets/slow")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-s.begun
	d.Signal(t, syscall.SIGTERM)
	rig.Eventually(t, "new connections are refused", func() error {
		conn, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
		if err != nil {
			return nil
		}
		defer conn.Close()
		return fmt.Errorf("%s still accepts", d.URL)
	})
	select {
	case <-d.Done:
		t.Fatalf("bearerd ended with a call in flight and said:\n%s", d.Out)
	default:
	}
	close(s.finish)
	text, err := io.ReadAll(resp.Body)
	if err != nil || string(text) != "begun and finished" {
		t.Errorf("the call in flight got %q (%v), want all of the answer", text, err)
	}
	if code := d.Exited(t, 10*time.Second); code != 0 {
		t.Errorf("bearerd exited with %d, want 0; it said:\n%s", code, d.Out)
	}
}

// A second SIGTERM ends bearerd although a call is in flight.
func TestSecondSIGTERMEndsAtOnce(t *testing.T) {
	d, s := startWithSlowService(t)
	resp, err := rig.Direct.Get(d.URL + "/vault/secrets/slow")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-s.begun
	d.Signal(t, syscall.SIGTERM)
	rig.Eventually(t, "the first signal has been seen", func() error {
		conn, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
		if err != nil {
			return nil
		}
		defer conn.Close()
		return fmt.Errorf("%s still accepts", d.URL)
	})
	d.Signal(t, syscall.SIGTERM)
	// Far less than drain.max, which is 30 s.
	d.Exited(t, 3*time.Second)
}

// A tunnel does not keep bearerd from ending when the drain is over.
func TestDrainClosesTunnels(t *testing.T) {
	d := env.Start(t, rig.Settings{
		IMDS:     rig.StartIMDS(t, imdstest.Options{}),
		Upstream: map[string]string{"plain.example": env.CA.ServeTLS(t, http.NotFoundHandler(), "plain.example")},
		Routes:   vaultRoute,
		More:     "drain: {max: 1s}\n",
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "CONNECT plain.example:443 HTTP/1.1\r\nHost: plain.example:443\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("CONNECT: %v %v", resp, err)
	}
	d.Signal(t, syscall.SIGTERM)
	if code := d.Exited(t, 10*time.Second); code != 0 {
		t.Errorf("bearerd exited with %d, want 0; it said:\n%s", code, d.Out)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the tunnel still gives bytes")
	}
}
