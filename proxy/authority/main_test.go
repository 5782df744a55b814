package authority

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func everything(string) bool { return true }

// open opens an authority of its own for a test and closes it at its end.
func open(tb testing.TB, o Options) *Authority {
	tb.Helper()
	if o.Dir == "" && o.CertFile == "" {
		o.Dir = tb.TempDir()
	}
	if o.Routed == nil {
		o.Routed = everything
	}
	a, err := Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := a.Close(); err != nil {
			tb.Error(err)
		}
	})
	return a
}
