package azure

import "strings"

// effectiveMethod gives the method that the service acts on, or why that is not
// certain. honours says that the service is known to obey X-HTTP-Method-Override
// in the one way that its documentation has, a PUT that means PATCH
// (https://learn.microsoft.com/rest/api/storageservices/datalakestoragegen2/path/update).
// Any other override may be obeyed by some front end and not by another.
func effectiveMethod(c *Call, honours bool) (method, reason string) {
	method = c.Method
	for _, name := range [...]string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
		value, count := c.first(name)
		switch {
		case count == 0:
		case honours && name == "X-Http-Method-Override" && count == 1 && method == "PUT" && strings.EqualFold(value, "PATCH") && !dropped(c, name):
			method = "PATCH"
		default:
			return "", "a header field overrides its method"
		}
	}
	for name := range params(c.Query) {
		if name == "" {
			continue
		}
		switch name[0] { // all that these names can begin with
		case '_', 'x', 'X', '%':
			if readsAs(name, "_method") || readsAs(name, "x-http-method-override") || readsAs(name, "x-http-method") {
				return "", "a query parameter overrides its method"
			}
		}
	}
	return method, ""
}

// EffectiveMethod gives the method that the service acts on where the call's
// operation is understood: PATCH for the PUT with which clients of Data Lake
// Storage mean it.
func (s *Service) EffectiveMethod(c *Call) string {
	if method, reason := effectiveMethod(c, s.kind == storageKind && s.apiOf(c) == dfsAPI); reason == "" {
		return method
	}
	return c.Method
}

// DecidesOperation reports whether an operation is read from a field, by its
// canonical name. Whoever forwards the call must not let such a field follow in
// a trailer, where it was not judged.
func DecidesOperation(field string) bool {
	switch field {
	case "X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url",
		copySource, renameSource, fileRenameSource, sourceAuthorization,
		"X-Ms-Requires-Sync", "X-Ms-Blob-Type", "X-Ms-File-Target-File":
		return true
	}
	return false
}

// dropped reports whether the call's Connection names a field, which is then
// not forwarded (RFC 9110, section 7.6.1). The attack is a field that decides
// what is judged and never reaches the service.
func dropped(c *Call, name string) bool {
	value, count := c.first("Connection")
	if count <= 1 {
		return lists(value, name)
	}
	return droppedByOneOf(c, name)
}

// droppedByOneOf is for several Connection fields, over which it cannot go
// without an allocation.
func droppedByOneOf(c *Call, name string) bool {
	for field, value := range c.Header.Each {
		if field == "Connection" && lists(value, name) {
			return true
		}
	}
	return false
}

// lists reports whether a field's value, a list, has a name, whatever its case.
func lists(value, name string) bool {
	for element := range strings.SplitSeq(value, ",") {
		if strings.EqualFold(strings.Trim(element, " \t"), name) {
			return true
		}
	}
	return false
}
