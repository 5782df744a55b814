//go:build e2e && linux

package steering

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

// What no route names is the same with and without bearerd in between: the
// digests of 32 MiB in each direction, in each family and protocol.
func TestRedirectedOthersAreTheSameBytes(t *testing.T) {
	a := newAzure(t)
	d := a.redirect(t)
	content := large()
	file, want := inHost("large"), fmt.Sprintf("%x", sha256.Sum256(content))
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
	digest := func(args string) []string {
		return []string{"bash", "-c", "set -o pipefail; curl -sS --fail --max-time 30 " + args + " | sha256sum | cut -d ' ' -f 1"}
	}
	spliced := 0
	for _, family := range []string{"-4", "-6"} {
		for _, args := range []string{"--http1.1 https://", "--http2 https://", "--http1.1 http://", "--http2-prior-knowledge http://"} {
			down := digest(family + " " + args + otherHost + "/large")
			up := append(strings.Fields("curl -sS --fail --max-time 30 -T "+file), strings.Fields(family+" "+args+otherHost+"/")...)
			for _, uid := range []int{otherUID, payrollUID} { // one goes there by itself
				says(t, d, uid, want, down...)
				says(t, d, uid, want, up...)
			}
			spliced += 2
		}
	}
	// What is no protocol at all, and says that it is done before it has heard all.
	for _, at := range []string{rawV4, rawV6} {
		echo := []string{rig.Python, inHost("testdata/echo.py"), at, "8000000"}
		direct, err := as(t, d, otherUID, echo...)
		if err != nil || !strings.HasPrefix(direct, "True ") {
			t.Fatalf("%s: %v, %q", at, err, direct)
		}
		says(t, d, payrollUID, strings.TrimSpace(direct), echo...)
		spliced++
	}
	if metrics, want := rig.Get(t, d.Admin+"/metrics"), fmt.Sprintf(`bearerd_transparent_connections_total{outcome="spliced"} %d`, spliced); !strings.Contains(metrics, want+"\n") {
		t.Errorf("no %s", want)
	}
	noLoop(t, d)
}
