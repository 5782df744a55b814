package daemon

import (
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
)

const andIMDSsMode = "listen: [{address: \"127.0.0.1:0\"}, {address: \"127.0.0.1:0\", mode: imds}]\n"

// occupy has a call wait for a token that does not come.
func (r *running) occupy() {
	r.t.Helper()
	r.imds.Script(imdstest.Hang().Always())
	var calls sync.WaitGroup
	r.t.Cleanup(calls.Wait)
	calls.Go(func() {
		answer, err := r.client.Get("http://" + r.Addresses()[0] + "/vault/secrets/db?api-version=7.4")
		if err == nil {
			answer.Body.Close()
		}
	})
	until(r.t, "the call waits", func() bool { return len(r.imds.Calls()) > 0 })
}

// drain.max counts from the order to end, for that is how long a supervisor
// is told to wait before it kills.
func TestDrainMaxCountsFromTheOrder(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+anyPort+"drain: {min: 1s, max: 1s}\nroutes: [{service: keyvault, hosts: [payroll.vault.azure.net], gateway: vault}]\n")
	r.occupy()
	began := time.Now()
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < time.Second || took > 1800*time.Millisecond {
		t.Errorf("it took %v, want a second", took)
	}
}

// After drain.min no listener takes calls any more, whatever is under way at
// another one.
func TestEveryListenerStopsAfterDrainMin(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+andIMDSsMode+"drain: {max: 2s}\nroutes: [{service: keyvault, hosts: [payroll.vault.azure.net], gateway: vault}]\n")
	r.occupy()
	ended := make(chan error)
	go func() { ended <- r.Shutdown(t.Context()) }()
	began := time.Now()
	until(t, "no connection is taken", func() bool {
		for _, address := range r.Addresses() {
			if conn, err := net.Dial("tcp", address); err == nil {
				conn.Close()
				return false
			}
		}
		return true
	})
	if took := time.Since(began); took > 1200*time.Millisecond {
		t.Errorf("a listener took connections for %v", took)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestShutdownsAtOnce(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+"listen: [{address: \"127.0.0.1:0\"}, {address: \"127.0.0.1:0\"}, {address: \"127.0.0.1:0\"}]\n"+vaultRoute)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := r.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// A listener that ends by itself ends the daemon, which says so until then.
func TestListenerThatFailsEndsTheDaemon(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+andIMDSsMode+vaultRoute)
	r.callersDoors()[1].Close()
	<-r.Done()
	if status, body := r.get("http://" + r.AdminAddress() + "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz says %d %s", status, body)
	}
	if up := r.shown().Listeners; !up[0].Up || up[1].Up {
		t.Errorf("the listeners are %+v, want the second one down", up)
	}
	if err := r.Shutdown(t.Context()); err == nil {
		t.Error("the failure is not told")
	}
	r.failure = nil // launch shuts down once more
}
