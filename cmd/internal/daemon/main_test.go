package daemon

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// update writes the files that tests compare with, in place of comparing.
var update = flag.Bool("update", false, "write testdata/*.err and the reference in docs/configuration.md anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
