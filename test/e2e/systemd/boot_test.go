//go:build e2e && linux

package systemd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

// host is a machine with bearerd's files on it.
type host struct{ *rig.Machine }

// overrides are what `systemctl edit` would write.
const overrides = "/etc/systemd/system/bearerd.service.d"

// installed are the files that an installation by hand copies.
func installed(t *testing.T) map[string]string {
	files := map[string]string{bearerd: "/usr/bin/bearerd", filepath.Join(deploy, "bearerd.sysusers.conf"): "/usr/lib/sysusers.d/bearerd.conf"}
	for _, name := range units(t) {
		files[filepath.Join(deploy, name)] = "/usr/lib/systemd/system/" + name
	}
	return files
}

func (h *host) install() {
	h.T.Helper()
	for from, to := range installed(h.T) {
		mode := os.FileMode(0o644)
		if to == "/usr/bin/bearerd" {
			mode = 0o755
		}
		h.Copy(from, to, mode)
	}
	h.Run("systemd-sysusers")
	h.Run("systemctl", "daemon-reload")
}

func (h *host) uninstall() {
	h.T.Helper()
	h.Run("systemctl", "disable", "--now", "bearerd.socket", "bearerd.service", "bearerd-redirect.service")
	h.Run("systemctl", "clean", "--what=state", "--what=runtime", "bearerd.service")
	for _, path := range installed(h.T) {
		h.Run("rm", path)
	}
	h.Run("rm", "-r", "/etc/bearerd")
	h.Run("rm", "-r", overrides)
	h.Run("systemctl", "daemon-reload")
	h.Run("systemctl", "reset-failed")
}

// files are those that do not come and go by themselves.
func (h *host) files() []string {
	h.T.Helper()
	return strings.Fields(h.Run("find", "/", "-xdev", "(", "-path", "/var/log/journal", "-o", "-path", "/tmp", "-o", "-path", "/var/tmp", "-o", "-path", "/var/lib/systemd", ")", "-prune", "-o", "-print"))
}

// property gives one of a unit's properties.
func (h *host) property(unit, name string) string {
	h.T.Helper()
	return strings.TrimSpace(h.Run("systemctl", "show", "--value", "--property", name, unit))
}

// status waits until what bearerd tells of itself has a part.
func (h *host) status(part string) {
	h.T.Helper()
	rig.Eventually(h.T, "the status has "+part, func() error {
		if text := h.property("bearerd.service", "StatusText"); !strings.Contains(text, part) {
			return fmt.Errorf("it is %q", text)
		}
		return nil
	})
}

func (h *host) call() {
	h.T.Helper()
	h.Run("/opt/call")
}

// underLoad does something while callers call, and gives what became of them.
func (h *host) underLoad(do func()) (all result) {
	h.T.Helper()
	c := h.Command("/opt/load")
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	stdin, err := c.StdinPipe()
	if err != nil {
		h.T.Fatal(err)
	}
	if err := c.Start(); err != nil {
		h.T.Fatal(err)
	}
	do()
	stdin.Close()
	if err := c.Wait(); err != nil {
		h.T.Fatalf("%v\n%s", err, &errs)
	}
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		h.T.Fatal(err)
	}
	return all
}

// replaced waits until bearerd is another process than before, and serves.
func (h *host) replaced(before string) {
	h.T.Helper()
	rig.Eventually(h.T, "bearerd is there again", func() error {
		pid, state := h.property("bearerd.service", "MainPID"), h.property("bearerd.service", "ActiveState")
		if pid == before || pid == "0" || state != "active" {
			return fmt.Errorf("process %s, %s", pid, state)
		}
		return nil
	})
	h.call()
}

func TestBearerdUnderSystemd(t *testing.T) {
	h := &host{rig.NewMachine(t)}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"azure", "load", "call"} {
		h.Copy(program, "/opt/"+name, 0o755)
	}
	h.Write("/etc/systemd/system/azure.service", "[Service]\nType=notify\nExecStartPre=/bin/mkdir -p /etc/bearerd\nExecStart=/opt/azure\n", 0o644)
	began := time.Now()
	h.Boot()
	t.Logf("booted in %v", time.Since(began).Round(time.Millisecond))
	before := h.files()

	h.Run("systemctl", "start", "azure.service")
	step := func(name string, do func(*testing.T)) {
		h.T = t
		if !t.Run(name, func(t *testing.T) {
			h.T = t
			began := time.Now()
			do(t)
			t.Logf("took %v", time.Since(began).Round(time.Millisecond))
		}) {
			t.Fatalf("bearerd said:\n%s", h.Run("journalctl", "--no-pager", "-n", "60", "-u", "bearerd.service", "-u", "bearerd.socket", "-u", "bearerd-redirect.service"))
		}
		h.T = t
	}
	step("install", h.installs)
	step("reload", h.reloads)
	step("restart under load", h.restarts)
	step("watchdog", h.hangs)
	step("kill", h.dies)
	step("drop-in of old systemd", h.runsWithOldWords)
	step("redirect", h.redirects)
	step("uninstall", func(t *testing.T) {
		h.uninstall()
		after := h.files()
		for _, file := range after {
			if !slices.Contains(before, file) && !strings.HasPrefix(file, "/etc/.pwd.lock") {
				t.Errorf("%s is left", file)
			}
		}
	})
}

// The order of starts does not matter: the first call finds the socket, and
// waits for a bearerd that it starts.
func (h *host) installs(t *testing.T) {
	h.install()
	h.Run("systemd-analyze", "verify", "/usr/lib/systemd/system/bearerd.service", "/usr/lib/systemd/system/bearerd.socket",
		"/usr/lib/systemd/system/bearerd-redirect.service", "/usr/lib/systemd/system/bearerd-redirect-verify.service", "/usr/lib/systemd/system/bearerd-redirect-verify.timer")
	h.Run("systemctl", "enable", "bearerd.service")
	h.Run("systemctl", "start", "bearerd.socket")
	if state := h.property("bearerd.service", "ActiveState"); state != "inactive" {
		t.Errorf("before the first call bearerd is %s", state)
	}
	h.call()
	h.status("serving 1 route; token for https://vault.azure.net expires in 23 h")
	pid := h.property("bearerd.service", "MainPID")
	status := h.Run("cat", "/proc/"+pid+"/status")
	for _, want := range []string{"CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(status, want) {
			t.Errorf("the process has not %q:\n%s", want, status)
		}
	}
	var line struct {
		Priority string `json:"PRIORITY"`
		Name     string `json:"SYSLOG_IDENTIFIER"`
		Unit     string `json:"_SYSTEMD_UNIT"`
		Message  string `json:"MESSAGE"`
	}
	entry := h.Run("journalctl", "--output=json", "BEARERD_MSG=token obtained", "BEARERD_AUDIENCE=https://vault.azure.net")
	if err := json.Unmarshal([]byte(entry), &line); err != nil || line.Priority != "6" || line.Name != "bearerd" || line.Unit != "bearerd.service" || !strings.Contains(line.Message, `"msg":"token obtained"`) {
		t.Errorf("the journal has %s (%v)", entry, err)
	}
	if user := strings.TrimSpace(h.Run("stat", "--format=%U", "/proc/"+pid)); user != "bearerd" {
		t.Errorf("it runs as %s", user)
	}
}

// What a systemd before 235 would not know is taken out of the unit: the drop-in
// alone then makes the state's folder.
func (h *host) runsWithOldWords(t *testing.T) {
	const folder = "/etc/systemd/system/bearerd.service.d"
	text, err := os.ReadFile(filepath.Join(deploy, "bearerd-old.conf"))
	if err != nil {
		t.Fatal(err)
	}
	h.Run("systemctl", "stop", "bearerd.service")
	h.Run("rm", "-r", "/var/lib/bearerd")
	h.Run("mkdir", "-p", folder)
	h.Write(folder+"/old.conf", string(text), 0o644)
	h.Write(folder+"/without.conf", "[Service]\nStateDirectory=\nProtectClock=no\nProtectHostname=no\nProtectKernelLogs=no\n", 0o644)
	h.Run("systemctl", "daemon-reload")
	h.Run("systemctl", "restart", "bearerd.service")
	h.call()
	if owner := strings.TrimSpace(h.Run("stat", "--format=%U %a", "/var/lib/bearerd")); owner != "bearerd 700" {
		t.Errorf("the state's folder is %s", owner)
	}
	h.Run("rm", folder+"/old.conf", folder+"/without.conf")
	h.Run("systemctl", "daemon-reload")
	h.Run("systemctl", "restart", "bearerd.service")
	h.call()
}

func (h *host) reloads(t *testing.T) {
	pid := h.property("bearerd.service", "MainPID")
	text, err := os.ReadFile(filepath.Join(h.Root, configFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ more, says string }{
		{"  - {service: storage}\n", "serving 2 routes"},
		{"  - {service: nosuch}\n", "the configuration on disk was not taken over"},
		{"", "serving 1 route"},
	} {
		h.Write(configFile, strings.Replace(string(text), "log:", tt.more+"log:", 1), 0o644)
		h.Run("systemctl", "reload", "bearerd.service")
		h.status(tt.says)
		h.call()
	}
	if now := h.property("bearerd.service", "MainPID"); now != pid {
		t.Errorf("the process was %s and is %s", pid, now)
	}
}

func (h *host) restarts(t *testing.T) {
	const restarts = 5
	all := h.underLoad(func() {
		for range restarts {
			h.Run("systemctl", "restart", "bearerd.service")
		}
	})
	t.Logf("%d calls, the slowest %v, during %d restarts", all.Calls, all.Slowest.Round(time.Millisecond), restarts)
	if len(all.Failures) > 0 || all.Calls < 100 {
		t.Errorf("%d of %d calls failed: %q", len(all.Failures), all.Calls, all.Failures[:min(len(all.Failures), 5)])
	}
}

// A daemon that is stopped answers nobody; the watchdog has it replaced.
func (h *host) hangs(t *testing.T) {
	h.Write(overrides+"/watchdog.conf", "[Service]\nWatchdogSec=2s\nTimeoutAbortSec=2s\nRestartSec=100ms\n", 0o644)
	h.Run("systemctl", "daemon-reload")
	h.Run("systemctl", "restart", "bearerd.service")
	pid := h.property("bearerd.service", "MainPID")
	time.Sleep(3 * time.Second) // longer than the watchdog waits, so that it must have been fed
	if now := h.property("bearerd.service", "MainPID"); now != pid {
		t.Fatalf("a sound bearerd was replaced, process %s by %s", pid, now)
	}
	h.Run("systemctl", "kill", "--signal=SIGSTOP", "bearerd.service")
	h.replaced(pid)
	if text := h.Run("journalctl", "--no-pager", "-n", "60", "-u", "bearerd.service", "_PID=1"); !strings.Contains(text, "Watchdog timeout") {
		t.Errorf("the journal does not tell of the watchdog:\n%s", text)
	}
}

func (h *host) dies(t *testing.T) {
	pid := h.property("bearerd.service", "MainPID")
	h.Run("systemctl", "kill", "--signal=SIGKILL", "bearerd.service")
	h.call() // waits at the socket
	h.replaced(pid)
}

// The kernel's rules come and go with their unit.
func (h *host) redirects(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(h.Root, configFile))
	if err != nil {
		t.Fatal(err)
	}
	h.Write(configFile, string(text)+"redirect: {guard_imds: true}\n", 0o644)
	h.Run("systemctl", "start", "bearerd-redirect.service")
	if rules := h.Run("nft", "list", "ruleset"); !strings.Contains(rules, "table inet bearerd") || !strings.Contains(rules, "169.254.169.254") {
		t.Errorf("the rules are:\n%s", rules)
	}
	if state := h.property("bearerd-redirect-verify.timer", "ActiveState"); state != "active" {
		t.Errorf("the timer is %s", state)
	}
	h.Run("systemctl", "start", "bearerd-redirect-verify.service")
	h.Run("nft", "flush", "ruleset")
	if text, err := h.Try("systemctl", "start", "bearerd-redirect-verify.service"); err == nil {
		t.Errorf("rules that are gone go unnoticed: %s", text)
	}
	h.Run("systemctl", "reload", "bearerd-redirect.service")
	h.Run("systemctl", "start", "bearerd-redirect-verify.service")
	h.Run("systemctl", "stop", "bearerd-redirect.service")
	if rules := h.Run("nft", "list", "ruleset"); strings.Contains(rules, "bearerd") {
		t.Errorf("the rules are left:\n%s", rules)
	}
	if state := h.property("bearerd-redirect-verify.timer", "ActiveState"); state != "inactive" {
		t.Errorf("without rules the timer is %s", state)
	}
}
