package azure

import (
	"strings"
	"testing"
)

func TestDisguiseOf(t *testing.T) {
	cloud := mustCloud(t, "public")
	const always, byPathOnly, never = 2, 1, 0
	for _, test := range []struct {
		service, method, target, header string
		want                            int
	}{
		{"keyvault", "GET", "/secrets/a?api-version=7.4", "", never},
		{"keyvault", "GET", "/secrets/a", "X-Original-Url", byPathOnly},
		{"keyvault", "GET", "/secrets/a", "X-Rewrite-Url", byPathOnly},
		{"keyvault", "GET", "/secrets/batch", "", never},
		{"graph", "POST", "/v1.0/$batch", "", always},
		{"graph", "POST", "/v1.0/%24Batch", "", always},

		{"storage", "GET", "/c?restype=container&comp=list", "", never},
		{"storage", "PUT", "/c/b?comp=block&blockid=AA%3D%3D", "", never},
		{"storage", "GET", "/c/batch?x=batch", "", never},
		{"storage", "POST", "/?comp=batch", "", never}, // whose calls are judged for themselves
		{"storage", "POST", "/c?restype=container&COMP=%42atch", "", never},
		{"storage", "POST", "/$batch", "", always},
		{"storage", "PUT", "/fs/new", "X-Ms-Rename-Source", never}, // what these name is judged for itself
		{"storage", "PUT", "/c/b", "X-Ms-Copy-Source", never},
		{"storage", "PUT", "/share/l?restype=hardlink", "X-Ms-File-Target-File", byPathOnly},
		{"storage", "GET", "/fs?resource=filesystem&recursive=false", "", never},
		{"storage", "GET", "/?restype=service&comp=properties", "", never},

		{"arm", "GET", "/subscriptions/s/providers/Microsoft.Resources/deployments/d", "", never},
		{"arm", "POST", "/batch?api-version=2020-06-01", "", never},
		{"arm", "POST", "/subscriptions/s/$batch", "", always},
		{"arm", "PUT", "/subscriptions/s/resourceGroups/batch", "", never},
		{"arm", "PUT", "/subscriptions/s/resourceGroups/g/providers/microsoft.resources/Deployments/d", "", always},
		{"arm", "DELETE", "/subscriptions/s/providers/Microsoft.Resources/deploymentStacks/d", "", always},
		{"arm", "PUT", "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a/deployments/d", "", never},
	} {
		s, _ := cloud.Service(test.service)
		c := callTo(test.method, hostOf(test.service, test.target), test.target)
		if test.header != "" {
			c.Header = Header{test.header: {"x"}}
		}
		for need, byPath := range map[int]bool{always: false, byPathOnly: true} {
			if got := s.DisguiseOf(c, s.OperationOf(c), byPath, false); (got.Reason != "") != (test.want >= need) {
				t.Errorf("%s: %s %s %s, by path %v: %+v", test.service, test.method, test.target, test.header, byPath, got)
			}
		}
	}
}

// hostOf gives a host of the API that a target of the tests is meant for.
func hostOf(service, target string) string {
	switch {
	case service != "storage":
		return "x.example"
	case strings.Contains(target, "/fs"):
		return "a.dfs.core.windows.net"
	case strings.Contains(target, "/share"):
		return "a.file.core.windows.net"
	}
	return "a.blob.core.windows.net"
}

// What a route names may do what belongs to it, short of paths that the route
// says something about.
func TestNamedOperationsReachWhatBelongsToThem(t *testing.T) {
	cloud := mustCloud(t, "public")
	for _, test := range []struct {
		service, method, target string
		free, byPath            bool // allowed
	}{
		{"arm", "PUT", "/subscriptions/s/providers/Microsoft.Resources/deployments/d", true, true},
		{"arm", "PUT", "/subscriptions/s/resourcegroups/g/deployments/d", true, true},
	} {
		s, _ := cloud.Service(test.service)
		c := callTo(test.method, hostOf(test.service, test.target), test.target)
		op := s.OperationOf(c)
		for byPath, want := range map[bool]bool{false: test.free, true: test.byPath} {
			if d := s.DisguiseOf(c, op, byPath, true); (d.Reason == "") != want {
				t.Errorf("%s %s, by path %v: %+v", test.method, test.target, byPath, d)
			}
		}
		if d := s.DisguiseOf(c, op, true, false); d.Reason == "" {
			t.Errorf("%s %s without its name", test.method, test.target)
		}
	}
}

// A route can name deployments, and nothing else that is a disguise.
func TestOnlyTemplatesCanBeNamed(t *testing.T) {
	cloud := mustCloud(t, "public")
	arm, _ := cloud.Service("arm")
	for target, want := range map[string]string{
		"/providers/Microsoft.Resources/deployments/d":      "deployments",
		"/providers/Microsoft.Resources/deploymentStacks/d": "deploymentstacks",
	} {
		c := callTo("POST", "x", target)
		if d := arm.DisguiseOf(c, arm.OperationOf(c), true, false); d.Reason == "" || d.Literal != want {
			t.Errorf("%s: %+v", target, d)
		}
	}
}
