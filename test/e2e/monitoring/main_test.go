//go:build e2e && linux

package monitoring

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

var world *rig.Rig // TestMain makes it

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "monitoring:", err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	if world, err = rig.New(".."); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	return m.Run(), nil
}
