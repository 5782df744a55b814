package redirect

import (
	"os"
	"path/filepath"
	"testing"
)

func TestProxyAgentIsKnownByItsName(t *testing.T) {
	proc := t.TempDir()
	process := func(id, name string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(proc, id), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, id, "comm"), []byte(name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	process("1", "systemd")
	process("self", "azure-proxy-age")
	if ProxyAgentRuns(proc) {
		t.Error("it is not there")
	}
	process("812", "azure-proxy-age")
	if !ProxyAgentRuns(proc) {
		t.Error("it runs")
	}
}
