package azure

import (
	"net/http"
	"strings"
)

// IsProbe reports whether a call is the empty request by which Key Vault's
// clients elicit a challenge. They take the body off their first request, send
// it without authorisation, and put the body back once they have seen a 401.
// If a token were attached to it, a write would reach the vault without its
// body, and the client, seeing no 401, would never send the whole.
//
// A probe is a request of an operation that needs a body, with neither body
// nor Authorization. On the wire it is PUT, PATCH or POST with
// "Content-Length: 0" from the Go and JavaScript clients alike, never chunked.
// Requests without a body by nature are not probes, and can be given a token
// at once: the client then sees no challenge, and needs none.
func (s *Service) IsProbe(c *Call) bool {
	if !s.isVault() || c.Length != 0 {
		return false
	}
	if _, count := c.first("Authorization"); count > 0 {
		return false
	}
	switch c.Method {
	case http.MethodPut, http.MethodPatch:
		return true
	case http.MethodPost:
		return !postsNothing(c.Path)
	}
	return false
}

// postsNothing reports whether a POST to the path is an operation without a
// body. All others of today take one
// (https://learn.microsoft.com/rest/api/keyvault/). One that is not known is
// taken to need a body: at worst a plain client sees a 401, where a write
// might otherwise go out in half.
func postsNothing(path string) bool {
	var segments [5]string
	n := 0
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" { // clients put two slashes behind the vault's URL
			continue
		}
		if n == len(segments) {
			return false
		}
		segments[n] = segment
		n++
	}
	collection, last := segments[0], segments[max(n, 1)-1]
	deleted := len(collection) > len("deleted") && strings.EqualFold(collection[:len("deleted")], "deleted")
	switch {
	case n == 3 && deleted: // deletedsecrets/NAME/recover
		return strings.EqualFold(last, "recover")
	case n == 5 && strings.EqualFold(collection, "deletedstorage"): // .../NAME/sas/DEFINITION/recover
		return strings.EqualFold(last, "recover")
	case n == 3: // secrets/NAME/backup, keys/NAME/rotate
		return strings.EqualFold(last, "backup") || strings.EqualFold(collection, "keys") && strings.EqualFold(last, "rotate")
	}
	return false
}

// Challenge gives the WWW-Authenticate value to answer a probe with, as Key
// Vault writes it. The clients cut the tenant out of the path of
// authorization, some without looking whether there is one, and require that
// the host which they asked ends in a dot and resource's host. The tenant is
// that of the machine's own token, where the caller knows it, so that a client
// with a credential restricted to its tenant carries on; anything that is not
// a tenant's id or domain becomes "common".
func (s *Service) Challenge(tenant string) string {
	login := s.login
	if login == "" {
		login = "login.microsoftonline.com"
	}
	if !isTenant(tenant) {
		tenant = "common"
	}
	return `Bearer authorization="https://` + login + "/" + tenant + `", resource="` + strings.TrimSuffix(s.Audience, "/") + `"`
}

// isTenant holds what goes into a response's header to letters, digits, dots
// and hyphens.
func isTenant(tenant string) bool {
	for i := range len(tenant) {
		if c := lower(tenant[i]); (c < 'a' || c > 'z') && !isDigit(c) && c != '-' && c != '.' {
			return false
		}
	}
	return tenant != ""
}
