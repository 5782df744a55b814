package azure

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

// requestsForSpeed are the usual ones, and the ones with the longest search.
func requestsForSpeed() []string {
	return []string{
		"GET https://payroll.vault.azure.net/secrets/db/0123456789abcdef?api-version=7.4",
		"POST https://payroll.vault.azure.net/keys/k/1/release?api-version=7.4",
		"PUT https://acct.blob.core.windows.net/c/dir/b?comp=seal&timeout=30&api-version=2021-08-06\nx-ms-version: 2021-08-06",
		"PUT https://acct.blob.core.windows.net/c/dir/b?comp=nothing&a=1&b=2&c=3&d=4&e=5",
		"PUT https://acct.dfs.core.windows.net/fs/p?action=flush&position=10\nX-HTTP-Method-Override: PATCH\nConnection: keep-alive",
		"POST https://management.azure.com/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/w/purge?api-version=2021-01-01",
		"GET https://management.azure.com/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.Example/things/t?api-version=2021-01-01",
		"GET https://graph.microsoft.com/v1.0/me",
	}
}

func TestOperationOfDoesNotAllocate(t *testing.T) {
	for _, request := range requestsForSpeed() {
		s, c := asks(t, request)
		if n := testing.AllocsPerRun(100, func() { s.OperationOf(c) }); n != 0 {
			t.Errorf("%s: %v allocations", request, n)
		}
	}
}

func BenchmarkOperationOf(b *testing.B) {
	for _, request := range requestsForSpeed() {
		s, c := asks(b, request)
		name, _, _ := strings.Cut(request, "?")
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.OperationOf(c)
			}
		})
	}
}

// FuzzOperationOf holds: every operation is of the list; neither the order of
// the parameters nor the case of their names and values, nor superfluous
// escaping of them, changes it; and what is said twice is not understood.
func FuzzOperationOf(f *testing.F) {
	for i, seed := range []string{"/c/b?comp=block&blockid=x", "/c?restype=container&comp=list", "/fs/p?action=append&resource=file", "/q/messages?peekonly=true", "/t(PartitionKey='a',RowKey='b')", "/secrets/a/backup", "/keys/a/1/sign?_method=GET", "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a/listKeys", "/%2e./a%2Fb?=&&%", "//?%63omp"} {
		f.Add(i, "POST", seed, "X-Http-Method-Override", "PATCH")
	}
	hosts := []string{"v.vault.azure.net", "h.managedhsm.azure.net", "a.blob.core.windows.net", "a.dfs.core.windows.net", "a.file.core.windows.net", "a.queue.core.windows.net", "a.table.core.windows.net", "management.azure.com", "graph.microsoft.com"}
	known := make(map[string]bool)
	for _, info := range Operations() {
		known[info.Name] = true
	}
	cloud := mustCloud(f, "public")
	f.Fuzz(func(t *testing.T, which int, method, target, field, value string) {
		host := hosts[uint(which)%uint(len(hosts))]
		s, _ := cloud.ServiceOf(host)
		c := callTo(method, host, target)
		c.Header = Header{http.CanonicalHeaderKey(field): {value}}
		op := s.OperationOf(c)
		if !known[op.Name] || op.Understood() == strings.HasSuffix(op.Name, ".unknown") {
			t.Fatalf("%s %s is %+v", method, target, op)
		}
		var all []string
		for param := range strings.SplitSeq(c.Query, "&") {
			all = append(all, param)
		}
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, query := range []string{strings.Join(all, "&"), asciiUpper(c.Query), escapeOne(c.Query)} {
			other := *c
			other.Query = query
			if got := s.OperationOf(&other); got.Name != op.Name {
				t.Fatalf("%s %s is %s, and with the query %q %s", method, target, op.Name, query, got.Name)
			}
		}
		if s.Name == "storage" && op.Understood() && op.Name != "storage.preflight" {
			for name := range params(c.Query) {
				for _, selector := range selectorNames() {
					if readsAs(name, selector) {
						other := *c
						other.Query += "&" + selector + "=x"
						if got := s.OperationOf(&other); got.Understood() {
							t.Fatalf("%s %s says %s twice and is %s", method, target, selector, got.Name)
						}
					}
				}
			}
		}
	})
}

// asciiUpper leaves escapes as they are.
func asciiUpper(text string) string {
	b := []byte(text)
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// escapeOne escapes the first letter.
func escapeOne(text string) string {
	for i := range len(text) {
		if i >= 2 && (text[i-1] == '%' || text[i-2] == '%') || i == 1 && text[0] == '%' {
			continue
		}
		if c := lower(text[i]); c >= 'a' && c <= 'z' {
			const digits = "0123456789abcdef"
			return text[:i] + "%" + string(digits[text[i]>>4]) + string(digits[text[i]&15]) + text[i+1:]
		}
	}
	return text
}
