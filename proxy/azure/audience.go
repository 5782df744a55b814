package azure

import (
	"slices"
	"strings"
)

// plainAudience writes an audience in the one spelling by which two are
// compared: Entra and the services take them in any case, and with and without
// the slash at the end.
func plainAudience(audience string) string {
	return strings.ToLower(strings.TrimSuffix(audience, "/"))
}

// ServiceOfAudience gives the cloud's service that tokens for an audience are
// for: by its own audience, by another name of that, or by the URL of one of its
// hosts, such as a storage account's.
func (c *Cloud) ServiceOfAudience(audience string) (*Service, bool) {
	plain := plainAudience(audience)
	if s, ok := c.byAudience[plain]; ok {
		return s, true
	}
	authority, isURL := strings.CutPrefix(plain, "https://")
	if !isURL {
		return nil, false
	}
	host, port, err := NormalizeHost(authority)
	if err != nil || port != 0 {
		return nil, false
	}
	return c.ServiceOf(host)
}

// Takes reports whether tokens for an audience are for the service.
func (s *Service) Takes(audience string) bool {
	if plainAudience(audience) == plainAudience(s.Audience) {
		return true
	}
	if s.cloud == nil {
		return false
	}
	owner, ok := s.cloud.ServiceOfAudience(audience)
	return ok && s.isLike(owner)
}

// isForeign reports whether a token for an audience is certainly for another
// service. One whose audience is not known is the service's to judge.
func (s *Service) isForeign(audience string) bool {
	if s.cloud == nil || s.Takes(audience) {
		return false
	}
	_, known := s.cloud.ServiceOfAudience(audience)
	return known
}

// isLike reports whether two services are one to whoever issues tokens. Service
// Bus and Event Hubs share their namespaces' names, and take each other's.
func (s *Service) isLike(other *Service) bool {
	return s.Name == other.Name || slices.ContainsFunc(s.patterns, func(p Pattern) bool { return slices.Contains(other.patterns, p) })
}
