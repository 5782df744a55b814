package azure

import "slices"

// kind selects the protocol rules, beside the token, that a service's calls
// follow.
type kind uint8

const (
	plainKind kind = iota // nothing beside the token
	vaultKind             // Key Vault
	hsmKind               // Managed HSM, which follows Key Vault's rules
	storageKind
	armKind
)

// Service is one service of a cloud, or an API of the operator's own: where it
// answers and for which audience it wants a token. Immutable.
type Service struct {
	Name     string // as routes name it: keyvault, storage
	Audience string // what IMDS is asked for

	kind      kind
	cloud     *Cloud   // nil: of none
	also      []string // more audiences of its tokens
	login     string   // the cloud's login host, which challenges name
	exactOnly bool
	hosts     []string
	patterns  []Pattern
	// likely are names believed to be the service's that no document confirms.
	// They count where a route names them exactly, and never as a whole.
	likely  []Pattern
	storage HostMap[storageAPI] // of a storage service: which API a host speaks
}

func newService(r *row, login string) *Service {
	s := &Service{
		Name: r.name, Audience: r.audience, also: r.also,
		kind: r.kind, login: login, exactOnly: r.exactOnly, hosts: r.hosts,
		patterns: patternsOf(r.suffixes), likely: patternsOf(r.likely),
	}
	for _, root := range r.storageRoots {
		for _, api := range storageAPIs() {
			s.addStorage(api, Pattern{Suffix: api.String() + "." + root})
			s.addStorage(api, Pattern{Suffix: "privatelink." + api.String() + "." + root})
		}
	}
	for _, root := range r.storageZones {
		for _, api := range storageAPIs() {
			s.addStorage(api, Pattern{Suffix: api.String() + "." + root, Zone: true})
		}
	}
	return s
}

func (s *Service) addStorage(api storageAPI, p Pattern) {
	s.patterns = append(s.patterns, p)
	s.storage.SetPattern(p, api)
}

func patternsOf(suffixes []string) []Pattern {
	var patterns []Pattern
	for _, suffix := range suffixes {
		patterns = append(patterns, Pattern{Suffix: suffix})
	}
	return patterns
}

// Custom makes a service of an API of the operator's own, which takes Entra
// tokens for the audience. It knows no names; routes bring their own.
func Custom(name, audience string) *Service {
	return &Service{Name: name, Audience: audience}
}

// Custom is the function Custom for an API whose callers may bring tokens for
// the cloud's services.
func (c *Cloud) Custom(name, audience string) *Service {
	return &Service{Name: name, Audience: audience, cloud: c, login: c.Login}
}

// WithAudience gives the same service with another audience.
func (s *Service) WithAudience(audience string) *Service {
	other := *s
	other.Audience = audience
	return &other
}

// ExactOnly reports whether routes must name each host of the service, because
// a stranger may receive what is sent to a name under its suffix.
func (s *Service) ExactOnly() bool { return s.exactOnly }

// Hosts gives the hosts where the service answers for everybody, such as
// management.azure.com. Not to be changed.
func (s *Service) Hosts() []string { return s.hosts }

// Patterns gives the names that are the service's as a whole, none for an
// exact-only service. Not to be changed.
func (s *Service) Patterns() []Pattern {
	if s.exactOnly {
		return nil
	}
	return s.patterns
}

// Has reports whether a host that an operator has written down is a name of
// the service, or may be one because no name of the service is known.
func (s *Service) Has(host string) bool {
	if len(s.hosts)+len(s.patterns)+len(s.likely) == 0 {
		return true
	}
	matches := func(p Pattern) bool { return p.Match(host) }
	return slices.Contains(s.hosts, host) || slices.ContainsFunc(s.patterns, matches) || slices.ContainsFunc(s.likely, matches)
}

// HasPattern reports whether all hosts of p are the service's, and safe to be
// matched as a whole.
func (s *Service) HasPattern(p Pattern) bool {
	return slices.ContainsFunc(s.Patterns(), func(own Pattern) bool { return own.Covers(p) })
}

// FoldsPath reports whether the service compares paths without regard to case.
func (s *Service) FoldsPath() bool { return s.isVault() || s.kind == armKind }

func (s *Service) isVault() bool { return s.kind == vaultKind || s.kind == hsmKind }
