package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
)

// Whatever is answered, in each combination, the file is one that the
// configuration's own rules take, and says what was answered.
func TestInitWritesValidConfigurations(t *testing.T) {
	identities := []string{"", "00000000-0000-0000-0000-000000000001",
		"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/prod/providers/Microsoft.ManagedIdentity/userAssignedIdentities/payroll"}
	hosts := [][]string{nil, {"payroll.vault.azure.net"}, {"acct.blob.core.windows.net", "acct.queue.core.windows.net"},
		{"*.table.core.windows.net", "Payroll.vault.azure.net:443"}, {"management.azure.com"}, {"api.example.com=api://orders", "api_2.example.com:8443=api://orders"}}
	users := [][]string{nil, {"0"}, {"0", "4294967294"}}
	for _, identity := range identities {
		for _, hosts := range hosts {
			for _, users := range users {
				a := answers{identity, hosts, users}
				t.Run(fmt.Sprintf("%s,%s,%s", identity, hosts, users), func(t *testing.T) { checkInit(t, a) })
			}
		}
	}
}

func checkInit(t *testing.T, a answers) {
	path := filepath.Join(t.TempDir(), "bearerd.yaml")
	if err := writeConfig(io.Discard, path, a, false); err != nil {
		t.Fatal(err)
	}
	c, err := daemon.Load(path, true)
	if err != nil {
		t.Fatal(err)
	}
	if warnings := c.Warnings(); len(warnings) > 0 {
		t.Error(warnings)
	}
	if id := c.Identity.ClientID + c.Identity.ResourceID; id != a.identity {
		t.Errorf("the identity is %q", id)
	}
	rules := c.Rules(c.LikelyCloud())
	if len(a.hosts) > 0 && len(rules) != len(a.hosts) {
		t.Errorf("%d routes", len(rules))
	}
	for _, r := range rules {
		if len(r.Callers.Users) != len(a.users) {
			t.Errorf("the callers are %v", r.Callers)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Error(info.Mode(), err)
	}
}

// What init writes when nothing is answered lends no more, and no less, than
// bearerd does without a file.
func TestInitWithoutAnswersWritesTheDefaults(t *testing.T) {
	c, err := daemon.Parse("bearerd.yaml", []byte(answers{}.config()))
	if err != nil {
		t.Fatal(err)
	}
	d := daemon.Default()
	cloud := d.LikelyCloud()
	if have, want := c.Rules(cloud), d.Rules(cloud); !reflect.DeepEqual(have, want) {
		t.Errorf("routes\n%+v\nwant\n%+v", have, want)
	}
	if !reflect.DeepEqual(c.Listen, d.Listen) || c.RefuseUnmatched != d.RefuseUnmatched || c.Identity != d.Identity {
		t.Errorf("%+v differs from the defaults", c)
	}
}

// Whoever ends the input has agreed to nothing, however far the questions were.
func TestInitEndsWithTheInput(t *testing.T) {
	for _, typed := range []string{"", "\n", "\n\n", "\n\nroot"} {
		q := questions{bufio.NewReader(strings.NewReader(typed)), io.Discard}
		var a answers
		if err := q.ask(&a, func(string) bool { return false }); err == nil || !strings.Contains(err.Error(), "nothing was written") {
			t.Errorf("after %q: %v", typed, err)
		}
	}
}

// An answer is a value of the file, never a part of it that says something else.
func TestAnswersCannotAddKeys(t *testing.T) {
	const key = "\nunmatched: refuse\n#"
	for _, a := range []answers{{identity: "/x\"}" + key}, {hosts: []string{"a.vault.azure.net\"]" + key}}, {users: []string{"root\"]}" + key}}, {hosts: []string{"api.example.com=\"" + key}}} {
		if strings.Contains(a.config(), key) {
			t.Errorf("%+v adds a key:\n%s", a, a.config())
		}
	}
}
