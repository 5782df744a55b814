package route

import "net/http"

// Learning gives the same routes with their methods, paths and operations
// suspended, so that it can be seen what they would have to allow. Hosts, ports,
// callers, required fields, upgrades and Own hold as ever: whom a route does not
// name gets no token. A call that no route takes whole is for the one that comes
// closest.
func (t *Table) Learning() *Table {
	learning := *t
	learning.learns = true
	return &learning
}

// suspended gives the route that would come closest to taking the call, were
// there no methods, paths and operations; nil where none takes it even then.
func (m *matcher) suspended(candidates []candidate) *Route {
	if m.call.Method == http.MethodTrace || m.call.Method == http.MethodConnect {
		return nil
	}
	var closest *Route
	var best stage
	for i := range candidates {
		cand := &candidates[i]
		if m.reaches(cand).stage != whole || m.carries(cand.route).stage != whole {
			continue
		}
		if at := m.compare(cand).stage; closest == nil || at > best {
			closest, best = cand.route, at
		}
	}
	return closest
}

// obstacle tells why no route takes the call that names its operation and has no
// paths.
func (m *matcher) obstacle(r *Route) string {
	op := m.operation(r.Service)
	if !op.Understood() {
		return op.Reason
	}
	if d := r.Service.DisguiseOf(m.call, op, false, true); d.Reason != "" {
		return d.Reason
	}
	return m.sourceAt(r.Service).refusal()
}

// Upgrades lists what the route lets a call switch to; nil: nothing.
func (r *Route) Upgrades() []string {
	if r.websocket {
		return []string{"websocket"}
	}
	return nil
}

// RequiredHeader gives the fields that a call must carry, by name.
func (r *Route) RequiredHeader() map[string]string {
	required := make(map[string]string, len(r.header))
	for _, field := range r.header {
		required[field.Name] = field.Value
	}
	return required
}
