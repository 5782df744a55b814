package route

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bearerd/bearerd/proxy/azure"
)

// names reports whether the route's operations name one: by its whole name, or
// by what it begins with.
func (r *Route) names(op azure.Operation) (named, exactly bool) {
	if slices.Contains(r.exactly, op.Name) {
		return true, true
	}
	for _, prefix := range r.below {
		if strings.HasPrefix(op.Name, prefix) {
			return true, false
		}
	}
	return false, false
}

// operations compiles the names of operations. One that could never match, or
// that would not do what it seems to, is a mistake.
func (c *compiler) operations() {
	c.route.Operations = slices.Clone(c.rule.Operations)
	if c.route.Audience == "" { // the service is among the mistakes
		return
	}
	list := c.route.Service.Operations()
	for i, name := range c.rule.Operations {
		field := fmt.Sprintf("operations[%d]", i)
		prefix, all := strings.CutSuffix(name, "*")
		var matches, mints []string
		for _, info := range list {
			if info.Name != name && !(all && strings.HasSuffix(prefix, ".") && strings.HasPrefix(info.Name, prefix)) {
				continue
			}
			matches = append(matches, info.Name)
			if info.Mints {
				mints = append(mints, info.Name)
			}
		}
		switch {
		case len(matches) == 0:
			c.fail(field, "%s", c.noOperation(name, list))
		case all && len(matches) == len(mints):
			c.fail(field, "all that %q stands for gives credentials that work past bearerd, which a * never allows; write %s if that is meant", name, strings.Join(mints, ", "))
		case all:
			c.route.below = append(c.route.below, prefix)
		default:
			c.route.exactly = append(c.route.exactly, name)
		}
	}
}

// noOperation says what is wrong with a name that stands for none of the
// service's operations, and what was probably meant.
func (c *compiler) noOperation(name string, list []azure.OperationInfo) string {
	has := func(list []azure.OperationInfo, name string) bool {
		return slices.ContainsFunc(list, func(i azure.OperationInfo) bool { return i.Name == name })
	}
	switch {
	case strings.HasSuffix(name, ".unknown"):
		return fmt.Sprintf("%q stands for calls that are not understood, which no restricted route takes; remove it", name)
	case strings.Contains(strings.TrimSuffix(name, ".*"), "*"):
		return fmt.Sprintf("%q has a * that is not the last of several words; write it like storage.blob.*", name)
	case has(azure.Operations(), name):
		return fmt.Sprintf("%s is no operation of %s, to which the route's hosts belong; give each service a route of its own", name, c.route.Service.Name)
	}
	known := make([]string, len(list))
	for i, info := range list {
		known[i] = info.Name
		if strings.HasSuffix(name, ".*") {
			known[i] = info.Name[:strings.LastIndexByte(info.Name, '.')] + ".*"
		}
	}
	best := Nearest(name, len(name)/2, known)
	if best == "" {
		return fmt.Sprintf("no operation is called %q; docs/services.md lists them", name)
	}
	return fmt.Sprintf("no operation is called %q; write %s if that is meant, docs/services.md lists them all", name, best)
}
