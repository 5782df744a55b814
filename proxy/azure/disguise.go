package azure

import (
	"net/http"
	"strings"
)

// Disguise tells why a call may do something else than its method and path
// say. The zero value: no reason is known.
type Disguise struct {
	Reason string
	// Literal is the path segment by which a route can say that it means this
	// operation and what it may reach; empty: none can.
	Literal string
}

// DisguiseOf looks for other calls, or another resource, behind a call whose
// operation is understood to be op. A restricted route takes no such call,
// since what it says would not be what the service does. Where the route says
// nothing of paths (byPath false), reaching another path than the call's is no
// disguise. Where it names the operation (named), the operation may reach what
// belongs to it. Whoever forwards a batch whose operation carries calls judges
// those one by one.
//
// What is listed here is what a service's protocol is known to allow. It does
// not allocate.
func (s *Service) DisguiseOf(c *Call, op Operation, byPath, named bool) Disguise {
	if d := genericDisguise(c, op, byPath); d.Reason != "" {
		return d
	}
	switch s.kind {
	case storageKind:
		return linkDisguise(c, byPath)
	case armKind:
		if named && op.template {
			return Disguise{}
		}
		return armDisguise(c, op)
	}
	return Disguise{}
}

// genericDisguise knows what frameworks of any service may honour.
func genericDisguise(c *Call, op Operation, byPath bool) Disguise {
	if byPath {
		if reason := overridesPath(c); reason != "" {
			return Disguise{Reason: reason}
		}
	}
	for segment := range strings.SplitSeq(c.Path, "/") {
		if readsAs(segment, "$batch") && !op.Carries() { // OData: Graph, Log Analytics
			return Disguise{Reason: "a batch holds other calls, which are not read"}
		}
	}
	return Disguise{}
}

// linkDisguise knows Files' hard and symbolic links
// (https://learn.microsoft.com/rest/api/storageservices/create-hard-link). What
// is copied or moved is judged as a call of its own; see SourceOf.
func linkDisguise(c *Call, byPath bool) Disguise {
	if _, count := c.first("X-Ms-File-Target-File"); count > 0 && byPath {
		return Disguise{Reason: "a link reads another path"}
	}
	return Disguise{}
}

// armDisguise knows Azure Resource Manager's calls that carry others, and
// templates, whose body names what is created, changed or deleted, in other
// scopes too
// (https://learn.microsoft.com/azure/azure-resource-manager/templates/deploy-to-subscription).
func armDisguise(c *Call, op Operation) Disguise {
	if c.Method == http.MethodGet || c.Method == http.MethodHead {
		return Disguise{}
	}
	const reason = "a template names other resources than its path"
	provider := false
	for segment := range strings.SplitSeq(c.Path, "/") {
		for _, literal := range [...]string{"deployments", "deploymentstacks"} {
			// Other providers call other things deployments.
			if provider && readsAs(segment, literal) {
				return Disguise{Reason: reason, Literal: literal}
			}
		}
		provider = readsAs(segment, "microsoft.resources")
	}
	if op.template {
		return Disguise{Reason: reason}
	}
	return Disguise{}
}
