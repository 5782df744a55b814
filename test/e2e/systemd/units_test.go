//go:build e2e && linux

package systemd

import (
	"os"
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
