//go:build e2e && linux

package redirect

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The command as an administrator uses it, with its outcome in the report.
func TestCommand(t *testing.T) {
	dir := t.TempDir()
	bearerd := filepath.Join(dir, "bearerd")
	if out, err := exec.Command("go", "build", "-o", bearerd, "github.com/bearerd/bearerd/cmd/bearerd").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	config, report := filepath.Join(dir, "bearerd.yaml"), filepath.Join(dir, "redirect.json")
	text := `
imds: {endpoint: "http://127.0.0.1:9"}
listen: [{address: 127.0.0.1:8443, mode: transparent}, {address: "[::1]:8443", mode: transparent}]
redirect: {daemon_user: 64001, users: [64002], to: 127.0.0.1:8443, to6: "[::1]:8443", guard_imds: true, report_file: ` + report + `}
`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	run := func(fails bool, what, wants, reports string) {
		t.Helper()
		start := time.Now()
		out, err := w.host.Command(nil, bearerd, "redirect", what, "--config", config)
		took := time.Since(start)
		if (err != nil) != fails || !strings.Contains(out, wants) {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
		written, _ := os.ReadFile(report)
		if (len(written) > 0) != (reports != "") || !strings.Contains(string(written), reports) {
			t.Errorf("%s reported %s", what, written)
		}
		t.Logf("%s took %s", what, took)
		if took > 200*time.Millisecond {
			t.Errorf("%s took %s, the start of the process included; the bound is 200 ms", what, took)
		}
	}
	run(true, "verify", "no rule is in place", `"in_place":false`)
	run(false, "apply", "the rules are in place\n", `"in_place":true`)
	run(false, "apply", "the rules were in place already\n", `"in_place":true`)
	run(false, "verify", "ok: the rules are in place", `"in_place":true`)
	w.host.reaches(appUID, 0, service4, "proxy")
	w.host.refused(appUID, 0, imds)
	w.host.Must("nft", "flush", "ruleset")
	run(true, "verify", "flushed the kernel's rules (nft flush ruleset)\nbearerd: 1 differences from the configuration; run `bearerd redirect apply`", `"in_place":false`)
	w.host.reaches(appUID, 0, imds, "imds")
	run(false, "apply", "the rules are in place\n", `"in_place":true`)
	run(false, "remove", "the rules are removed\n", "")
	run(false, "remove", "there were no rules\n", "")
	w.host.reaches(appUID, 0, service4, "azure")
}
