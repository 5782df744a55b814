//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/imds/imdstest"
)

// served is a daemon that serve runs in this process, which takes its signals.
type served struct {
	t     *testing.T
	imds  *imdstest.Server
	at    string // the listener's address
	admin string // the administrator's
	ended chan error
	log   output
}

// output is a log that is read while it is written.
type output struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// begin runs serve with one listener, which lets a call wait for its token.
func begin(t *testing.T) *served {
	t.Helper()
	return beginLearning(t, "")
}

// beginLearning does so with a file for what is learned.
func beginLearning(t *testing.T, learn string) *served {
	t.Helper()
	return beginWith(t, learn, func(text string) (*daemon.Config, error) { return daemon.Parse("bearerd.yaml", []byte(text)) })
}

// beginWith does so with another way to read the configuration at a reload.
func beginWith(t *testing.T, learn string, reload func(text string) (*daemon.Config, error)) *served {
	t.Helper()
	// Those that come when serve does not listen must not end the test.
	ours := make(chan os.Signal, 1)
	signal.Notify(ours, syscall.SIGTERM, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(ours) })
	s := &served{t: t, imds: imdstest.New(imdstest.Options{}), ended: make(chan error, 1)}
	server := httptest.NewServer(s.imds)
	t.Cleanup(server.Close)
	text := "cloud: public\nlisten: [{address: \"127.0.0.1:0\"}]\nadmin: {address: \"127.0.0.1:0\"}\nstate_dir: " + t.TempDir() +
		"\nimds: {endpoint: \"" + server.URL + "\"}\nroutes: [{service: keyvault, hosts: [payroll.vault.azure.net], gateway: vault}]\n"
	c, err := daemon.Parse("bearerd.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		s.ended <- serve(t.Context(), daemon.Options{Config: c, Log: &s.log, Learn: learn, Reload: func() (*daemon.Config, error) {
			return reload(text)
		}})
	}()
	s.says("bearerd has started")
	found := regexp.MustCompile(`"listen":\["([^"]+)"\],"admin":"([^"]+)"`).FindStringSubmatch(s.log.String())
	if found == nil {
		t.Fatalf("the log does not tell the addresses:\n%s", &s.log)
	}
	s.at, s.admin = found[1], found[2]
	return s
}

func (s *served) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(os.Getpid(), sig); err != nil {
		s.t.Fatal(err)
	}
}

// says waits for a line in the log.
func (s *served) says(part string) {
	s.t.Helper()
	s.until("the log says "+part, func() bool { return strings.Contains(s.log.String(), part) })
}

func (s *served) until(what string, holds func() bool) {
	s.t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case err := <-s.ended:
			s.t.Fatalf("serve ended with %v before %s", err, what)
		case <-deadline.C:
			s.t.Fatalf("not so in time: %s\n%s", what, &s.log)
		}
	}
}

// call has a call wait for its token, and gives its status or 0.
func (s *served) call() <-chan int {
	s.t.Helper()
	s.imds.Script(imdstest.Slow(400 * time.Millisecond))
	got := make(chan int, 1)
	go func() {
		answer, err := http.Get("http://" + s.at + "/vault/secrets/db?api-version=7.4")
		if err != nil {
			got <- 0
			return
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		got <- answer.StatusCode
	}()
	s.until("the call waits", func() bool { return len(s.imds.Calls()) > 0 })
	return got
}

// A supervisor sends SIGTERM after a hook has ordered the end already (Kubernetes
// does so after preStop): that is the first signal, which lets calls end.
func TestSIGTERMAfterQuitStillDrains(t *testing.T) {
	s := begin(t)
	got := s.call()
	answer, err := http.Post("http://"+s.admin+"/-/quit", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	s.says("bearerd is ending")
	s.signal(syscall.SIGTERM)
	// No vault is there: a status of ours tells that the call was let end.
	if status := <-got; status == 0 {
		t.Error("the call under way was broken off")
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}

// A disk that is gone can keep whoever reads from it for good.
func TestReloadThatHangsDoesNotKeepTheDaemonFromEnding(t *testing.T) {
	hung, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	s := beginWith(t, "", func(text string) (*daemon.Config, error) {
		close(hung)
		<-release
		return nil, errors.New("the disk is gone")
	})
	s.signal(syscall.SIGHUP)
	<-hung
	s.signal(syscall.SIGTERM)
	select {
	case err := <-s.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("SIGTERM waits for the reload")
	}
}

func TestSIGHUPReloads(t *testing.T) {
	s := begin(t)
	s.signal(syscall.SIGHUP)
	s.says("the configuration was taken over")
	s.signal(syscall.SIGTERM)
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}

// A start may wait for a lock that another process holds; SIGTERM ends that.
func TestSIGTERMEndsAStartThatWaits(t *testing.T) {
	lock, err := os.OpenFile(filepath.Join(t.TempDir(), "authority.pem.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ours := make(chan os.Signal, 1)
	signal.Notify(ours, syscall.SIGTERM)
	defer signal.Stop(ours)
	c, err := daemon.Parse("bearerd.yaml", []byte("cloud: public\nimds: {endpoint: \"http://127.0.0.1:9\"}\nlisten: [{address: \"127.0.0.1:0\"}]\nadmin: {address: \"127.0.0.1:0\"}\nstate_dir: "+filepath.Dir(lock.Name())+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, daemon.Options{Config: c, Log: io.Discard}) }()
	tick := time.NewTicker(10 * time.Millisecond) // the first ones may come before serve listens
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			continue
		case err := <-ended:
			if err == nil || ctx.Err() != nil {
				t.Errorf("got %v, want an end by the signal", err)
			}
		}
		return
	}
}

// What was learned is written on SIGUSR1 and at the end, and is a configuration.
func TestSIGUSR1WritesWhatWasLearned(t *testing.T) {
	file := filepath.Join(t.TempDir(), "learned.yaml")
	s := beginLearning(t, file)
	read := func() string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if text := read(); !strings.Contains(text, "\nroutes: []\n") {
		t.Errorf("at the start the file says:\n%s", text)
	}
	if status := <-s.call(); status == 0 { // there is no vault, but the call was meant
		t.Fatal("the call got no answer")
	}
	s.signal(syscall.SIGUSR1)
	s.until("the call is in the file", func() bool { return strings.Contains(read(), "- keyvault.secret.get # 1 call\n") })
	s.signal(syscall.SIGTERM)
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	var stdout, stderr bytes.Buffer
	if code := run([]string{"check", "--config", file}, &stdout, &stderr); code != exitOK || !strings.Contains(stdout.String(), "ok: 1 routes") {
		t.Errorf("check says %d %s %s\n%s", code, &stdout, &stderr, read())
	}
}
