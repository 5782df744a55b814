package route

import "github.com/bearerd/bearerd/proxy/azure"

// Source is what a call names beside its own path, and the decision on the call
// that would reach that by itself.
type Source struct {
	azure.Source
	Decision Decision
}

// Authorised reports whether the service is to read the source with the token of
// the route that takes the source. The attack is a source that is not Storage's,
// where the token would be shown to whoever answers there.
func (s *Source) Authorised() bool {
	return s != nil && s.TakesToken && s.Decision.Action == Inject && s.Decision.Route.Service.IsStorage()
}

// sourceAt gives the source that the call names to a service, decided on as a
// call of its own; nil where it names none.
func (m *matcher) sourceAt(s *azure.Service) *Source {
	op := m.operation(s)
	if m.sourceRead {
		return m.source
	}
	m.sourceRead = true
	found, ok := s.SourceOf(m.call, op)
	if !ok {
		return nil
	}
	m.source = &Source{Source: found}
	if found.Problem == "" {
		at := matcher{table: m.table, call: &m.source.Call, carrier: m.carrier, who: m.who, moves: found.Moves.Name, now: m.now}
		m.source.Decision = at.decide()
	}
	return m.source
}

// refusal tells why a restricted route takes no call with the source; "" where
// it does. What no route names is refused too, for one account has many names,
// and reads its own by whichever with the call's token.
func (s *Source) refusal() string {
	switch {
	case s == nil:
		return ""
	case s.Problem != "":
		return s.Problem
	case s.Decision.Action == Tunnel:
		return "no route names the host of the source; name it in a route that takes " + s.does()
	case s.Decision.Action == Refuse:
		return s.Decision.Reason
	case !s.Decision.Route.Service.IsStorage():
		return "the host of the source is not Storage's"
	}
	return ""
}

// does names what is done to the source.
func (s *Source) does() string {
	if s.Moves.Name != "" {
		return s.Moves.Name
	}
	return "its reading"
}
