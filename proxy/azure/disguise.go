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

// DisguiseOf looks for another operation, or another resource, behind a
// call's method and path. A restricted route takes no such call, since what
// it says of methods and paths would not be what the service does. Where the
// route says nothing of paths (byPath false), reaching another path than the
// call's is no disguise.
//
// What is listed here is what a service's protocol is known to allow. It does
// not allocate.
func (s *Service) DisguiseOf(c *Call, byPath bool) Disguise {
	if d := genericDisguise(c, byPath); d.Reason != "" {
		return d
	}
	switch s.kind {
	case storageKind:
		return storageDisguise(c, byPath)
	case armKind:
		return armDisguise(c)
	}
	return Disguise{}
}

// genericDisguise knows what frameworks of any service may honour.
func genericDisguise(c *Call, byPath bool) Disguise {
	for _, name := range [...]string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
		if _, count := c.first(name); count > 0 {
			return Disguise{Reason: "a header field overrides its method"}
		}
	}
	for name := range params(c.Query) {
		if readsAs(name, "_method") || readsAs(name, "x-http-method-override") || readsAs(name, "x-http-method") {
			return Disguise{Reason: "a query parameter overrides its method"}
		}
	}
	if byPath {
		for _, name := range [...]string{"X-Original-Url", "X-Rewrite-Url"} {
			if _, count := c.first(name); count > 0 {
				return Disguise{Reason: "a header field overrides its path"}
			}
		}
	}
	for segment := range strings.SplitSeq(c.Path, "/") {
		if readsAs(segment, "$batch") { // OData: Table, Graph, Log Analytics
			return Disguise{Reason: "a batch holds other calls"}
		}
	}
	return Disguise{}
}

// storageDisguise knows
// https://learn.microsoft.com/rest/api/storageservices/.
func storageDisguise(c *Call, byPath bool) Disguise {
	q := queryView(c.Query)
	for _, name := range [...]string{"comp", "restype", "resource", "action"} {
		if _, count := q.value(name); count > 1 {
			return Disguise{Reason: "it names its operation twice"}
		}
	}
	switch comp, _ := q.value("comp"); {
	case readsAs(comp, "batch"):
		return Disguise{Reason: "a batch holds other calls"}
	case readsAs(comp, "userdelegationkey"):
		// With that key anybody signs himself access to the whole account.
		return Disguise{Reason: "a user delegation key gives access to the whole account"}
	}
	for _, name := range [...]string{"X-Ms-Rename-Source", "X-Ms-File-Rename-Source"} {
		if _, count := c.first(name); count > 0 {
			return Disguise{Reason: "a rename removes another path"}
		}
	}
	if !byPath {
		return Disguise{}
	}
	for _, name := range [...]string{"X-Ms-Copy-Source", "X-Ms-File-Target-File"} {
		if _, count := c.first(name); count > 0 {
			return Disguise{Reason: "a copy or link reads another path"}
		}
	}
	if depth := depthOf(c.Path); depth > 0 && (q.is("restype", "service") || q.is("resource", "account")) ||
		depth > 1 && (q.is("restype", "container") || q.is("restype", "share") || q.is("resource", "filesystem")) {
		return Disguise{Reason: "its restype or resource is not what its path names"}
	}
	return Disguise{}
}

// armDisguise knows Azure Resource Manager's calls that carry others, and
// templates, whose body names what is created, changed or deleted, in other
// scopes too
// (https://learn.microsoft.com/azure/azure-resource-manager/templates/deploy-to-subscription).
func armDisguise(c *Call) Disguise {
	if depthOf(c.Path) == 1 && readsAs(strings.Trim(c.Path, "/"), "batch") {
		return Disguise{Reason: "a batch holds other calls"}
	}
	if c.Method == http.MethodGet || c.Method == http.MethodHead {
		return Disguise{}
	}
	provider := false
	for segment := range strings.SplitSeq(c.Path, "/") {
		for _, literal := range [...]string{"deployments", "deploymentstacks"} {
			// Other providers call other things deployments.
			if provider && readsAs(segment, literal) {
				return Disguise{Reason: "a template names other resources than its path", Literal: literal}
			}
		}
		provider = readsAs(segment, "microsoft.resources")
	}
	return Disguise{}
}

// depthOf counts the segments of a path that are not empty.
func depthOf(path string) int {
	depth := 0
	for segment := range strings.SplitSeq(path, "/") {
		if segment != "" {
			depth++
		}
	}
	return depth
}
