//go:build unix

package authority

import (
	"os"
	"strings"
	"testing"
)

func TestProvidedKeyOpenToStrangersIsRefused(t *testing.T) {
	keys := forge(t, nothing)
	for mode, taken := range map[os.FileMode]bool{
		0o600: true, 0o400: true, 0o440: true, 0o640: true,
		0o644: false, 0o604: false, 0o660: false, 0o602: false,
	} {
		o := provide(t, keys)
		if err := os.Chmod(o.KeyFile, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Load(o)
		if taken && err != nil {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if !taken && (err == nil || !strings.Contains(err.Error(), "chmod 600 "+o.KeyFile)) {
			t.Errorf("mode %04o: the error is %v; want what to do", mode, err)
		}
	}
}
