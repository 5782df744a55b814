package authority

import (
	"fmt"
	"testing"
)

func BenchmarkLeafWarmWildcard(b *testing.B) {
	a := open(b, Options{Wildcards: []string{"vault.azure.net"}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Leaf(b.Context(), "payroll.vault.azure.net"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLeafWarmHost(b *testing.B) {
	a := open(b, Options{Permit: []string{"storage.azure.net"}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Leaf(b.Context(), "reports.z01.blob.storage.azure.net"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLeafMint(b *testing.B) {
	a := open(b, Options{Permit: []string{"storage.azure.net"}})
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		if _, err := a.Leaf(b.Context(), fmt.Sprintf("account%d.z01.blob.storage.azure.net", n)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenExisting(b *testing.B) {
	dir := stateDir(b)
	open(b, Options{Dir: dir, Wildcards: clouds()})
	b.ReportAllocs()
	for b.Loop() {
		a, err := Open(b.Context(), Options{Dir: dir, Wildcards: clouds(), Routed: everything})
		if err != nil {
			b.Fatal(err)
		}
		if err := a.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// clouds has as many suffixes as the public cloud's services.
func clouds() []string {
	return []string{
		"vault.azure.net", "managedhsm.azure.net", "blob.core.windows.net", "queue.core.windows.net",
		"table.core.windows.net", "file.core.windows.net", "dfs.core.windows.net", "management.azure.com",
		"azconfig.io", "search.windows.net", "servicebus.windows.net", "openai.azure.com",
	}
}
