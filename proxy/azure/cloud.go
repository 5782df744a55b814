package azure

import (
	"slices"
	"strings"
)

// Cloud is one cloud's services. Immutable.
type Cloud struct {
	Name string
	// Login is the host where the cloud's tenants sign in.
	Login string

	logins     []string
	services   []*Service
	byHost     HostMap[*Service]
	byAudience map[string]*Service // as plainAudience writes them
}

// CloudNamed gives a cloud of the catalogue: public, usgov or china.
func CloudNamed(name string) (*Cloud, bool) {
	return cloudWhere(func(r *cloudRow) bool { return r.name == name })
}

// CloudFromEnvironment gives the cloud that instance metadata's azEnvironment
// names, such as "AzureUSGovernment", in any case.
func CloudFromEnvironment(environment string) (*Cloud, bool) {
	return cloudWhere(func(r *cloudRow) bool {
		return slices.ContainsFunc(r.environments, func(e string) bool { return strings.EqualFold(e, environment) })
	})
}

// CloudNames lists the clouds of the catalogue, the public one first.
func CloudNames() []string {
	var names []string
	for _, r := range catalogue() {
		names = append(names, r.name)
	}
	return names
}

func cloudWhere(is func(*cloudRow) bool) (*Cloud, bool) {
	rows := catalogue()
	i := slices.IndexFunc(rows, func(r cloudRow) bool { return is(&r) })
	if i < 0 {
		return nil, false
	}
	services := make([]*Service, len(rows[i].services))
	for j := range services {
		services[j] = newService(&rows[i].services[j], rows[i].logins[0])
	}
	return newCloud(rows[i].name, rows[i].logins[0], rows[i].logins, services), true
}

func newCloud(name, login string, logins []string, services []*Service) *Cloud {
	c := &Cloud{Name: name, Login: login, logins: logins, byAudience: make(map[string]*Service)}
	for _, shared := range services {
		s := shared.clone() // of another cloud, perhaps
		s.cloud = c
		c.services = append(c.services, s)
		for _, audience := range s.also {
			c.byAudience[plainAudience(audience)] = s
		}
		c.byAudience[plainAudience(s.Audience)] = s
		for _, host := range s.hosts {
			c.byHost.SetHost(host, s)
		}
		for _, p := range s.Patterns() {
			c.byHost.SetPattern(p, s)
		}
	}
	return c
}

// Logins lists the hosts where the cloud's tenants sign in, Login first; none
// where that is not known. Not to be changed.
func (c *Cloud) Logins() []string { return c.logins }

// Services lists the cloud's services, in the catalogue's order. Not to be
// changed.
func (c *Cloud) Services() []*Service { return c.services }

// Service gives a service by the name that routes use.
func (c *Cloud) Service(name string) (*Service, bool) {
	for _, s := range c.services {
		if s.Name == name {
			return s, true
		}
	}
	return nil, false
}

// ServiceOf gives the service that a host, as NormalizeHost gives it, belongs
// to: by its exact name, or by a pattern that is safe to match.
func (c *Cloud) ServiceOf(host string) (*Service, bool) { return c.byHost.Get(host) }
