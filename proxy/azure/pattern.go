package azure

import (
	"maps"
	"strings"
)

// Pattern is a set of host names: one label in front of a suffix, or, where
// Zone is set, one label and a DNS zone. Names with more labels than that are
// not in it, for nobody has told who answers at them. Comparable.
type Pattern struct {
	Suffix string // as NormalizeHost gives it, without a leading dot
	// Zone is set for storage accounts in Azure DNS zones,
	// {account}.z{00-99}.{suffix}.
	Zone bool
}

// Match reports whether a host, as NormalizeHost gives it, is in the set.
func (p Pattern) Match(host string) bool {
	_, parent, ok := strings.Cut(host, ".")
	if !ok {
		return false
	}
	if p.Zone {
		parent, ok = cutZone(parent)
	}
	return ok && parent == p.Suffix
}

// Covers reports whether every host of q is in the set too.
func (p Pattern) Covers(q Pattern) bool {
	if p == q {
		return true
	}
	if !p.Zone || q.Zone {
		return false
	}
	suffix, ok := cutZone(q.Suffix)
	return ok && suffix == p.Suffix
}

// String gives the pattern as people write it.
func (p Pattern) String() string {
	if p.Zone {
		return "*.z{00-99}." + p.Suffix
	}
	return "*." + p.Suffix
}

// cutZone splits the label of a DNS zone, z00 to z99, off the front of a name.
func cutZone(name string) (rest string, ok bool) {
	if len(name) < 5 || name[0] != 'z' || !isDigit(name[1]) || !isDigit(name[2]) || name[3] != '.' {
		return name, false
	}
	return name[4:], true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// HostMap maps host names and patterns to values. A lookup costs at most three
// map accesses and no allocation; the most specific key wins: the exact host,
// then a pattern with its own label as the whole suffix, then one with a zone.
// The zero value is empty and ready.
type HostMap[V any] struct {
	hosts    map[string]V
	suffixes map[string]V
	zones    map[string]V
}

// SetHost maps one exact host.
func (m *HostMap[V]) SetHost(host string, v V) { set(&m.hosts, host, v) }

// SetPattern maps the hosts of a pattern.
func (m *HostMap[V]) SetPattern(p Pattern, v V) {
	if p.Zone {
		set(&m.zones, p.Suffix, v)
		return
	}
	set(&m.suffixes, p.Suffix, v)
}

// clone gives a copy that grows on its own.
func (m *HostMap[V]) clone() HostMap[V] {
	return HostMap[V]{maps.Clone(m.hosts), maps.Clone(m.suffixes), maps.Clone(m.zones)}
}

func set[V any](m *map[string]V, key string, v V) {
	if *m == nil {
		*m = make(map[string]V)
	}
	(*m)[key] = v
}

// Get gives the value of a host as NormalizeHost gives it.
func (m *HostMap[V]) Get(host string) (v V, ok bool) {
	if v, ok = m.hosts[host]; ok {
		return v, true
	}
	_, parent, ok := strings.Cut(host, ".")
	if !ok {
		return v, false
	}
	if v, ok = m.suffixes[parent]; ok {
		return v, true
	}
	if suffix, isZone := cutZone(parent); isZone {
		v, ok = m.zones[suffix]
	}
	return v, ok
}
