package route

import (
	"maps"
	"slices"

	"github.com/bearerd/bearerd/proxy/azure"
)

// Table is the compiled routes. Immutable, and safe for concurrent use.
type Table struct {
	routes   []*Route
	gateways map[string]*Route
	// byHost gives, in order, the routes that name a host.
	byHost azure.HostMap[[]candidate]
	learns bool // see Learning
}

func newTable(routes []*Route) *Table {
	t := &Table{routes: routes, gateways: make(map[string]*Route)}
	for _, r := range routes {
		if r.Gateway != "" {
			t.gateways[r.Gateway] = r
		}
		for _, key := range r.targets {
			var candidates []candidate
			for _, other := range routes {
				for _, tg := range other.targets {
					if tg.namesHosts(key) {
						candidates = append(candidates, candidate{other, tg})
					}
				}
			}
			if key.host != "" {
				t.byHost.SetHost(key.host, candidates)
			} else {
				t.byHost.SetPattern(key.pattern, candidates)
			}
		}
	}
	return t
}

// Named reports whether any route names a host, on any port: such a host is
// never tunnelled.
func (t *Table) Named(host string) bool {
	_, ok := t.byHost.Get(host)
	return ok
}

// PortRouted reports whether any route names the host with that port.
func (t *Table) PortRouted(host string, port uint16) bool {
	candidates, _ := t.byHost.Get(host)
	return slices.ContainsFunc(candidates, func(c candidate) bool { return c.target.takesPort(port, port == 80) })
}

// Gateway gives the route of a base URL.
func (t *Table) Gateway(name string) (*Route, bool) {
	r, ok := t.gateways[name]
	return r, ok
}

// Gateways lists the names of the base URLs, sorted.
func (t *Table) Gateways() []string { return slices.Sorted(maps.Keys(t.gateways)) }

// Routes lists the routes in order. Not to be changed.
func (t *Table) Routes() []*Route { return t.routes }

// Domains gives what the routes name, sorted: the suffixes under which they
// name hosts by pattern, and the hosts that they name exactly.
func (t *Table) Domains() (suffixes, hosts []string) {
	for _, r := range t.routes {
		for _, tg := range r.targets {
			if tg.host != "" {
				hosts = append(hosts, tg.host)
			} else {
				suffixes = append(suffixes, tg.pattern.Suffix)
			}
		}
	}
	slices.Sort(suffixes)
	slices.Sort(hosts)
	return slices.Compact(suffixes), slices.Compact(hosts)
}
