package azure

// PagesByLink reports whether the service's lists carry an absolute URL of
// their next page in the body, as a top-level "nextLink".
func (s *Service) PagesByLink() bool { return s.isVault() || s.kind == armKind }
