package route

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/caller"
)

// Compile checks the rules and builds the table. Each mistake is a *RuleError;
// several are joined, in order of the rules.
func Compile(rules []Rule, cloud *azure.Cloud) (*Table, error) {
	taken := make(map[string]int) // names that rules give, and by which
	gateways := make(map[string]int)
	var routes []*Route
	var errs []error
	for i := range rules {
		c := compiler{rule: &rules[i], cloud: cloud, route: &Route{Index: i}}
		c.name(taken)
		c.targets()
		c.conditions()
		c.treatment()
		c.gateway(gateways)
		errs = append(errs, c.errs...)
		routes = append(routes, c.route)
	}
	if len(errs) == 0 {
		nameTheRest(routes, taken)
		errs = shadowed(routes)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	for _, r := range routes {
		r.writeReasons()
	}
	return newTable(routes), nil
}

// compiler makes one route of one rule, and collects the rule's mistakes.
type compiler struct {
	rule  *Rule
	cloud *azure.Cloud
	route *Route
	errs  []error
}

func (c *compiler) fail(field, format string, args ...any) {
	c.errs = append(c.errs, &RuleError{Index: c.route.Index, Field: field, Err: fmt.Errorf(format, args...)})
}

func (c *compiler) name(taken map[string]int) {
	name := c.rule.Name
	if name == "" {
		return
	}
	c.route.Name = name
	if !isName(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ._") {
		c.fail("name", "%q is no name for a route; use up to 63 letters, digits, dots, hyphens and underscores", name)
		return
	}
	if first, ok := taken[name]; ok {
		c.fail("name", "routes[%d] is called %q too; give each route a name of its own", first, name)
		return
	}
	taken[name] = c.route.Index
}

// targets finds out which hosts the rule names, and of which service.
func (c *compiler) targets() {
	r := c.route
	r.Service = azure.Custom("", "") // until the hosts tell; the paths ask it
	if c.rule.Audience != "" {
		if err := azure.CheckAudience(c.rule.Audience); err != nil {
			c.fail("audience", "%w", err)
		}
	}
	before := len(c.errs)
	for i, text := range c.rule.Hosts {
		t, err := parseTarget(text)
		if err != nil {
			c.fail(fmt.Sprintf("hosts[%d]", i), "%w", err)
			continue
		}
		r.targets = append(r.targets, t)
	}
	if len(c.errs) > before {
		return
	}
	service := c.service()
	if service == nil {
		return
	}
	if len(r.targets) == 0 {
		for _, host := range service.Hosts() {
			r.targets = append(r.targets, target{host: host})
		}
		for _, p := range service.Patterns() {
			r.targets = append(r.targets, target{pattern: p})
		}
	}
	if c.rule.Audience != "" {
		service = service.WithAudience(c.rule.Audience)
	}
	r.Service, r.Audience = service, service.Audience
	for _, t := range r.targets {
		r.Hosts = append(r.Hosts, t.String())
	}
}

// service gives the rule's service, nil after a mistake. Where the rule names
// none, it is the one of the cloud that all the hosts belong to, lest the
// service's own rules be forgotten.
func (c *compiler) service() *azure.Service {
	if c.rule.Service != "" {
		return c.namedService()
	}
	if len(c.route.targets) == 0 {
		c.fail("", "it names neither a service nor hosts; name one")
		return nil
	}
	service := c.route.targets[0].serviceIn(c.cloud)
	for _, t := range c.route.targets[1:] {
		if t.serviceIn(c.cloud) != service {
			c.fail("hosts", "%s and %s belong to different services; give each a route of its own", c.route.targets[0], t)
			return nil
		}
	}
	if service != nil {
		return service
	}
	if c.rule.Audience == "" {
		c.fail("audience", "%s belongs to no service that is known in the cloud %s; name the service, or the audience of its tokens", c.route.targets[0], c.cloud.Name)
		return nil
	}
	name := c.route.targets[0].host
	if name == "" {
		name = c.route.targets[0].pattern.Suffix
	}
	return c.cloud.Custom(name, c.rule.Audience)
}

func (c *compiler) namedService() *azure.Service {
	service, ok := c.cloud.Service(c.rule.Service)
	if !ok {
		var names []string
		for _, s := range c.cloud.Services() {
			names = append(names, s.Name)
		}
		c.fail("service", "no service is called %q in the cloud %s; use one of %s, or hosts with an audience", c.rule.Service, c.cloud.Name, strings.Join(names, ", "))
		return nil
	}
	if len(c.route.targets) == 0 && len(service.Hosts())+len(service.Patterns()) == 0 {
		c.fail("hosts", "%s has no names that are safe to match as a whole; name exact hosts", service.Name)
		return nil
	}
	mistakes := len(c.errs)
	for i, t := range c.route.targets {
		field := fmt.Sprintf("hosts[%d]", i)
		other := t.serviceIn(c.cloud)
		switch {
		case t.host == "" && service.ExactOnly():
			c.fail(field, "%s covers names that strangers may own; name exact hosts", t)
		case t.knownTo(service):
		case other != nil:
			c.fail(field, "%s belongs to %s, not to %s; correct one of them", t, other.Name, service.Name)
		case c.rule.Audience == "":
			c.fail(field, "%s is not known as a name of %s in the cloud %s; correct it, or name the audience in the route to vouch for it", t, service.Name, c.cloud.Name)
		}
	}
	if len(c.errs) > mistakes {
		return nil
	}
	return service
}

// conditions compiles what a call must be like besides its host.
func (c *compiler) conditions() {
	for i, method := range c.rule.Methods {
		field := fmt.Sprintf("methods[%d]", i)
		switch {
		case !isToken(method):
			c.fail(field, "%q is no method; write it like GET", method)
		case method != strings.ToUpper(method):
			c.fail(field, "methods are compared by case; write %s", strings.ToUpper(method))
		case method == http.MethodTrace || method == http.MethodConnect:
			c.fail(field, "%s is never forwarded with a token; remove it", method)
		}
	}
	c.route.Methods = slices.Clone(c.rule.Methods)
	for i, text := range c.rule.Paths {
		p, err := parsePath(text, c.route.Service.FoldsPath())
		if err != nil {
			c.fail(fmt.Sprintf("paths[%d]", i), "%w", err)
			continue
		}
		c.route.paths = append(c.route.paths, p)
	}
	c.route.Paths = slices.Clone(c.rule.Paths)
	c.operations()
	c.callers()
	for _, name := range slices.Sorted(maps.Keys(c.rule.RequireHeader)) {
		value := c.rule.RequireHeader[name]
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case !isToken(name):
			c.fail("require_header", "%q is no header field; write it like X-Vault-Caller", name)
		case canonical == "Host" || canonical == "Authorization" || canonical == "Content-Length":
			c.fail("require_header", "%s cannot be required, for it says something already; choose another field", canonical)
		case value == "" || strings.Trim(value, " \t") != value || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			c.fail("require_header", "the value of %s is empty, begins or ends with a space, or holds a control character; give it one that a call can send", canonical)
		}
		c.route.header = append(c.route.header, azure.Field{Name: canonical, Value: value})
	}
	for i, upgrade := range c.rule.Upgrades {
		if upgrade != "websocket" {
			c.fail(fmt.Sprintf("upgrades[%d]", i), "%q is never forwarded; only websocket can be listed", upgrade)
		}
		c.route.websocket = true
	}
}

// callers takes over who may make the call. Where the kernel does not tell that,
// nobody could.
func (c *compiler) callers() {
	c.route.Callers = c.rule.Callers
	named := c.rule.Callers
	if named.Certificates = nil; !caller.Supported && !named.Empty() {
		c.fail("callers", "this system does not tell who calls, so that nobody could; run bearerd on Linux, or remove the key")
	}
}

// treatment takes over what becomes of the calls.
func (c *compiler) treatment() {
	if err := c.rule.Identity.Validate(); err != nil {
		c.fail("identity", "%w", err)
	}
	if c.rule.Own > OwnRefuse {
		c.fail("own", "%s is not known; use pass, replace or refuse", c.rule.Own)
	}
	c.route.Identity, c.route.Own, c.route.Required = c.rule.Identity, c.rule.Own, c.rule.Required
}

func (c *compiler) gateway(taken map[string]int) {
	name := c.rule.Gateway
	if name == "" {
		return
	}
	if !isName(name, "") {
		c.fail("gateway", "%q is no name for a base URL; use up to 63 lower-case letters, digits and hyphens", name)
		return
	}
	if first, ok := taken[name]; ok {
		c.fail("gateway", "routes[%d] has the gateway %q too; give each its own name", first, name)
		return
	}
	taken[name] = c.route.Index
	if len(c.errs) > 0 { // the hosts may be among the mistakes
		return
	}
	host, port, ok := c.oneHost()
	if !ok {
		c.fail("gateway", "a base URL leads to one host, and the route names %s; name exactly one host without a star", strings.Join(c.route.Hosts, ", "))
		return
	}
	c.route.Gateway, c.route.GatewayHost, c.route.GatewayPort = name, host, port
}

// oneHost gives the host that a base URL leads to: the only one that the rule
// names, or where it names none or several, the one where its service answers
// everybody.
func (c *compiler) oneHost() (host string, port uint16, ok bool) {
	if len(c.rule.Hosts) == 0 {
		if hosts := c.route.Service.Hosts(); len(hosts) == 1 {
			return hosts[0], 443, true
		}
		return "", 0, false
	}
	targets := c.route.targets
	if len(targets) > 1 {
		targets = slices.DeleteFunc(slices.Clone(targets), func(t target) bool { return !slices.Contains(c.route.Service.Hosts(), t.host) })
	}
	if len(targets) != 1 || targets[0].host == "" {
		return "", 0, false
	}
	only := targets[0]
	if only.port == 0 {
		only.port = 443
	}
	return only.host, only.port, true
}

// nameTheRest gives names to the routes without one.
func nameTheRest(routes []*Route, taken map[string]int) {
	for _, r := range routes {
		if r.Name != "" {
			continue
		}
		r.Name = r.Service.Name
		for n := 2; ; n++ {
			if _, ok := taken[r.Name]; !ok {
				break
			}
			r.Name = fmt.Sprintf("%s-%d", r.Service.Name, n)
		}
		taken[r.Name] = r.Index
	}
}

// shadowed finds routes that can never be first, because one without
// restrictions before them takes all their calls. Whoever wrote such a route
// believes in a restriction, or an identity, that does not hold.
func shadowed(routes []*Route) (errs []error) {
	for i, r := range routes {
		for _, earlier := range routes[:i] {
			if earlier.Restricted() || !earlier.Callers.Covers(&r.Callers) || r.websocket && !earlier.websocket {
				continue
			}
			covered := func(t target) bool {
				return slices.ContainsFunc(earlier.targets, func(e target) bool { return e.covers(t) })
			}
			if !slices.ContainsFunc(r.targets, func(t target) bool { return !covered(t) }) {
				errs = append(errs, &RuleError{Index: i, Err: fmt.Errorf("it never applies, for routes[%d] takes every call to its hosts before it%s; put it first, or remove it", earlier.Index, earlier.forCallers())})
				break
			}
		}
	}
	return errs
}

// forCallers says for whom a route is, behind what it does.
func (r *Route) forCallers() string {
	if r.Callers.Empty() {
		return ""
	}
	return " for these callers"
}

func (r *Route) writeReasons() {
	for own := range r.inject {
		r.inject[own] = fmt.Sprintf("%s is the first that takes the whole call", r)
		if azure.Credential(own) != azure.None {
			r.inject[own] += fmt.Sprintf(", and replaces %s of the caller's", azure.Credential(own))
		}
		r.pass[own] = fmt.Sprintf("%s is the first that takes the whole call, and passes it untouched, for it brings %s", r, azure.Credential(own))
	}
}

// isName holds names to letters in lower case, digits, hyphens and what else
// is allowed.
func isName(name, also string) bool {
	return name != "" && len(name) <= 63 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-"+also) == ""
}

// isToken reports whether text is a token (RFC 9110, section 5.6.2).
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}
