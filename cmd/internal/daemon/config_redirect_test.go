package daemon

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/proxy/redirect"
)

// The daemon may not look at the kernel's rules, and tells what was last found.
func TestRulesInPlaceAreTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "redirect.json")
	r := launch(t, imdstest.Options{}, publicCloud+anyPort+vaultRoute+"redirect: {guard_imds: true, report_file: '"+file+"'}\n")
	wants := func(inPlace, checked string) {
		t.Helper()
		_, page := r.get("http://" + r.AdminAddress() + "/metrics")
		for _, line := range []string{"\nbearerd_redirect_rules_in_place " + inPlace + "\n", "\nbearerd_redirect_verified_timestamp_seconds " + checked + "\n"} {
			if !strings.Contains(page, line) {
				t.Errorf("/metrics lacks %q", line)
			}
		}
	}
	wants("0", "0")
	for inPlace, want := range map[bool]string{true: "1", false: "0"} {
		if err := (redirect.Report{Checked: time.Unix(1_800_000_000, 0), InPlace: inPlace}).Write(file); err != nil {
			t.Fatal(err)
		}
		wants(want, "1.8e+09")
	}
}
