package azure

import (
	"errors"
	"strings"
	"testing"
)

func TestNewCloud(t *testing.T) {
	c, err := NewCloud(Definition{
		Name: "stack", Base: "usgov", Login: "Login.Stack.Example",
		Services: []ServiceDefinition{
			{Name: "keyvault", Suffixes: []string{".vault.stack.example"}},
			{Name: "storage", Suffixes: []string{"stack.example", "table.other.example"}},
			{Name: "arm", Audience: "https://management.stack.example/x", Hosts: []string{"management.stack.example"}},
			{Name: "vault2", Like: "keyvault", Audience: "https://vault2.example", Suffixes: []string{"vault2.example"}},
			{Name: "payroll-api", Audience: "api://payroll", Hosts: []string{"payroll.corp.example."}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"a.vault.stack.example": "keyvault", "a.vault.usgovcloudapi.net": "keyvault",
		"a.blob.stack.example": "storage", "a.table.other.example": "storage", "a.blob.core.usgovcloudapi.net": "storage",
		"management.stack.example": "arm", "a.vault2.example": "vault2", "payroll.corp.example": "payroll-api",
		"a.stack.example": "", "a.blob.other.example": "", "a.vault.azure.net": "", "a.b.vault.stack.example": "",
	} {
		name := ""
		if s, ok := c.ServiceOf(host); ok {
			name = s.Name
		}
		if name != want {
			t.Errorf("%s belongs to %q, want %q", host, name, want)
		}
	}
	storage, _ := c.Service("storage")
	if got := storage.Fields(callTo("GET", "a.table.other.example", "/Tables")); len(got) != 1 || got[0].Value != minTableVersion {
		t.Errorf("fields %v", got)
	}
	vault2, _ := c.Service("vault2")
	if got := vault2.Challenge("t"); got != `Bearer authorization="https://login.stack.example/t", resource="https://vault2.example"` {
		t.Error(got)
	}
	if arm, _ := c.Service("arm"); arm.Audience != "https://management.stack.example/x" {
		t.Error(arm.Audience)
	}
	// The catalogue's cloud is another value.
	if s, ok := mustCloud(t, "usgov").ServiceOf("a.vault.stack.example"); ok {
		t.Errorf("the catalogue has learnt %s", s.Name)
	}
}

func TestNewCloudWithoutABase(t *testing.T) {
	c, err := NewCloud(Definition{Name: "own", Services: []ServiceDefinition{{Name: "vault", Like: "keyvault", Audience: "https://vault.example", Suffixes: []string{"vault.example"}}}})
	if err != nil {
		t.Fatal(err)
	}
	s, ok := c.ServiceOf("a.vault.example")
	if !ok || !strings.Contains(s.Challenge(""), "https://login.microsoftonline.com/common") {
		t.Errorf("%v", s)
	}
}

func TestNewCloudRefuses(t *testing.T) {
	service := func(s ServiceDefinition) Definition {
		if s.Name == "" {
			s.Name = "x"
		}
		if s.Audience == "" {
			s.Audience = "api://x"
		}
		return Definition{Name: "own", Base: "public", Services: []ServiceDefinition{s}}
	}
	for _, test := range []struct {
		d    Definition
		want string
	}{
		{Definition{}, "cloud.name: the cloud has no name; give it one"},
		{Definition{Name: "x", Base: "german"}, `cloud.base: no cloud is called "german"; use one of public, usgov, china`},
		{Definition{Name: "x", Login: "https://login.example"}, `cloud.login: "https://login.example" is no host name; write it like login.microsoftonline.com`},
		{service(ServiceDefinition{Name: "Key Vault"}), `cloud.services[0].name: "Key Vault" is no service name; use lower-case letters, digits and hyphens`},
		{Definition{Name: "x", Services: []ServiceDefinition{{Name: "y"}}}, "cloud.services[0].audience: the audience is missing; name what tokens for the service are issued to, such as api://example"},
		{service(ServiceDefinition{Audience: "https://vault.azure.net/.default"}), `cloud.services[0].audience: "https://vault.azure.net/.default" is a scope, and an audience is wanted; write "https://vault.azure.net"`},
		{service(ServiceDefinition{Audience: "a b"}), `cloud.services[0].audience: the audience "a b" holds a space, a control character or a non-ASCII character; remove it`},
		{service(ServiceDefinition{Like: "graph"}), `cloud.services[0].like: no rules are known as "graph"; use keyvault, managedhsm, storage or arm, or remove it`},
		{service(ServiceDefinition{Hosts: []string{"a.example", "*.example"}}), `cloud.services[0].hosts[1]: "*.example" is no host name: the host holds the byte '*'; write it like api.example.com`},
		{service(ServiceDefinition{Hosts: []string{"a.example:8443"}}), `cloud.services[0].hosts[0]: "a.example:8443" has a port; name ports in the route's hosts`},
		{service(ServiceDefinition{Suffixes: []string{"*.example"}}), `cloud.services[0].suffixes[0]: "*.example" is no DNS suffix; write it like vault.example.com`},
		{service(ServiceDefinition{Suffixes: []string{"example"}}), "cloud.services[0].suffixes[0]: *.example reaches over a whole top-level domain; name exact hosts"},
		{service(ServiceDefinition{Suffixes: []string{"ours.servicebus.windows.net"}}), "cloud.services[0].suffixes[0]: anyone can own a name under servicebus.windows.net and receive what is sent there; name exact hosts instead of *.ours.servicebus.windows.net"},
		{service(ServiceDefinition{Name: "servicebus", Suffixes: []string{"bus.example.com"}}), "cloud.services[0].suffixes[0]: servicebus takes no suffixes, for a stranger may receive what is sent to a name under one; name exact hosts"},
		{service(ServiceDefinition{Suffixes: []string{"vault.azure.net"}}), `cloud.services[0].suffixes[0]: "vault.azure.net" belongs to service keyvault already; remove it from one of them`},
		{service(ServiceDefinition{Name: "storage", Suffixes: []string{"azurewebsites.net"}}), "cloud.services[0].suffixes[0]: anyone can own a name under azurewebsites.net and receive what is sent there; name exact hosts instead of *.blob.azurewebsites.net"},
	} {
		_, err := NewCloud(test.d)
		var mistake *DefinitionError
		if err == nil || err.Error() != test.want || !errors.As(err, &mistake) {
			t.Errorf("got  %v\nwant %s", err, test.want)
		}
	}
}

func TestNewCloudTellsEveryMistake(t *testing.T) {
	_, err := NewCloud(Definition{Base: "x", Services: []ServiceDefinition{{Name: "a"}, {Name: "B", Audience: "api://b", Like: "c"}}})
	if err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("%v", err)
	}
}
