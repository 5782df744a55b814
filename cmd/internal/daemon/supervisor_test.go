package daemon

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/proxy/listen"
)

// manager is a service manager that remembers what it is told.
type manager struct {
	mu   sync.Mutex // guards told
	told []string
}

func (m *manager) supervisor() Supervisor {
	return Supervisor{ReadyWait: time.Minute, Clock: func() string { return "MONOTONIC_USEC=7\n" }, Notify: func(lines string) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.told = append(m.told, lines)
		return nil
	}}
}

// heard counts what begins with a line.
func (m *manager) heard(line string) (n int) {
	for _, lines := range m.all() {
		if strings.HasPrefix(lines, line) {
			n++
		}
	}
	return n
}

func (m *manager) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.told)
}

func TestReadyIsToldOnceTheRequiredTokenIsThere(t *testing.T) {
	m := &manager{}
	o := imdstest.Options{}
	r := launchUnder(t, m.supervisor(), o, publicCloud+anyPort+vaultRoute)
	until(t, "READY=1", func() bool { return m.heard("READY=1") == 1 })
	all := m.all()
	if ready := all[len(all)-1]; !strings.HasPrefix(ready, "READY=1\nSTATUS=serving 1 route; token for https://vault.azure.net expires in ") {
		t.Errorf("it tells %q", ready)
	}
	if len(r.imds.Calls()) == 0 {
		t.Error("it was ready before it had asked for the token")
	}
	r.edit("gateway: vault", "gateway: safe")
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	r.edit("gateway: safe", "gatewy: safe")
	if err := r.Reload(); err == nil {
		t.Fatal("a mistake was taken over")
	}
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := r.Reload(); err == nil {
		t.Error("a daemon that has ended reloads")
	}
	after := m.all()[len(all):]
	for i, want := range []string{
		"RELOADING=1\nMONOTONIC_USEC=7", "READY=1\nSTATUS=serving 1 route; token", "RELOADING=1\nMONOTONIC_USEC=7", "READY=1\nSTATUS=serving 1 route; token",
		"STOPPING=1\nSTATUS=ending, with calls under way\nEXTEND_TIMEOUT_USEC=40000000",
	} {
		if i >= len(after) || !strings.HasPrefix(after[i], want) {
			t.Fatalf("then it tells %q, want %q as the next", after, want)
		}
	}
	if len(after) != 5 || !strings.HasSuffix(after[3], "; the configuration on disk was not taken over") {
		t.Errorf("then it tells %q", after)
	}
}

func TestReadyWaitsNoLongerThanItMay(t *testing.T) {
	m := &manager{}
	by := m.supervisor()
	by.ReadyWait = 300 * time.Millisecond
	began := time.Now()
	r := launchUnder(t, by, imdstest.Options{NoSystem: true}, publicCloud+anyPort+vaultRoute)
	until(t, "READY=1", func() bool { return m.heard("READY=1") == 1 })
	if took := time.Since(began); took < by.ReadyWait {
		t.Errorf("it was ready after %v", took)
	}
	if m.heard("STATUS=waiting: no token for https://vault.azure.net") == 0 {
		t.Errorf("it does not tell what it waits for: %q", m.all())
	}
	if !strings.Contains(r.log.String(), "bearerd starts without all the tokens") {
		t.Error("the log does not tell that a token is missing")
	}
}

// A daemon that hangs, where its callers would hang too, starves the watchdog.
func TestWatchdogIsFedWhileTheDaemonAnswers(t *testing.T) {
	m := &manager{}
	by := m.supervisor()
	by.Watchdog = 400 * time.Millisecond
	r := launchUnder(t, by, imdstest.Options{}, publicCloud+anyPort+vaultRoute)
	fed := func() {
		t.Helper()
		n := m.heard("WATCHDOG=1")
		until(t, "the watchdog is fed", func() bool { return m.heard("WATCHDOG=1") > n+2 })
	}
	fed()
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // and nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	doors := r.callersDoors()
	for what, hang := range map[string]func() (release func()){
		"the caches' lock":   func() func() { r.tokens.mu.Lock(); return r.tokens.mu.Unlock },
		"the listeners' one": func() func() { r.doorsMu.Lock(); return r.doorsMu.Unlock },
		"a listener's loop": func() func() {
			set := func(all []*door) {
				r.doorsMu.Lock()
				defer r.doorsMu.Unlock()
				r.doors = all
			}
			set(append(slices.Clone(doors), &door{Listener: deaf}))
			return func() { set(doors) }
		},
	} {
		release := hang()
		quiet := time.NewTimer(3 * by.Watchdog)
		n := m.heard("WATCHDOG=1")
		<-quiet.C
		if now := m.heard("WATCHDOG=1"); now > n+1 { // one check may have been through
			t.Errorf("%s hangs, and the watchdog is fed %d times", what, now-n)
		}
		release()
		fed()
	}
	if strings.Contains(r.log.String(), `"msg":"request"`) {
		t.Errorf("the checks are logged as calls:\n%s", r.log)
	}
}

// What a flood of connections takes from callers, it must not take from the
// daemon's life.
func TestWatchdogIsFedAtTheLimitOfConnections(t *testing.T) {
	for _, limit := range []string{"connections: 3", "connections_per_caller: 3"} {
		t.Run(limit, func(t *testing.T) {
			m := &manager{}
			by := m.supervisor()
			by.Watchdog = 400 * time.Millisecond
			r := launchUnder(t, by, imdstest.Options{}, publicCloud+anyPort+"limits: {"+limit+"}\n"+vaultRoute)
			for range 6 {
				conn, err := net.Dial("tcp", r.Addresses()[0])
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
			}
			n := m.heard("WATCHDOG=1")
			until(t, "the watchdog is fed", func() bool { return m.heard("WATCHDOG=1") > n+5 })
		})
	}
}

// A restart under socket activation: what connects while no daemon runs is
// answered by the next one.
func TestSocketsOfTheServiceManager(t *testing.T) {
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	file, err := first.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	sockets, err := listen.NewSockets([]*os.File{file})
	if err != nil {
		t.Fatal(err)
	}
	by := Supervisor{Sockets: sockets}
	at := first.Addr().String()
	listening := "listen: [{address: \"" + at + "\"}]\n"
	early := make(chan int)
	for range 2 {
		go func() {
			answer, err := http.Get("http://" + at + "/vault/secrets/db?api-version=7.4")
			if err != nil {
				early <- 0
				return
			}
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			early <- answer.StatusCode
		}()
		r := launchUnder(t, by, imdstest.Options{}, publicCloud+listening+vaultRoute)
		if status := <-early; status != http.StatusOK {
			t.Errorf("who had connected before got %d", status)
		}
		http.DefaultClient.CloseIdleConnections()
		r.edit(at, "127.0.0.1:0")
		const want = " and no listener of the configuration has that address"
		if err := r.Reload(); err == nil || !strings.Contains(err.Error(), "systemd has opened "+at+","+want) {
			t.Errorf("a reload without its listener: %v", err)
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := Start(t.Context(), Options{Config: r.parse(), Log: io.Discard, Supervisor: by}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a start without its listener: %v", err)
		}
	}
}

// Over restarts no call fails, neither of callers that keep their connections
// nor of those that do not.
func TestRestartsUnderLoadLoseNoCall(t *testing.T) {
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	file, err := first.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	sockets, err := listen.NewSockets([]*os.File{file})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var calls atomic.Int64
	for n := range 20 {
		load.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: n%2 == 0}, Timeout: 20 * time.Second}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				answer, err := client.Get("http://" + first.Addr().String() + "/vault/secrets/db?api-version=7.4")
				if err != nil {
					t.Errorf("caller %d: %v", n, err)
					continue
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					t.Errorf("got %s", answer.Status)
				}
				calls.Add(1)
			}
		})
	}
	for range 10 {
		r := launchUnder(t, Supervisor{Sockets: sockets}, imdstest.Options{}, publicCloud+"listen: [{address: \""+first.Addr().String()+"\"}]\n"+vaultRoute)
		next := calls.Load() + 100
		until(t, "calls are answered", func() bool { return calls.Load() > next })
		if ctx.Err() == nil {
			if err := r.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	launchUnder(t, Supervisor{Sockets: sockets}, imdstest.Options{}, publicCloud+"listen: [{address: \""+first.Addr().String()+"\"}]\n"+vaultRoute)
	cancel()
	load.Wait()
}
