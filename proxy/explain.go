package proxy

import (
	"slices"
	"strings"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

// FieldChange is what becomes of one header field of a call.
type FieldChange struct {
	Name string
	// Value is what is set; empty where the field is dropped. The token's place
	// is named, not filled.
	Value string
}

// Gateway gives the call that one by base URL stands for: the upstream's, of the
// gateway that its path begins with. false: no gateway is called so.
func Gateway(c *azure.Call, s Settings) (*azure.Call, bool) {
	segment, rest, _ := strings.Cut(strings.TrimPrefix(c.Path, "/"), "/")
	_, at, ok := (&snapshot{routes: s.Routes, logins: s.Logins}).baseTarget(segment)
	if !ok {
		return nil, false
	}
	upstream := *c
	upstream.Scheme, upstream.Host, upstream.Port, upstream.Path = "https", at.host, at.port, "/"+rest
	return &upstream, true
}

// Gateways lists the names of the base URLs.
func Gateways(s Settings) []string {
	return (&snapshot{routes: s.Routes, logins: s.Logins}).gateways()
}

// Explain tells what would become of the header of a call that was decided on,
// sorted by name: what the forwarding paths do, without a token.
func Explain(c *azure.Call, d route.Decision) []FieldChange {
	if d.Action != route.Inject && d.Action != route.Pass {
		return nil
	}
	edits := editRequest(c, d, nil, false)
	var changes []FieldChange
	if c.Header != nil {
		for name := range c.Header.Each {
			if edits.drops(name) {
				changes = append(changes, FieldChange{Name: name})
			}
		}
	}
	for _, field := range edits.set {
		changes = append(changes, FieldChange(field))
	}
	if d.Action == route.Inject {
		changes = append(changes, FieldChange{"Authorization", "Bearer [token]"})
		if d.Source.Authorised() {
			changes = append(changes, FieldChange{sourceAuthorization, "Bearer [token]"})
		}
	}
	return onePerField(changes)
}

// onePerField sorts by name; where a field is dropped and set, the latter is
// what happens.
func onePerField(changes []FieldChange) []FieldChange {
	slices.SortStableFunc(changes, func(a, b FieldChange) int {
		if a.Name != b.Name {
			return strings.Compare(a.Name, b.Name)
		}
		return strings.Compare(b.Value, a.Value)
	})
	return slices.CompactFunc(changes, func(a, b FieldChange) bool { return a.Name == b.Name })
}
