package rig

import (
	"slices"
	"testing"
)

// The search itself finds what it looks for.
func TestSearchForSecretsFinds(t *testing.T) {
	got := leaks(map[string]string{"the key": "s3cret"}, map[string]string{"the log": "a s3cret line", "the page": "nothing"})
	if !slices.Equal(got, []string{"the key is in the log"}) {
		t.Errorf("got %q", got)
	}
}
