//go:build e2e && linux

package systemd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

const deploy = "../../../deploy/systemd"

// units gives the names of the units that are delivered.
func units(t *testing.T) (names []string) {
	t.Helper()
	for _, pattern := range []string{"*.service", "*.socket", "*.timer"} {
		found, err := filepath.Glob(filepath.Join(deploy, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			names = append(names, filepath.Base(path))
		}
	}
	if len(names) != 5 {
		t.Fatalf("the units are %q", names)
	}
	return names
}

func TestExposureOfTheServicesIsSmall(t *testing.T) {
	for _, name := range units(t) {
		if !strings.HasSuffix(name, ".service") {
			continue
		}
		path, err := filepath.Abs(filepath.Join(deploy, name))
		if err != nil {
			t.Fatal(err)
		}
		text := rig.Run(t, os.Environ(), "", "systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", path)
		lines := strings.Split(strings.TrimSpace(text), "\n")
		t.Log(lines[len(lines)-1])
	}
}

// The drop-in for old versions of systemd fits the unit: a newer one, which knows
// all of it, takes both together without a word.
func TestDropInForOldSystemdFitsTheUnit(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "bearerd.service.d")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	copyUnit := func(name, to string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(deploy, name))
		if err != nil {
			t.Fatal(err)
		}
		// What a unit starts has to be there: the program is not installed here.
		text = bytes.ReplaceAll(text, []byte("/usr/bin/bearerd "), []byte("/bin/true "))
		if err := os.WriteFile(to, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	copyUnit("bearerd.service", filepath.Join(dir, "bearerd.service"))
	copyUnit("bearerd.socket", filepath.Join(dir, "bearerd.socket"))
	copyUnit("bearerd-old.conf", filepath.Join(folder, "old.conf"))
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", filepath.Join(dir, "bearerd.service")).CombinedOutput()
	// Other units of the machine have troubles of their own.
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, dir) || strings.HasPrefix(line, "bearerd") {
			t.Error(strings.TrimSpace(line))
		}
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
