//go:build e2e && linux

package steering

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

// Two users get two identities on the same host, a third is refused, and who is
// not redirected goes there by itself.
func TestTwoUsersGetTwoIdentitiesAndAThirdNone(t *testing.T) {
	a := newAzure(t)
	d := a.redirect(t)
	for _, family := range []string{"-4", "-6"} {
		for uid, want := range map[int]string{payrollUID: payrollID, reportsUID: reportsID} {
			says(t, d, uid, "200", status("%{http_code}", family, secretURL)...)
			calls := a.cloud.Recorder.Requests()
			if last := calls[len(calls)-1]; last.Caller.ClientID != want {
				t.Errorf("user %d: %s, with the token of %q", uid, last, last.Caller.ClientID)
			}
		}
		before := a.vault()
		text, err := as(t, d, strangerUID, "curl", "-sS", "-i", family, "--http1.1", secretURL)
		if err != nil || !strings.HasPrefix(text, "HTTP/1.1 403 ") || !strings.Contains(text, `{"error":{"code":"BearerdCallerNotPermitted","message":"`) {
			t.Errorf("a third: %v\n%s", err, text)
		}
		if a.vault() != before {
			t.Error("the third was let through to the vault")
		}
		says(t, d, otherUID, "401", status("%{http_code}", family, "-k", secretURL)...)
	}
	if log := d.Out.String(); !strings.Contains(log, fmt.Sprintf(`"caller":"user=%d`, strangerUID)) {
		t.Errorf("the log does not tell who was refused:\n%s", log)
	}
	noLoop(t, d)
}

// All users' connections come from the same address.
func TestOneUsersConnectionsLeaveOthersTheirs(t *testing.T) {
	a := newAzure(t)
	d := a.redirect(t)
	argv := append(rig.AsUser(strangerUID), rig.Python, inHost("testdata/hold.py"), serviceV4, strconv.Itoa(perCaller+1))
	holder, err := rig.Launch(host.BaseEnv(), "/", argv[0], argv[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(holder.Stop)
	rig.Eventually(t, "the connections are made", func() error {
		if !strings.Contains(holder.Out.String(), "held") || !strings.Contains(rig.Get(t, d.Admin+"/metrics"), `bearerd_connections_limited_total{limit="per_caller"} 1`) {
			return errors.New(holder.Out.String())
		}
		return nil
	})
	says(t, d, payrollUID, "200", status("%{http_code}", secretURL)...)
	if text, err := as(t, d, strangerUID, status("%{http_code}", secretURL)...); err == nil {
		t.Errorf("one more of the same user: %q", text)
	}
}

const tokenPath = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net&client_id=" + payrollID

// An app gets no token by itself, on no way there is, while the guard stands;
// bearerd's user and root do.
func TestGuardKeepsTokensFromApps(t *testing.T) {
	a := newAzure(t)
	d := a.redirect(t)
	token := func(at string, args ...string) []string {
		return status("%{http_code}", append([]string{"-H", "Metadata: true", "http://" + at + tokenPath}, args...)...)
	}
	const curlCouldNotConnect = "exit status 7"
	asked := a.imds.Stats().Calls
	for _, uid := range []int{payrollUID, strangerUID, otherUID} {
		for _, at := range []string{imdsAddress, "[::ffff:" + imdsAddress + "]"} {
			began := time.Now()
			text, err := as(t, d, uid, token(at)...)
			if err == nil || err.Error() != curlCouldNotConnect || time.Since(began) > 5*time.Second {
				t.Errorf("user %d asks %s: %v, %q", uid, at, err, text)
			}
		}
		says(t, d, uid, "403", token(imdsAddress, "-x", d.URL)...) // by bearerd's own rights
	}
	if got := a.imds.Stats().Calls; got != asked {
		t.Errorf("IMDS was asked %d times", got-asked)
	}
	says(t, d, daemonUID, "200", token(imdsAddress)...)
	says(t, d, 0, "200", token(imdsAddress)...)
	says(t, d, payrollUID, "200", status("%{http_code}", secretURL)...)
}

// What was led to bearerd goes by itself again, and nothing is left.
func TestRulesAreGoneAfterRemove(t *testing.T) {
	a := newAzure(t)
	d := a.redirect(t)
	says(t, d, payrollUID, "200", status("%{http_code}", secretURL)...)
	if text := rules(t, d, "verify"); text != "ok: the rules are in place\n" {
		t.Errorf("verify said %q", text)
	}
	if text := rules(t, d, "remove"); text != "the rules are removed\n" {
		t.Errorf("remove said %q", text)
	}
	if left := onHost(t, "nft", "list", "ruleset"); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
	for _, family := range []string{"-4", "-6"} {
		says(t, d, payrollUID, "401", status("%{http_code}", family, "-k", secretURL)...)
	}
	says(t, d, payrollUID, "200", status("%{http_code}", "-H", "Metadata: true", "http://"+imdsAddress+tokenPath)...)
	if text, err := rig.Try(t, host.BaseEnv(), "/", host.Bin, "redirect", "verify", "--config", d.Config); err == nil {
		t.Errorf("verify finds nothing wrong: %s", text)
	}
}
