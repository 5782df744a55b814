//go:build e2e && linux

package monitoring

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

const (
	vaultHost  = "payroll.vault.azure.net"
	vaultRoute = "\n  - {name: payroll, service: keyvault, hosts: [payroll.vault.azure.net], gateway: vault}\n"
)

// service is a vault that answers as a test wants.
type service struct {
	status atomic.Int64
	delay  atomic.Int64
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case <-time.After(time.Duration(s.delay.Load())):
	case <-r.Context().Done():
	}
	status := int(s.status.Load())
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net"`)
	}
	w.WriteHeader(status)
}

// scene is a bearerd between a vault and IMDS, all of which may fail.
type scene struct {
	t        *testing.T
	p        *prometheus
	d        *rig.Daemon
	imds     *rig.IMDS
	vault    *service
	instance string
}

// play starts a scene's bearerd and has it scraped.
func play(t *testing.T, p *prometheus, imds imdstest.Options, change func(*rig.Settings)) *scene {
	t.Helper()
	s := &scene{t: t, p: p, vault: &service{}, imds: rig.StartIMDS(t, imds)}
	s.vault.status.Store(http.StatusOK)
	settings := rig.Settings{
		IMDS: s.imds, IMDSMore: ", token_wait: 200ms", Routes: vaultRoute,
		Upstream: map[string]string{vaultHost: world.CA.ServeTLS(t, s.vault, vaultHost)},
	}
	if change != nil {
		change(&settings)
	}
	s.d = world.Prepare(t, settings)
	s.d.Start(t)
	s.instance = p.scrape(t, s.d)
	return s
}

// call asks the vault for a secret; the outcome is the test's affair.
func (s *scene) call() {
	resp, err := rig.Direct.Get(s.d.URL + "/vault/secrets/x?api-version=7.4")
	if err == nil {
		resp.Body.Close()
	}
}

func (s *scene) firing(alert string) string {
	return fmt.Sprintf(`ALERTS{alertname=%q, instance=%q, alertstate="firing"}`, alert, s.instance)
}

// fires and clears wait for the alert, and do something meanwhile.
func (s *scene) fires(alert string, do func()) {
	s.t.Helper()
	s.p.until(s.t, s.firing(alert), true, do)
}

func (s *scene) clears(alert string, do func()) {
	s.t.Helper()
	s.p.until(s.t, s.firing(alert), false, do)
}

// edit replaces the configuration file's text, and gives what puts it back.
func (s *scene) edit(change func(text string) string) (back func()) {
	s.t.Helper()
	before, err := os.ReadFile(s.d.Config)
	if err != nil {
		s.t.Fatal(err)
	}
	write(s.t, s.d.Config, change(string(before)))
	return func() { write(s.t, s.d.Config, string(before)) }
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// cases has a fault for each alert. Each sees its alerts fire, and clear once
// the fault is mended as the runbook says.
func cases() map[string]func(t *testing.T, p *prometheus) {
	return map[string]func(*testing.T, *prometheus){
		"BearerdDown":                down,
		"BearerdTokenMissing":        tokenMissing,
		"BearerdTokenExpiring":       tokenExpiring,
		"BearerdRefreshFailing":      refreshFailing,
		"BearerdThrottled":           throttled,
		"BearerdIdentityChanged":     identityChanged,
		"BearerdErrors":              errorsOfTheService,
		"BearerdSlow":                slow,
		"BearerdUpstreamTLS":         upstreamTLS,
		"BearerdAuthorityExpiring":   authorityExpiring,
		"BearerdListenerCertificate": listenerCertificate,
		"BearerdReloadFailed":        reloadFailed,
		"BearerdRedirectMissing":     redirectMissing,
		"BearerdRedirectUnverified":  redirectUnverified,
		"BearerdAuditFailing":        auditFailing,
		"BearerdAuditLost":           auditLost,
	}
}

// Each alert fires when its fault is caused in a running bearerd, and clears
// afterwards.
func TestEachAlertFiresAndClears(t *testing.T) {
	all := cases()
	for _, r := range rules(t) {
		if r.Alert != "" && all[r.Alert] == nil {
			t.Errorf("nobody causes the fault of %s", r.Alert)
		}
	}
	p := startPrometheus(t)
	well := play(t, p, imdstest.Options{}, nil)
	t.Run("alerts", func(t *testing.T) {
		for alert, run := range all {
			t.Run(alert, func(t *testing.T) {
				t.Parallel()
				run(t, p)
			})
		}
	})
	// The neighbours' faults are none of a bearerd that is well.
	fired, err := p.query(fmt.Sprintf(`max_over_time(ALERTS{instance=%q}[1h])`, well.instance))
	if err != nil || len(fired) > 0 {
		t.Errorf("without a fault there were %v (%v)", fired, err)
	}
	p.until(t, fmt.Sprintf(`instance_route:bearerd_requests:rate5m{instance=%q, route="payroll"} > 0`, well.instance), true, well.call)
}

func down(t *testing.T, p *prometheus) {
	s := play(t, p, imdstest.Options{}, nil)
	s.d.Stop()
	s.fires("BearerdDown", nothing)
	s.d.Start(t)
	s.clears("BearerdDown", nothing)
}

func tokenMissing(t *testing.T, p *prometheus) {
	s := play(t, p, imdstest.Options{}, nil)
	s.imds.Script(imdstest.NotAssigned().Always())
	s.fires("BearerdTokenMissing", s.call)
	s.imds.Clear()
	s.clears("BearerdTokenMissing", s.call)
}

// refuse has the vault reject the token that is at hand, so that bearerd asks
// for another.
func (s *scene) refuse() {
	s.vault.status.Store(http.StatusUnauthorized)
	s.call()
	s.vault.status.Store(http.StatusOK)
}

// short is a token's life in the last 5 minutes, in which bearerd tries at short
// intervals.
func short() imdstest.Options { return imdstest.Options{Lifetime: 4 * time.Minute} }

func tokenExpiring(t *testing.T, p *prometheus) {
	s := play(t, p, short(), nil)
	s.call()
	s.imds.Script(imdstest.Unavailable(503).Always())
	s.refuse()
	s.fires("BearerdTokenExpiring", nothing)
	s.imds.Clear()
	s.clears("BearerdTokenExpiring", nothing)
}

func refreshFailing(t *testing.T, p *prometheus) {
	s := play(t, p, short(), nil)
	s.call()
	s.imds.Script(imdstest.HTML().Always())
	s.refuse()
	s.fires("BearerdRefreshFailing", nothing)
	s.imds.Clear()
	s.clears("BearerdRefreshFailing", nothing)
}

func throttled(t *testing.T, p *prometheus) {
	s := play(t, p, imdstest.Options{}, nil)
	s.imds.Script(imdstest.Throttled(imdstest.Seconds(1)).Always())
	s.fires("BearerdThrottled", s.call)
	s.imds.Clear()
	s.clears("BearerdThrottled", s.call)
}

// A policy gives the machine another identity; its token comes with the next
// refresh.
func identityChanged(t *testing.T, p *prometheus) {
	s := play(t, p, imdstest.Options{}, nil)
	s.call()
	s.imds.Assign(false, imdstest.Identity{
		ClientID: "11111111-0000-4000-8000-000000000001", ObjectID: "11111111-0000-4000-8000-000000000002",
		ResourceID: "/subscriptions/11111111-0000-4000-8000-000000000003/resourcegroups/r/providers/Microsoft.ManagedIdentity/userAssignedIdentities/other",
	})
	s.refuse()
	s.fires("BearerdIdentityChanged", nothing)
	s.clears("BearerdIdentityChanged", nothing)
}

func errorsOfTheService(t *testing.T, p *prometheus) {
	s := play(t, p, imdstest.Options{}, nil)
	s.vault.status.Store(http.StatusInternalServerError)
	s.fires("BearerdErrors", s.call)
	s.vault.status.Store(http.StatusOK)
	s.clears("BearerdErrors", s.call)
}

func slow(t *testing.T, p *prometheus) {
	s := play(t, p, imdstest.Options{}, nil)
	s.vault.delay.Store(int64(5500 * time.Millisecond))
	var calls sync.WaitGroup
	s.fires("BearerdSlow", func() { calls.Go(s.call) })
	s.vault.delay.Store(0)
	calls.Wait()
	s.clears("BearerdSlow", s.call)
}

// connect_to leads to a server that is not the vault.
func upstreamTLS(t *testing.T, p *prometheus) {
	right := ""
	wrong := world.CA.ServeTLS(t, http.NotFoundHandler(), "other.vault.azure.net")
	s := play(t, p, imdstest.Options{}, func(o *rig.Settings) {
		right, o.Upstream[vaultHost] = o.Upstream[vaultHost], wrong
	})
	s.fires("BearerdUpstreamTLS", s.call)
	s.edit(func(text string) string { return strings.Replace(text, wrong, right, 1) })
	s.d.Stop()
	s.d.Start(t)
	s.clears("BearerdUpstreamTLS", s.call)
}

func reloadFailed(t *testing.T, p *prometheus) {
	s := play(t, p, imdstest.Options{}, nil)
	back := s.edit(func(text string) string { return text + "rotues: []\n" })
	reload := func() {
		resp, err := rig.Direct.Post(s.d.Admin+"/-/reload", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	reload()
	s.fires("BearerdReloadFailed", nothing)
	back()
	reload()
	s.clears("BearerdReloadFailed", nothing)
}

// redirected is a bearerd that is to have the kernel's rules, which the tests
// apply in a network of their own.
func redirected(t *testing.T, p *prometheus) (s *scene, report string, command func(args ...string)) {
	report = t.TempDir() + "/report.json"
	s = play(t, p, imdstest.Options{}, func(o *rig.Settings) {
		o.More = "redirect: {guard_imds: true, daemon_user: 64001, report_file: " + report + "}\n"
	})
	return s, report, func(what ...string) {
		script := `ip link set lo up`
		for _, w := range what {
			script += ` && "$0" redirect ` + w + ` --config "$1"`
		}
		rig.Run(t, world.BaseEnv(), "", "unshare", "--net", "sh", "-c", script, world.Bin, s.d.Config)
	}
}

func redirectMissing(t *testing.T, p *prometheus) {
	s, _, bearerd := redirected(t, p)
	s.fires("BearerdRedirectMissing", nothing) // nobody has applied them
	bearerd("apply")
	s.clears("BearerdRedirectMissing", nothing)
	// What takes them away is seen by the next look.
	_, _ = rig.Try(t, world.BaseEnv(), "", "unshare", "--net", world.Bin, "redirect", "verify", "--config", s.d.Config)
	s.fires("BearerdRedirectMissing", nothing)
	bearerd("apply", "verify")
	s.clears("BearerdRedirectMissing", nothing)
}

func redirectUnverified(t *testing.T, p *prometheus) {
	s, report, bearerd := redirected(t, p)
	bearerd("apply")
	// The last look was 20 minutes ago.
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	old := fmt.Sprintf(`"checked":%q`, time.Now().Add(-20*time.Minute).Format(time.RFC3339))
	aged := regexp.MustCompile(`"checked":"[^"]*"`).ReplaceAllString(string(text), old)
	if aged == string(text) {
		t.Fatalf("the report does not tell when: %s", text)
	}
	write(t, report, aged)
	s.fires("BearerdRedirectUnverified", nothing)
	bearerd("apply", "verify")
	s.clears("BearerdRedirectUnverified", nothing)
}

func listenerCertificate(t *testing.T, p *prometheus) {
	dir, address := t.TempDir(), rig.FreeAddress(t)
	cert, key := dir+"/cert.pem", dir+"/key.pem"
	issue := func() {
		chain, private := issued(t, 24*time.Hour)
		write(t, key, private)
		write(t, cert, chain)
	}
	issue()
	s := play(t, p, imdstest.Options{}, func(o *rig.Settings) {
		o.Listen = fmt.Sprintf("  - {address: %q, tls: {cert_file: %s, key_file: %s}}\n", address, cert, key)
	})
	write(t, cert, "-----BEGIN CERTIFICATE-----\n") // a copy that was cut off
	s.fires("BearerdListenerCertificate", nothing)
	issue()
	s.clears("BearerdListenerCertificate", nothing)
}

func authorityExpiring(t *testing.T, p *prometheus) {
	dir := t.TempDir()
	cert, key := dir+"/issuing.pem", dir+"/issuing.key"
	issue := func(life time.Duration) {
		chain, private := issued(t, life)
		write(t, key, private)
		write(t, cert, chain)
	}
	issue(10 * 24 * time.Hour)
	s := play(t, p, imdstest.Options{}, func(o *rig.Settings) {
		o.More = fmt.Sprintf("authority: {cert_file: %s, key_file: %s}\n", cert, key)
	})
	s.fires("BearerdAuthorityExpiring", nothing)
	issue(365 * 24 * time.Hour)
	s.d.Stop()
	s.d.Start(t)
	s.clears("BearerdAuthorityExpiring", nothing)
}

// fullDisk has bearerd write its audit stream to a disk that is full, and gives
// what frees it.
func fullDisk(t *testing.T, p *prometheus) (s *scene, free func()) {
	dir := t.TempDir()
	rig.Run(t, world.BaseEnv(), "", "mount", "-t", "tmpfs", "-o", "size=32m", "bearerd-audit", dir)
	t.Cleanup(func() { rig.Run(t, world.BaseEnv(), "", "umount", "--lazy", dir) })
	filler := dir + "/filler"
	// A disk that has no room left fails the write that fills it.
	if err := os.WriteFile(filler, make([]byte, 33<<20), 0o600); err == nil {
		t.Fatal("33 MiB fit on a disk of 32")
	}
	s = play(t, p, imdstest.Options{}, func(o *rig.Settings) { o.More = "audit: {to: " + dir + "/audit.log}\n" })
	return s, func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
}

func auditFailing(t *testing.T, p *prometheus) {
	s, free := fullDisk(t, p)
	s.fires("BearerdAuditFailing", s.call)
	free()
	s.clears("BearerdAuditFailing", s.call)
}

// So many calls that their records do not all find a place in memory.
func auditLost(t *testing.T, p *prometheus) {
	s, free := fullDisk(t, p)
	calls := func() {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 250 {
					s.call()
				}
			})
		}
		all.Wait()
	}
	s.fires("BearerdAuditLost", calls)
	free()
	s.clears("BearerdAuditLost", nothing)
}

// Prometheus' own tools take the rules and their tests, and the example.
func TestPromtool(t *testing.T) {
	dir := deployed + "prometheus"
	for _, args := range [][]string{
		{"check", "config", "--lint-fatal", "prometheus.yml"},
		{"check", "rules", "--lint-fatal", "bearerd.rules.yml"},
		{"test", "rules", "bearerd.rules.test.yml"},
	} {
		rig.Run(t, world.BaseEnv(), dir, "promtool", args...)
	}
	tested, err := os.ReadFile(dir + "/bearerd.rules.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules(t) {
		if want := fmt.Sprintf(`exp_samples: [{labels: '{alertname="%s"}', value: 1}]`, r.Alert); r.Alert != "" && !strings.Contains(string(tested), want) {
			t.Errorf("promtool does not see %s fire", r.Alert)
		}
	}
}
