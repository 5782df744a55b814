package route

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/caller"
)

// call makes one of "PUT https://host/path?query", with the fields that follow
// in lines of their own.
func call(text string) *azure.Call {
	line, fields, _ := strings.Cut(text, "\n")
	method, rest, _ := strings.Cut(line, " ")
	host, target, _ := strings.Cut(strings.TrimPrefix(rest, "https://"), "/")
	path, query, _ := strings.Cut("/"+target, "?")
	header := http.Header{}
	for field := range strings.Lines(fields) {
		name, value, _ := strings.Cut(strings.TrimSpace(field), ": ")
		header.Add(name, value)
	}
	return &azure.Call{Method: method, Scheme: "https", Host: host, Port: 443, Path: path, Query: query, Header: azure.Header(header)}
}

const (
	vaultURL = "https://payroll.vault.azure.net"
	blobURL  = "https://acct.blob.core.windows.net"
	dfsURL   = "https://acct.dfs.core.windows.net"
	vmURL    = "https://management.azure.com/subscriptions/0/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm"
)

// Which calls a route takes, by what they do. What is refused tells why.
func TestOperationsDecide(t *testing.T) {
	secrets := Rule{Service: "keyvault", Operations: []string{"keyvault.secret.get", "keyvault.secret.backup"}}
	blobs := Rule{Service: "storage", Operations: []string{"storage.blob.*", "storage.queue.message.put"}}
	paths := Rule{Service: "storage", Operations: []string{"storage.dfs.path.*"}, Paths: []string{"/fs/in/**"}}
	files := Rule{Service: "storage", Operations: []string{"storage.dfs.*"}}
	reading := Rule{Service: "storage", Methods: []string{"GET", "PUT"}}
	keys := Rule{Service: "storage", Operations: []string{"storage.*", "storage.account.userdelegationkey"}}
	machines := Rule{Service: "arm", Operations: []string{"arm.vm.read", "arm.vm.restart", "arm.deployment.write"}}
	posts := Rule{Service: "arm", Methods: []string{"POST"}}
	for _, test := range []struct {
		rule    Rule
		request string
		want    string // part of the reason; empty: the call gets a token
	}{
		{secrets, "GET " + vaultURL + "/secrets/db", ""},
		{secrets, "POST " + vaultURL + "/secrets/db/backup", ""},
		{secrets, "PUT " + vaultURL + "/secrets/db", "it takes the operations keyvault.secret.get, keyvault.secret.backup only, and the call is keyvault.secret.set; change the call, or the route's operations"},
		{secrets, "GET " + vaultURL + "/secrets", "the call is keyvault.secret.list;"},
		{secrets, "GET " + vaultURL + "/secrets/db/1/2", "not understood: it is none of the service's documented requests;"},
		{secrets, "GET " + vaultURL + "/secrets/db\nX-Http-Method-Override: DELETE", "not understood: a header field overrides its method;"},
		{secrets, "GET " + vaultURL + "/secrets/db\nX-Original-Url: /keys/k", "not understood: a header field overrides its path;"},

		{blobs, "PUT " + blobURL + "/c/b?comp=lease", ""},
		{blobs, "PUT " + blobURL + "/c/b\nx-ms-copy-source: https://other.blob.core.windows.net/c/a?snapshot=1", ""},
		{blobs, "PUT " + blobURL + "/c/b\nx-ms-copy-source: https://x/a", "judged as a call of its own: no route names the host of the source; name it in a route that takes its reading"},
		{blobs, "PUT " + blobURL + "/c/b\nx-ms-copy-source: https://acct.queue.core.windows.net/q/messages", "judged as a call of its own: no route takes the whole call; storage (routes[0]) comes closest, but it takes the operations storage.blob.*, storage.queue.message.put only, and the call is storage.queue.message.get;"},
		{blobs, "PUT " + blobURL + "/c/b\nx-ms-copy-source: /acct/c/b", "its source is no URL"},
		{blobs, "POST https://acct.queue.core.windows.net/q/messages", ""},
		{blobs, "DELETE " + blobURL + "/c?restype=container", "the call is storage.container.delete;"},
		{blobs, "GET https://acct.queue.core.windows.net/q/messages", "the call is storage.queue.message.get;"},
		{blobs, "PUT " + blobURL + "/c/b?comp=lease&%63omp=metadata", "not understood: it names its operation twice;"},
		{blobs, "POST " + blobURL + "/?comp=batch", ""}, // its calls are judged one by one
		{reading, "POST " + blobURL + "/?comp=batch", "it takes GET, PUT only;"},
		{Rule{Service: "storage", Methods: []string{"POST"}}, "POST https://acct.table.core.windows.net/$batch", ""},
		{Rule{Service: "graph", Methods: []string{"POST"}}, "POST https://graph.microsoft.com/v1.0/$batch", "a batch holds other calls, which are not read;"},
		{posts, "POST https://management.azure.com/batch", ""},
		{posts, "POST https://management.azure.com/subscriptions/0/$batch", "not understood: a batch of this kind holds calls that are not read;"},

		{paths, "PATCH " + dfsURL + "/fs/in/f?action=append", ""},
		{paths, "PUT " + dfsURL + "/fs/in/f?action=append\nX-Http-Method-Override: PATCH", ""},
		{paths, "PUT " + dfsURL + "/fs/in/f\nx-ms-rename-source: /fs/in/g", ""},
		{paths, "PUT " + dfsURL + "/fs/in/f\nx-ms-rename-source: /fs/secret", "copies or moves away is judged as a call of its own: no route takes the whole call; storage (routes[0]) comes closest, but it takes the paths /fs/in/** only;"},
		{paths, "PUT " + dfsURL + "/fs/in/f\nx-ms-rename-source: /fs/in%2f..%2fsecret", "the path cannot be judged: it has an escaped slash, backslash"},
		{Rule{Service: "storage", Operations: []string{"storage.dfs.path.rename"}}, "PUT " + dfsURL + "/fs/in/f\nx-ms-rename-source: /fs/g", "the call is storage.dfs.path.renamefrom;"},
		{Rule{Service: "storage", Operations: []string{"storage.dfs.path.rename", "storage.dfs.path.renamefrom"}}, "PUT " + dfsURL + "/fs/in/f\nx-ms-rename-source: /fs/g", ""},
		{files, "PUT " + dfsURL + "/fs/in/f\nx-ms-rename-source: /fs/secret", ""},
		{reading, "GET " + blobURL + "/c/b", ""},
		{reading, "PUT " + dfsURL + "/fs/f\nx-ms-rename-source: /fs/secret", "it takes GET, PUT only; change the method"},
		{reading, "PUT " + dfsURL + "/fs/f?action=flush\nX-Http-Method-Override: PATCH", "the call means PATCH, and it takes GET, PUT only;"},
		{Rule{Service: "storage", Methods: []string{"PUT", "PATCH"}}, "PUT " + dfsURL + "/fs/f?action=flush\nX-Http-Method-Override: PATCH", ""},
		{Rule{Service: "storage"}, "PUT " + blobURL + "/c/b?comp=a&comp=b\nX-Http-Method-Override: DELETE", ""}, // not restricted

		{keys, "POST " + blobURL + "/?restype=service&comp=userdelegationkey", ""},
		{Rule{Service: "storage", Operations: []string{"storage.*"}}, "POST " + blobURL + "/?restype=service&comp=userdelegationkey", "storage.account.userdelegationkey gives a credential that works past bearerd; name it in the route's operations if that is meant"},
		{posts, vmURL + "/restart", ""},
		{posts, "POST " + strings.ReplaceAll(vmURL, "Microsoft.Compute/virtualMachines", "Microsoft.Storage/storageAccounts") + "/listKeys", "arm.storageaccount.listkeys gives a credential"},
		{posts, "POST " + strings.ReplaceAll(vmURL, "Microsoft.Compute/virtualMachines", "Microsoft.Example/things") + "/listSecrets", "arm.credential gives a credential"},
		{Rule{Service: "keyvault", Paths: []string{"/keys/**"}}, "POST " + vaultURL + "/keys/k/backup", "keyvault.key.backup gives a credential"},
		{Rule{Service: "keyvault", RequireHeader: map[string]string{"X-A": "b"}}, "POST " + vaultURL + "/keys/k/backup\nX-A: b", "keyvault.key.backup gives a credential"},

		{machines, "GET " + vmURL, ""},
		{machines, "POST " + vmURL + "/restart", ""},
		{machines, "POST " + vmURL + "/deallocate", "the call is arm.vm.deallocate;"},
		{machines, "PUT https://management.azure.com/subscriptions/0/providers/Microsoft.Resources/deployments/d", ""},
		{machines, "POST https://management.azure.com/batch", "the call is arm.batch;"},
		{Rule{Service: "arm", Methods: []string{"PUT"}}, "PUT https://management.azure.com/subscriptions/0/providers/Microsoft.Resources/deployments/d", "a template names other resources than its path;"},

		{Rule{Service: "graph", Operations: []string{"api.get"}}, "GET https://graph.microsoft.com/v1.0/me", ""},
		{Rule{Service: "graph", Operations: []string{"api.get"}}, "POST https://graph.microsoft.com/v1.0/me", "the call is api.post;"},
	} {
		request := test.request
		if strings.HasPrefix(request, "https:") {
			request = "POST " + request
		}
		d := compile(t, test.rule).Decide(call(request), nil, time.Now())
		if (d.Action == Inject) != (test.want == "") || !strings.Contains(d.Reason, test.want) {
			t.Errorf("%s: %s, %s; want %q", request, d.Action, d.Reason, test.want)
		}
		if d.Operation.Name == "" {
			t.Errorf("%s: no operation", request)
		}
	}
}

// The first route that takes the operation counts, so that identities can be
// told apart by what a call does.
func TestRoutesDifferByOperation(t *testing.T) {
	table := compile(t,
		Rule{Name: "read", Service: "storage", Operations: []string{"storage.blob.get"}},
		Rule{Name: "write", Service: "storage", Operations: []string{"storage.blob.put"}},
	)
	for request, want := range map[string]string{"GET " + blobURL + "/c/b": "read", "PUT " + blobURL + "/c/b": "write"} {
		if d := table.Decide(call(request), nil, time.Now()); d.Action != Inject || d.Route.Name != want {
			t.Errorf("%s: %s by %s", request, d.Action, d.Route)
		}
	}
}

func TestOperationsThatCannotHoldAreRefused(t *testing.T) {
	for _, test := range []struct{ service, operation, want string }{
		{"keyvault", "keyvault.secrets.get", `no operation is called "keyvault.secrets.get"; write keyvault.secret.get if that is meant, docs/services.md lists them all`},
		{"keyvault", "keyvault.secret.GET", `no operation is called "keyvault.secret.GET"; write keyvault.secret.get if that is meant, docs/services.md lists them all`},
		{"storage", "storage.blobs.*", `no operation is called "storage.blobs.*"; write storage.blob.* if that is meant, docs/services.md lists them all`},
		{"storage", "x", `no operation is called "x"; docs/services.md lists them`},
		{"storage", "*", `"*" has a * that is not the last of several words; write it like storage.blob.*`},
		{"storage", "storage.*.get", `"storage.*.get" has a * that is not the last of several words; write it like storage.blob.*`},
		{"storage", "storage.blob.g*", `"storage.blob.g*" has a * that is not the last of several words; write it like storage.blob.*`},
		{"storage", "storage.unknown", `"storage.unknown" stands for calls that are not understood, which no restricted route takes; remove it`},
		{"storage", "keyvault.secret.get", "keyvault.secret.get is no operation of storage, to which the route's hosts belong; give each service a route of its own"},
		{"managedhsm", "keyvault.key.get", "keyvault.key.get is no operation of managedhsm, to which the route's hosts belong; give each service a route of its own"},
	} {
		_, err := Compile([]Rule{{Service: test.service, Operations: []string{"", test.operation}[1:]}}, cloudNamed(t, "public"))
		if want := "routes[0].operations[0]: " + test.want; err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", test.operation, err, want)
		}
	}
	// The mistake in the service is told alone.
	_, err := Compile([]Rule{{Service: "vaults", Operations: []string{"keyvault.secret.get"}}}, cloudNamed(t, "public"))
	if err == nil || strings.Contains(err.Error(), "operations") {
		t.Errorf("%v", err)
	}
}

// All that is listed can be written down.
func TestEachOperationCanBeNamed(t *testing.T) {
	for _, s := range cloudNamed(t, "public").Services() {
		for _, info := range s.Operations() {
			if s.ExactOnly() {
				continue
			}
			compile(t, Rule{Service: s.Name, Operations: []string{info.Name}})
		}
	}
}

func TestDecideDoesNotAllocate(t *testing.T) {
	table := compile(t,
		Rule{Service: "keyvault", Operations: []string{"keyvault.secret.*"}},
		Rule{Service: "storage", Methods: []string{"GET"}, Paths: []string{"/c/**"}, Operations: []string{"storage.blob.*"}},
		Rule{Service: "arm", Methods: []string{"GET"}, Callers: caller.Names{Users: []caller.Account{{ID: 1}, {ID: 7}}}},
	)
	now, who := time.Now(), &caller.Caller{Known: true, UID: 7}
	for _, request := range []string{"GET " + vaultURL + "/secrets/db?api-version=7.4", "GET " + blobURL + "/c/b", "GET " + vmURL} {
		c := call(request)
		if d := table.Decide(c, who, now); d.Action != Inject {
			t.Fatalf("%s: %s", request, d.Reason)
		}
		if n := testing.AllocsPerRun(100, func() { table.Decide(c, who, now) }); n != 0 {
			t.Errorf("%s: %v allocations", request, n)
		}
	}
}

// FuzzOperationsHold holds: no call gets a token by a route that names reading
// a blob, appending to a path, or reading a secret, but one that a reader of
// its own takes for that, whatever else the call says.
func FuzzOperationsHold(f *testing.F) {
	for _, seed := range []struct{ method, target, field, value string }{
		{"GET", "/c/b?timeout=1", "X-A", ""}, {"PUT", "/fs/p?action=append", "X-Http-Method-Override", "PATCH"},
		{"PUT", "/fs/p?action=append", "Connection", "x-http-method-override"}, {"GET", "/secrets/a/1", "X-Original-Url", "/keys"},
		{"GET", "/c/b?%63omp=acl", "X-Http-Method", "DELETE"}, {"GET", "/secrets/a%2Fbackup", "", ""}, {"PATCH", "/fs/p?Action=append&action=flush", "", ""},
	} {
		f.Add(seed.method, seed.target, seed.field, seed.value)
	}
	table, err := Compile([]Rule{
		{Service: "keyvault", Operations: []string{"keyvault.secret.get"}},
		{Service: "storage", Operations: []string{"storage.blob.get", "storage.dfs.path.append"}},
	}, cloudNamed(f, "public"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, target, field, value string) {
		for _, base := range []string{vaultURL, blobURL, dfsURL} {
			c := call("GET " + base + "/")
			c.Method = method
			c.Path, c.Query, _ = strings.Cut("/"+strings.TrimPrefix(target, "/"), "?")
			name := http.CanonicalHeaderKey(field)
			c.Header = azure.Header{name: {value}}
			if d := table.Decide(c, nil, time.Now()); d.Action != Inject {
				continue
			}
			var deciding []string
			var action string
			for param := range strings.SplitSeq(c.Query, "&") {
				key, v, _ := strings.Cut(param, "=")
				if key, err := url.PathUnescape(key); err == nil {
					switch key = strings.ToLower(key); key {
					case "comp", "restype", "resource", "action", "_method", "x-http-method", "x-http-method-override":
						deciding = append(deciding, key)
						action, _ = url.PathUnescape(v)
					}
				}
			}
			path, err := url.PathUnescape(c.Path)
			if err != nil {
				t.Fatalf("the path %q was taken", c.Path)
			}
			override := slices.Contains([]string{"X-Http-Method", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url"}, name)
			means := method
			if name == "X-Http-Method-Override" {
				means, override = strings.ToUpper(value), override || base != dfsURL || method != "PUT"
			}
			parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
			ok := false
			switch base {
			case vaultURL:
				ok = means == "GET" && (len(parts) == 2 || len(parts) == 3 && strings.ToLower(parts[2]) != "versions") && strings.ToLower(parts[0]) == "secrets"
			case blobURL:
				ok = means == "GET" && len(deciding) == 0 && len(path) > 1
			case dfsURL:
				ok = means == "PATCH" && slices.Equal(deciding, []string{"action"}) && strings.EqualFold(action, "append") && strings.Count(path, "/") > 1
			}
			if !ok || override || slices.Contains(parts, "..") {
				t.Fatalf("%s %s%s with %s: %q got a token", method, base, target, name, value)
			}
		}
	})
}

// A field that a route requires is the caller's word for all of its batch, and
// no other field of the batch speaks for a call in it.
func TestCallsWithinABatchLeanOnItsRequiredField(t *testing.T) {
	table := compile(t, Rule{Service: "storage", Operations: []string{"storage.blob.batch", "storage.blob.delete"}, RequireHeader: map[string]string{"X-App": "a"}})
	carrier := call("POST " + blobURL + "/?comp=batch\nX-App: a\nX-Http-Method-Override: PUT")
	inner := call("DELETE " + blobURL + "/c/b")
	if d := table.DecideWithin(inner, carrier, nil, time.Now()); d.Action != Inject {
		t.Errorf("%s, %s", d.Action, d.Reason)
	}
	if d := table.Decide(inner, nil, time.Now()); d.Action != Refuse {
		t.Errorf("without the batch: %s", d.Action)
	}
	if d := table.DecideWithin(call("GET "+blobURL+"/c/b"), carrier, nil, time.Now()); d.Action != Refuse {
		t.Errorf("another operation: %s", d.Action)
	}
}

// FuzzSourcesHold holds: the token of the route that reads /public of one
// account is given for no source but one that a reader of its own finds there,
// and no restricted route takes a call whose source is nowhere that a route does.
func FuzzSourcesHold(f *testing.F) {
	for _, seed := range []string{"https://other.blob.core.windows.net/public/a?snapshot=1", "https://other.blob.core.windows.net.evil.example/public/a", "https://other.blob.core.windows.net@evil.example/public/a",
		"https://other.blob.core.windows.net/public/../private/a", "https://other.blob.core.windows.net/public/%2e%2e/private/a", "HTTPS://OTHER.blob.core.windows.net:443/public/a", "http://other.blob.core.windows.net/public/a",
		"https://other.blob.core.windows.net/public/a?comp=acl", "https://payroll.vault.azure.net/public/a", "//other.blob.core.windows.net/public/a", "https://other.blob.core.windows.net\\@evil.example/public/a"} {
		f.Add(seed, "Connection", "x-ms-copy-source")
		f.Add(seed, "X-Ms-Requires-Sync", "true")
	}
	table, err := Compile([]Rule{
		{Service: "storage", Hosts: []string{"acct.blob.core.windows.net"}, Operations: []string{"storage.blob.copy"}},
		{Service: "storage", Hosts: []string{"other.blob.core.windows.net"}, Operations: []string{"storage.blob.get"}, Paths: []string{"/public/**"}},
		{Service: "keyvault"},
	}, cloudNamed(f, "public"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, source, field, value string) {
		c := call("PUT " + blobURL + "/c/b\nX-Ms-Blob-Type: BlockBlob")
		header := http.Header(c.Header.(azure.Header))
		header.Set(field, value)
		header["X-Ms-Copy-Source"] = []string{source}
		d := table.Decide(c, nil, time.Now())
		if d.Action != Inject {
			return
		}
		u, err := url.Parse(source)
		if err != nil || u.User != nil || !strings.EqualFold(u.Hostname(), "other.blob.core.windows.net") || !strings.HasPrefix(u.Path, "/public/") || slices.Contains(strings.Split(u.Path, "/"), "..") {
			t.Fatalf("a copy from %q was taken: %v", source, err)
		}
		for name := range u.Query() {
			if name = strings.ToLower(name); name == "comp" || name == "restype" {
				t.Fatalf("a copy from %q was taken", source)
			}
		}
		if d.Source.Authorised() && (u.Scheme != "https" || u.Query().Has("sig") && u.Query().Has("sv")) {
			t.Fatalf("a token was given for %q", source)
		}
	})
}
