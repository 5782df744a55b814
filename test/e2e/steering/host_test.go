//go:build e2e && linux

package steering

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

// routes give two users two identities on the same host, and others none.
var routes = fmt.Sprintf(`
  - {name: payroll, service: keyvault, hosts: [%[1]s], callers: {users: [%[2]d]}, identity: {client_id: %[3]s}}
  - {name: reports, service: keyvault, hosts: [%[1]s], callers: {users: [%[4]d]}, identity: {client_id: %[5]s}}
  - {name: grpc, hosts: [%[6]s], audience: %[7]q, callers: {users: [%[2]d]}, identity: {client_id: %[3]s}}
`, vaultHost, payrollUID, payrollID, reportsUID, reportsID, grpcHost, apiID)

// redirected is what the administrator writes of the redirect.
func redirected(guard bool, report string) string {
	return fmt.Sprintf(`
redirect:
  daemon_user: %d
  users: [%d, %d, %d]
  to: 127.0.0.1:8443
  to6: "[::1]:8443"
  guard_imds: %t
  report_file: %s
`, daemonUID, payrollUID, reportsUID, strangerUID, guard, report)
}

// perCaller is how many connections one user may have.
const perCaller = 100

const transparentListeners = `
  - {address: "127.0.0.1:8443", mode: transparent}
  - {address: "[::1]:8443", mode: transparent}
`

// settings are those of a bearerd that asks Azure alone.
func (a *azure) settings() rig.Settings {
	return rig.Settings{IMDS: a.imds, CA: a.cloud.CAPEM(), Routes: routes, User: daemonUID, Authority: authority}
}

// redirect starts a bearerd, has the users' calls led to it until the test ends,
// and guards IMDS.
func (a *azure) redirect(t *testing.T) *rig.Daemon {
	t.Helper()
	return a.redirectTo(t, daemonUID, true)
}

func (a *azure) redirectTo(t *testing.T, user int, guard bool) *rig.Daemon {
	t.Helper()
	s := a.settings()
	s.User, s.Listen, s.More = user, transparentListeners, redirected(guard, t.TempDir()+"/redirect.json")+"limits: {connections_per_caller: "+strconv.Itoa(perCaller)+"}\n"
	d := host.Prepare(t, s)
	d.Start(t)
	rules(t, d, "apply")
	t.Cleanup(func() { rules(t, d, "remove") })
	return d
}

// rules runs bearerd redirect as root.
func rules(t *testing.T, d *rig.Daemon, what string) string {
	t.Helper()
	return onHost(t, host.Bin, "redirect", what, "--config", d.Config)
}

// as runs a program as a user of the app host, who has set nothing.
func as(t *testing.T, d *rig.Daemon, uid int, argv ...string) (string, error) {
	t.Helper()
	env := append(host.BaseEnv()[:1:1], "HOME=/tmp", "LANG=C.UTF-8")
	argv = append(rig.AsUser(uid), argv...)
	text, err := rig.Try(t, env, "/", argv[0], argv[1:]...)
	d.Saw(text)
	return text, err
}

// says wants a program to print what is given, and no more.
func says(t *testing.T, d *rig.Daemon, uid int, want string, argv ...string) {
	t.Helper()
	if text, err := as(t, d, uid, argv...); err != nil || strings.TrimSpace(text) != want {
		t.Errorf("user %d, %q: %v, %.500q; want %q", uid, argv, err, text, want)
	}
}

// status has curl print nothing but what -w says.
func status(format string, args ...string) []string {
	return append([]string{"curl", "-sS", "--max-time", "20", "-o", "/dev/null", "-w", format}, args...)
}

// noLoop fails the test where bearerd was led to itself.
func noLoop(t *testing.T, d *rig.Daemon) {
	t.Helper()
	if strings.Contains(d.Out.String(), "leave bearerd's user out") {
		t.Errorf("bearerd has called itself:\n%s", d.Out)
	}
}

// hostsEntries has names lead to addresses, by the hosts file, until the test
// ends.
func hostsEntries(t *testing.T, lines string) {
	t.Helper()
	write := func(text string) {
		if err := os.WriteFile(inHost("hosts"), []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
	write(localhost + lines)
	t.Cleanup(func() { write(localhost) })
}
