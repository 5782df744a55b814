package learn

import (
	"slices"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/proxy/azure"
)

// Every operation of the list has roles, or a reason for having none.
func TestEveryOperationHasARoleOrAReason(t *testing.T) {
	for _, op := range azure.Operations() {
		roles, why, ok := rolesFor(op.Name)
		exact := actionsOf(op.Name)
		switch {
		case !ok:
			t.Errorf("%s (%s) has no line", op.Name, op.Request)
		case len(roles) > 0 && why != "":
			t.Errorf("%s has roles, and the reason %q for none", op.Name, why)
		case len(roles) == 0 && why == "" && len(exact) == 0:
			t.Errorf("%s has neither roles nor a reason", op.Name)
		}
	}
}

// Each pattern of the table stands for an operation that no line before takes.
func TestEveryLineOfTheTableCounts(t *testing.T) {
	taken := make(map[string]bool)
	for _, g := range grants() {
		for pattern := range strings.FieldsSeq(g.operations) {
			var fresh bool
			for _, op := range azure.Operations() {
				prefix, all := strings.CutSuffix(pattern, "*")
				if (op.Name == pattern || all && strings.HasPrefix(op.Name, prefix)) && !taken[op.Name] {
					taken[op.Name], fresh = true, true
				}
			}
			if !fresh {
				t.Errorf("%s stands for nothing", pattern)
			}
		}
	}
}

func TestLeastRoles(t *testing.T) {
	for _, c := range []struct {
		operations string
		roles      []string
	}{
		{"keyvault.secret.get", []string{kvSecretsUser}},
		{"keyvault.secret.list", []string{kvReader}},
		{"keyvault.secret.get keyvault.secret.list", []string{kvSecretsUser}},
		{"keyvault.secret.get keyvault.secret.set", []string{kvSecrets}},
		{"keyvault.secret.get keyvault.key.list", []string{kvReader, kvSecretsUser}},
		{"keyvault.secret.get keyvault.key.sign", []string{kvCryptoUser, kvSecretsUser}},
		{"keyvault.key.wrapkey keyvault.key.get", []string{kvWrap}},
		{"keyvault.key.wrapkey keyvault.key.sign keyvault.key.get", []string{kvCryptoUser}},
		{"storage.blob.get storage.container.list", []string{blobReader}},
		{"storage.blob.get storage.blob.put storage.queue.message.put", []string{blobWriter, queueSender}},
		{"storage.blob.get storage.dfs.path.setacl", []string{blobOwner}},
		{"storage.account.userdelegationkey storage.blob.get", []string{blobReader}},
		{"storage.queue.message.put storage.queue.message.get", []string{queueProcessor, queueSender}},
		{"storage.queue.message.peek storage.queue.message.get", []string{queueProcessor}},
		{"storage.table.batch", nil},
	} {
		if roles := leastRoles(strings.Fields(c.operations)); !slices.Equal(roles, c.roles) {
			t.Errorf("%s: %q, want %q", c.operations, roles, c.roles)
		}
	}
}

func TestResourceManagerGetsExactActions(t *testing.T) {
	for _, c := range []struct {
		operations     string
		roles, actions []string
	}{
		{"arm.vm.read arm.resourcegroup.read", []string{reader}, nil},
		{"arm.vm.read arm.vm.restart", []string{reader}, []string{"microsoft.compute/virtualmachines/restart/action"}},
		{"arm.resourcegroup.write", nil, []string{"Microsoft.Resources/subscriptions/resourceGroups/write"}},
		{"arm.action arm.vm.read", []string{contributor}, nil},
	} {
		if roles, actions := armRoles(strings.Fields(c.operations)); !slices.Equal(roles, c.roles) || !slices.Equal(actions, c.actions) {
			t.Errorf("%s: %q %q, want %q %q", c.operations, roles, actions, c.roles, c.actions)
		}
	}
}
