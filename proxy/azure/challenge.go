package azure

// IsProbe reports whether a call is the empty request by which the Key Vault
// clients elicit a challenge.
func (s *Service) IsProbe(c *Call) bool { return false }

// Challenge gives the WWW-Authenticate value to answer a probe with.
func (s *Service) Challenge(tenant string) string { return "" }

// TokenRejected reports whether the WWW-Authenticate values of a 401 say that
// the token is bad, so that another one may help.
func TokenRejected(challenges []string) bool { return false }
