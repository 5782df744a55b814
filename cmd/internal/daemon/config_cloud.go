package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/entra"
	"github.com/bearerd/bearerd/proxy/route"
)

// Cloud gives the cloud that the configuration names or defines. auto is true,
// and fixed nil, where it is the one that IMDS names.
func (c *Config) Cloud() (fixed *azure.Cloud, auto bool) {
	if c.cloud.definition == nil && c.cloud.name == autoCloud {
		return nil, true
	}
	return c.clouds()[0], false
}

// readCloudFile has the cloud's definition start from what its file says.
func (c *Config) readCloudFile() {
	s, at := &c.source, &c.cloud
	if at.file == "" || s.failedUnder("cloud") {
		return
	}
	if at.definition.Base != "" {
		s.fail("cloud.file", "file and base exclude one another; keep one")
		return
	}
	text, err := readFile(at.file)
	if err != nil {
		s.fail("cloud.file", "%w", err)
		return
	}
	d, err := azure.ParseEndpoints(text, at.definition.Name)
	for _, e := range split[error](err) {
		s.fail("cloud.file", "%s: %w", at.file, e)
	}
	d.Login = cmp.Or(at.definition.Login, d.Login)
	at.fromFile = len(d.Services)
	d.Services = append(d.Services, at.definition.Services...)
	at.definition = &d
}

// LikelyCloud gives the fixed cloud or, where IMDS is yet to name it, the first
// that the routes fit, starting with the public one.
func (c *Config) LikelyCloud() *azure.Cloud {
	clouds := c.clouds()
	for _, cloud := range clouds {
		if _, err := route.Compile(c.Rules(cloud), cloud); err == nil {
			return cloud
		}
	}
	return clouds[0]
}

// Rules gives the routes for a cloud, with the process's identity and own where
// a route says nothing. The list is the caller's.
func (c *Config) Rules(cloud *azure.Cloud) []route.Rule {
	var rules []route.Rule
	if !c.hasRoutes {
		rules = route.Defaults(cloud)
		for i := range rules {
			rules[i].Identity, rules[i].Own = c.Identity, c.Own
		}
		return rules
	}
	for _, r := range c.routes {
		if !r.hasIdentity {
			r.rule.Identity = c.Identity
		}
		if !r.hasOwn {
			r.rule.Own = c.Own
		}
		rules = append(rules, r.rule)
	}
	return rules
}

// Compile builds the route table for a cloud: the fixed one, or the one that
// IMDS names, for which the routes may have mistakes that Parse could not see.
// They are joined *Mistake values.
func (c *Config) Compile(cloud *azure.Cloud) (*route.Table, error) {
	table, err := route.Compile(c.Rules(cloud), cloud)
	if err == nil {
		return table, nil
	}
	s := source{file: c.source.file, keys: c.source.keys}
	for _, e := range split[*route.RuleError](err) {
		s.fail(rulePath(e), "%w", e.Err)
	}
	return nil, errors.Join(fmt.Errorf("the routes do not fit the cloud %s", cloud.Name), s.err())
}

// Logins gives the logins that are answered in Entra's place; nil: none.
func (c *Config) Logins(cloud *azure.Cloud, table *route.Table) (*entra.Logins, error) {
	if !c.Entra.answers() {
		return nil, nil
	}
	l, err := entra.New(entra.Options{Tenants: c.Entra.Tenants, Clients: c.Entra.Clients, Cloud: cloud, Routes: table})
	if err != nil {
		return nil, fmt.Errorf("entra: %w", err)
	}
	return l, nil
}

// Warnings says what is allowed and may still not be meant, each with its place
// in the file.
func (c *Config) Warnings() []string {
	s := source{file: c.source.file, keys: c.source.keys}
	for i, l := range c.Listen {
		if !l.Address.IsLocal() && !l.asksCallers() {
			s.fail(fmt.Sprintf("listen[%d].address", i), "whoever reaches %s over the network can use this machine's identity; let a firewall keep strangers out", l.Address)
		}
	}
	c.warnOfOldTLS(&s)
	if !c.Admin.Address.IsLocal() {
		s.fail("admin.address", "whoever reaches %s over the network sees the routes, the identities and the metrics; let a firewall keep strangers out", c.Admin.Address)
	}
	c.warnRedirect(&s)
	if table, err := c.Compile(c.LikelyCloud()); err == nil {
		for _, r := range table.Routes() {
			if r.Service.Name == "arm" && len(r.Methods) == 0 && (len(r.Operations) == 0 || slices.Contains(r.Operations, "arm.*")) {
				s.fail(fmt.Sprintf("routes[%d]", r.Index), "it takes every method of Azure Resource Manager, where a write can change what the identity may do; write methods: [GET, HEAD] where reading is enough")
			}
		}
	}
	var warnings []string
	s.sort()
	for _, m := range s.mistakes {
		warnings = append(warnings, m.Error())
	}
	return warnings
}
