package learn

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/bearerd/bearerd/proxy/route"
)

// learned is a route that takes what was seen, and nothing else.
type learned struct {
	from      *route.Route
	suspended bool // from does not take these calls
	hosts     []string
	people    []person // empty: anybody
	gateway   string
	does      map[string]*tally // by operation
}

// learnedRoutes makes the routes in an order in which each call is taken by the
// one that stems from the route that took it: those of a route's own first, in
// the order of the configuration, and then the rest, which no route took.
//
// One whose calls were all taken whole keeps its methods and paths, and is
// narrower than the route that it stems from. Paths are never learned: what a
// path says can be a secret's name, and one that was not seen today is no less
// needed.
func learnedRoutes(calls []seen) []*learned {
	type like struct {
		from      *route.Route
		suspended bool
		hosts     string
		name      person
	}
	var all []*learned
	known := make(map[like]*learned)
	for i := range calls {
		c := &calls[i]
		if c.blocked == c.calls {
			continue // no restricted route takes them
		}
		hosts := hostsOf(c)
		k := like{c.from, c.suspended, list(hosts), c.name}
		if known[k] == nil {
			known[k] = &learned{from: c.from, suspended: c.suspended, hosts: hosts, people: []person{c.name}, does: make(map[string]*tally)}
			all = append(all, known[k])
		}
		known[k].add(c.operation, &c.tally)
	}
	all = joined(all)
	giveGateways(all)
	return all
}

// add counts the calls of an operation, of which one route may have seen some at
// each of its hosts.
func (l *learned) add(operation string, t *tally) {
	sum := l.does[operation]
	if sum == nil {
		sum = &tally{op: t.op}
		l.does[operation] = sum
	}
	sum.calls += t.calls
	sum.denied += t.denied
	for i := range sum.brought {
		sum.brought[i] += t.brought[i]
	}
}

// operations lists the operations, sorted.
func (l *learned) operations() []string { return slices.Sorted(maps.Keys(l.does)) }

// hostsOf gives the hosts of the route that takes the call. Where a service
// answers everybody at hosts of its own, as Resource Manager does, which of them
// it was says nothing: it sends callers on to the others.
func hostsOf(c *seen) []string {
	if len(c.from.Service.Hosts()) > 0 {
		return c.from.Hosts
	}
	if c.port == 443 || c.port == 80 || c.port == 0 {
		return []string{c.host}
	}
	return []string{net.JoinHostPort(c.host, strconv.Itoa(int(c.port)))}
}

// joined makes one route of those for several callers that differ in nothing
// else.
func joined(all []*learned) []*learned {
	type like struct {
		from              *route.Route
		suspended         bool
		hosts, operations string
	}
	var fewer []*learned
	first := make(map[like]*learned)
	for _, l := range all {
		k := like{l.from, l.suspended, list(l.hosts), list(l.operations())}
		f := first[k]
		if f == nil {
			first[k] = l
			fewer = append(fewer, l)
			continue
		}
		f.people = append(f.people, l.people...)
		for operation, t := range l.does {
			f.add(operation, t)
		}
	}
	for _, l := range fewer {
		if slices.Contains(l.people, person{}) {
			l.people = nil
		}
	}
	return fewer
}

// giveGateways has the first route for a gateway's host keep its name, which may
// be there once. Which route takes a call is no matter of the gateway.
func giveGateways(all []*learned) {
	given := make(map[string]bool)
	for _, l := range all {
		name := l.from.Gateway
		if name == "" || given[name] || !slices.ContainsFunc(l.hosts, func(h string) bool { return namesHost(h, l.from) }) {
			continue
		}
		given[name], l.gateway = true, name
	}
}

func namesHost(host string, r *route.Route) bool {
	if r.GatewayPort != 443 {
		return host == net.JoinHostPort(r.GatewayHost, strconv.Itoa(int(r.GatewayPort)))
	}
	return strings.TrimSuffix(host, ":443") == r.GatewayHost
}
