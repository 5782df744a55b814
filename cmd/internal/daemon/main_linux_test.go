package daemon

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if call := os.Getenv(roleVariable); call != "" {
		os.Exit(app(call))
	}
	goleak.VerifyTestMain(m)
}
