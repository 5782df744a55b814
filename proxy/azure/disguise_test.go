package azure

import "testing"

func TestDisguiseOf(t *testing.T) {
	cloud := mustCloud(t, "public")
	const always, byPathOnly, never = 2, 1, 0
	for _, test := range []struct {
		service, method, target, header string
		want                            int
	}{
		{"keyvault", "GET", "/secrets/a?api-version=7.4", "", never},
		{"keyvault", "GET", "/secrets/a", "X-Http-Method-Override", always},
		{"keyvault", "GET", "/secrets/a", "X-Http-Method", always},
		{"keyvault", "GET", "/secrets/a", "X-Method-Override", always},
		{"keyvault", "GET", "/secrets/a?_method=DELETE", "", always},
		{"keyvault", "GET", "/secrets/a?x-http-method-override=DELETE", "", always},
		{"keyvault", "GET", "/secrets/a?X%2DHTTP-Method=DELETE", "", always},
		{"keyvault", "GET", "/secrets/a", "X-Original-Url", byPathOnly},
		{"keyvault", "GET", "/secrets/a", "X-Rewrite-Url", byPathOnly},
		{"keyvault", "GET", "/secrets/batch", "", never},
		{"graph", "POST", "/v1.0/$batch", "", always},
		{"graph", "POST", "/v1.0/%24Batch", "", always},

		{"storage", "GET", "/c?restype=container&comp=list", "", never},
		{"storage", "PUT", "/c/b?comp=block&blockid=AA%3D%3D", "", never},
		{"storage", "GET", "/c/batch?x=batch", "", never},
		{"storage", "POST", "/?comp=batch", "", always},
		{"storage", "POST", "/c?restype=container&COMP=%42atch", "", always},
		{"storage", "POST", "/$batch", "", always},
		{"storage", "POST", "/?restype=service&comp=userdelegationkey", "", always},
		{"storage", "GET", "/c?comp=list&comp=batch", "", always},
		{"storage", "PATCH", "/fs/p?action=append&action=setAccessControl", "", always},
		{"storage", "PUT", "/fs/new", "X-Ms-Rename-Source", always},
		{"storage", "PUT", "/share/new?comp=rename", "X-Ms-File-Rename-Source", always},
		{"storage", "PUT", "/c/b", "X-Ms-Copy-Source", byPathOnly},
		{"storage", "PUT", "/share/l?restype=hardlink", "X-Ms-File-Target-File", byPathOnly},
		{"storage", "GET", "/c/b?restype=container&comp=list", "", byPathOnly},
		{"storage", "GET", "/c?restype=service&comp=properties", "", byPathOnly},
		{"storage", "GET", "/fs/p?resource=filesystem", "", byPathOnly},
		{"storage", "GET", "/fs?resource=account", "", byPathOnly},
		{"storage", "GET", "/fs?resource=filesystem&recursive=false", "", never},
		{"storage", "GET", "/?restype=service&comp=properties", "", never},

		{"arm", "GET", "/subscriptions/s/providers/Microsoft.Resources/deployments/d", "", never},
		{"arm", "POST", "/batch?api-version=2020-06-01", "", always},
		{"arm", "POST", "/Batch/", "", always},
		{"arm", "PUT", "/subscriptions/s/resourceGroups/batch", "", never},
		{"arm", "PUT", "/subscriptions/s/resourceGroups/g/providers/microsoft.resources/Deployments/d", "", always},
		{"arm", "DELETE", "/subscriptions/s/providers/Microsoft.Resources/deploymentStacks/d", "", always},
		{"arm", "PUT", "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a/deployments/d", "", never},
	} {
		s, _ := cloud.Service(test.service)
		c := callTo(test.method, "x.example", test.target)
		if test.header != "" {
			c.Header = Header{test.header: {"x"}}
		}
		for need, byPath := range map[int]bool{always: false, byPathOnly: true} {
			if got := s.DisguiseOf(c, byPath); (got.Reason != "") != (test.want >= need) {
				t.Errorf("%s: %s %s %s, by path %v: %+v", test.service, test.method, test.target, test.header, byPath, got)
			}
		}
	}
}

// A route can name deployments, and nothing else that is a disguise.
func TestOnlyTemplatesCanBeNamed(t *testing.T) {
	cloud := mustCloud(t, "public")
	arm, _ := cloud.Service("arm")
	storage, _ := cloud.Service("storage")
	for target, want := range map[string]string{
		"/providers/Microsoft.Resources/deployments/d":      "deployments",
		"/providers/Microsoft.Resources/deploymentStacks/d": "deploymentstacks",
		"/batch": "",
	} {
		if d := arm.DisguiseOf(callTo("POST", "x", target), true); d.Reason == "" || d.Literal != want {
			t.Errorf("%s: %+v", target, d)
		}
	}
	if d := storage.DisguiseOf(callTo("POST", "x", "/?comp=batch"), true); d.Reason == "" || d.Literal != "" {
		t.Errorf("%+v", d)
	}
}
