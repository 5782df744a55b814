//go:build e2e && linux

package steering

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

// While bearerd is dead whose calls are led to it reach nothing, routed or not,
// and no token; all works again once it is back.
func TestKilledDaemonFailsClosedUntilItIsBack(t *testing.T) {
	a := newAzure(t)
	d := a.redirect(t)
	routed, other := status("%{http_code}", secretURL), status("%{http_code}", "https://"+otherHost+"/")
	says(t, d, payrollUID, "200", routed...)
	says(t, d, payrollUID, "200", other...)

	// A transfer under way breaks, rather than ending as if it were whole.
	before := a.other()
	argv := append(rig.AsUser(payrollUID), "curl", "-sS", "-o", "/dev/null", "--max-time", "20", "https://"+otherHost+"/hold")
	transfer, err := rig.Launch(host.BaseEnv(), "/", argv[0], argv[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transfer.Stop)
	rig.Eventually(t, "the transfer is under way", func() error {
		if a.other() == before {
			return errors.New("it is not")
		}
		return nil
	})
	d.Signal(t, syscall.SIGKILL)
	d.Exited(t, 10*time.Second)
	if code := transfer.Exited(t, 10*time.Second); code == 0 || code == 28 { // 28 is a timeout
		t.Errorf("curl ended with %d: %s", code, transfer.Out)
	}

	vault, others := a.vault(), a.other()
	for _, argv := range [][]string{routed, other, status("", "http://"+imdsAddress+tokenPath)} {
		if text, err := as(t, d, payrollUID, argv...); err == nil || err.Error() != "exit status 7" { // could not connect
			t.Errorf("%q: %v, %q", argv, err, text)
		}
	}
	if a.vault() != vault || a.other() != others {
		t.Error("something got past the redirect")
	}
	says(t, d, otherUID, "200", other...)
	rules(t, d, "verify")

	d.Saw(d.Out.String())
	d.Start(t)
	for _, uid := range []int{payrollUID, reportsUID} {
		says(t, d, uid, "200", routed...)
		says(t, d, uid, "200", other...)
	}
	says(t, d, strangerUID, "403", routed...)
}
