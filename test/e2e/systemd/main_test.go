//go:build e2e && linux

package systemd

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

var bearerd string // the program under test

// The machine runs this program too, as what its name says.
func TestMain(m *testing.M) {
	for name, role := range map[string]func() error{"azure": azure, "load": load, "call": call} {
		if os.Args[0] != "/opt/"+name {
			continue
		}
		if err := role(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bearerd-e2e-")
	if err == nil {
		defer os.RemoveAll(dir)
		bearerd = filepath.Join(dir, "bearerd")
		err = rig.Build("..", bearerd)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return m.Run()
}
