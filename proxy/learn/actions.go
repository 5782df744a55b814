package learn

import (
	"slices"
	"strings"

	"github.com/bearerd/bearerd/proxy/azure"
)

// actionsOf gives the permissions that Azure Resource Manager wants for an
// operation on a type that is known: nil for any other
// (https://learn.microsoft.com/azure/role-based-access-control/permissions-reference).
// They are compared whatever their case.
func actionsOf(operation string) (actions []string) {
	list := azure.Operations()
	i := slices.IndexFunc(list, func(o azure.OperationInfo) bool { return o.Name == operation })
	if i < 0 || !strings.HasPrefix(operation, "arm.") {
		return nil
	}
	for request := range strings.SplitSeq(list[i].Request, "; ") {
		methods, path, _ := strings.Cut(request, " ")
		resource, ok := resourceAt(path)
		if !ok {
			return nil
		}
		switch {
		case strings.HasPrefix(methods, "GET"):
			actions = append(actions, resource+"/read")
		case strings.HasPrefix(methods, "PUT"):
			actions = append(actions, resource+"/write")
		case methods == "DELETE":
			actions = append(actions, resource+"/delete")
		case methods == "POST":
			actions = append(actions, resource+"/action")
		default:
			return nil
		}
	}
	return actions
}

// resourceAt gives the provider and the types, and behind them an action, of a
// path as the list of operations has it.
func resourceAt(path string) (string, bool) {
	const (
		subscription = "/subscriptions/ID"
		group        = subscription + "/resourceGroups/NAME"
	)
	if resource, ok := strings.CutPrefix(path, "…/"); ok && strings.HasPrefix(resource, "microsoft.") {
		return resource, true
	}
	if action, ok := strings.CutPrefix(path, group); ok {
		return "Microsoft.Resources/subscriptions/resourceGroups" + action, true
	}
	if action, ok := strings.CutPrefix(path, subscription); ok {
		return "Microsoft.Resources/subscriptions" + action, true
	}
	return "", false
}
