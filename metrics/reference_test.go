package metrics

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"testing"
)

const referencePath = "../docs/metrics.md"

var update = flag.Bool("update", false, "write "+referencePath)

// TestReference keeps the page that users read equal to the code.
func TestReference(t *testing.T) {
	var want bytes.Buffer
	if err := Reference(&want); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(referencePath, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s differs from the code; run: go test ./metrics -run TestReference -update", referencePath)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestReferenceReportsAFailedWrite(t *testing.T) {
	if err := Reference(brokenWriter{}); err == nil || err.Error() != "disk full" {
		t.Errorf("got %v", err)
	}
}
