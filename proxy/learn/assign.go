package learn

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/proxy/azure"
)

// unknownPrincipal stands for an object id that an administrator fills in.
const unknownPrincipal = `"$PRINCIPAL"`

// place is one resource at which one identity needs roles.
type place struct {
	identity imds.Identity
	kind     string // keyvault, managedhsm, storage, arm, api: what operations begin with
	name     string // of the vault, pool or account; of an API its host; empty: not known from the host
}

// placesOf collects what the machine's tokens were, or would be, used for. A call
// with a live token of its own needs nothing of the machine's.
func placesOf(calls []seen, cloud *azure.Cloud) (places []place, operations map[place][]string) {
	operations = make(map[place][]string)
	for i := range calls {
		c := &calls[i]
		if c.brought[OwnToken] == c.calls {
			continue
		}
		p := placeOf(c, cloud)
		if operations[p] == nil {
			places = append(places, p)
		}
		if !slices.Contains(operations[p], c.operation) {
			operations[p] = append(operations[p], c.operation)
		}
	}
	slices.SortStableFunc(places, func(a, b place) int {
		return cmp.Or(strings.Compare(a.identity.String(), b.identity.String()), strings.Compare(a.kind, b.kind), strings.Compare(a.name, b.name))
	})
	for _, list := range operations {
		slices.Sort(list)
	}
	return places, operations
}

func placeOf(c *seen, cloud *azure.Cloud) place {
	kind, _, _ := strings.Cut(c.operation, ".")
	p := place{identity: c.from.Identity, kind: kind}
	if kind == "api" {
		p.name = c.host
		return p
	}
	if _, known := cloud.ServiceOf(c.host); !known || kind == "arm" {
		return p // a name of the operator's own tells no account
	}
	name, _, _ := strings.Cut(c.host, ".")
	if kind == "storage" {
		name = strings.TrimSuffix(name, "-secondary")
	}
	if !strings.HasPrefix(name, "-") { // to a command that is an option
		p.name = name
	}
	return p
}

// scope gives the shell's words for the resource, and the line that finds it out
// before; empty: none is needed.
func (p *place) scope() (words, before string) {
	name := p.name
	switch p.kind {
	case "keyvault":
		if name == "" {
			name = "VAULT"
		}
		return `"$SCOPE"`, fmt.Sprintf("SCOPE=$(az keyvault show --name %s --query id --output tsv)", name)
	case "storage":
		if name == "" {
			name = "ACCOUNT"
		}
		return `"$SCOPE"`, fmt.Sprintf("SCOPE=$(az storage account show --name %s --query id --output tsv)", name)
	case "arm":
		return `"$SCOPE"`, "SCOPE=/subscriptions/$(az account show --query id --output tsv)"
	}
	return "", ""
}

// title names the resource for people.
func (p *place) title() string {
	switch {
	case p.kind == "arm":
		return "Azure Resource Manager: narrow SCOPE to the resource group, or the resource, that the calls are about"
	case p.name == "":
		return p.kind + ": fill in the name, which the host does not tell"
	case p.kind == "keyvault":
		return "the vault " + p.name + ", whose permission model must be Azure role-based access control (`az keyvault update --enable-rbac-authorization true`)"
	case p.kind == "managedhsm":
		return "the managed HSM " + p.name
	case p.kind == "storage":
		return "the storage account " + p.name + ": SCOPE may be one container, queue, table or share of it"
	}
	return p.name
}

// commands gives what an administrator runs to allow the operations, and notes
// on those that no command allows.
func (p *place) commands(operations []string, principal string) (lines, notes []string) {
	for _, operation := range operations {
		if _, why, ok := rolesFor(operation); why != "" || !ok {
			if !ok {
				why = noneDocumented
			}
			notes = append(notes, operation+": "+why)
		}
	}
	words, before := p.scope()
	var create []string
	roles, actions := leastRoles(operations), []string(nil)
	if p.kind == "arm" {
		roles, actions = armRoles(operations)
	}
	for _, role := range roles {
		if p.kind == "managedhsm" {
			create = append(create, fmt.Sprintf("az keyvault role assignment create --hsm-name %s --role %q --assignee-object-id %s --assignee-principal-type ServicePrincipal --scope /", cmp.Or(p.name, "HSM"), role, principal))
			continue
		}
		create = append(create, fmt.Sprintf("az role assignment create --role %q --assignee-object-id %s --assignee-principal-type ServicePrincipal --scope %s", role, principal, words))
	}
	if len(actions) > 0 {
		// A role's name is there once in a tenant.
		name := "bearerd learned"
		if principal != unknownPrincipal {
			name += " " + principal
		}
		create = append(create,
			fmt.Sprintf(`az role definition create --role-definition '{"Name":"%s","Description":"What applications called through bearerd","Actions":["%s"],"AssignableScopes":["'"$SCOPE"'"]}'`, name, strings.Join(actions, `","`)),
			fmt.Sprintf("az role assignment create --role %q --assignee-object-id %s --assignee-principal-type ServicePrincipal --scope %s", name, principal, words))
	}
	if len(create) > 0 && before != "" {
		lines = append(lines, before)
	}
	return append(lines, create...), notes
}

// armRoles gives the built-in roles, and the actions of a role of its own, that
// allow operations of Resource Manager. Reading is Reader's, for whoever may
// write reads more than was seen; what writes gets exactly its actions, where
// they are known.
func armRoles(operations []string) (roles, actions []string) {
	var built []string
	for _, operation := range operations {
		if allowed, _, ok := rolesFor(operation); ok && allowed == nil {
			actions = append(actions, actionsOf(operation)...)
			continue
		}
		built = append(built, operation)
	}
	slices.Sort(actions)
	return leastRoles(built), slices.Compact(actions)
}
