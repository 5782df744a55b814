package learn

import (
	"cmp"
	"slices"
	"strings"

	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/route"
)

// seen is one kind of call and how often it was seen, for the report.
type seen struct {
	key
	tally
	from *route.Route
	name person
}

// person is a caller by the names of the configuration. The zero value is anybody.
type person struct{ user, certificate string }

// String names the caller for people.
func (w person) String() string {
	switch {
	case w.user != "":
		return "user " + quote(w.user)
	case w.certificate != "":
		return "certificate " + quote(w.certificate)
	}
	return "an unknown caller"
}

// named asks the system's database for the user's name, so no lock may be held.
func named(w who, c *caller.Caller) person {
	if account, ok := c.Account(); ok && w.known {
		return person{user: account.Name}
	}
	return person{certificate: w.certificate}
}

// snapshot is what a Recorder remembers, sorted.
type snapshot struct {
	calls   []seen
	logins  []seenLogin
	hosts   []seenHost
	dropped uint64
}

type seenLogin struct {
	loginKey
	login
	name person
}

type seenHost struct {
	host  string
	calls uint64
}

func (r *Recorder) snapshot() snapshot {
	s := r.copy()
	for i := range s.calls {
		s.calls[i].name = named(s.calls[i].who, s.calls[i].caller)
	}
	for i := range s.logins {
		s.logins[i].name = named(s.logins[i].who, s.logins[i].caller)
	}
	slices.SortFunc(s.calls, func(a, b seen) int {
		return cmp.Or(
			boolean(a.suspended)-boolean(b.suspended), cmp.Compare(a.from.Index, b.from.Index), strings.Compare(a.host, b.host),
			cmp.Compare(a.port, b.port), strings.Compare(a.name.String(), b.name.String()), strings.Compare(a.operation, b.operation),
		)
	})
	slices.SortFunc(s.logins, func(a, b seenLogin) int {
		return cmp.Or(strings.Compare(a.client, b.client), strings.Compare(a.audience, b.audience), strings.Compare(a.name.String(), b.name.String()))
	})
	slices.SortFunc(s.hosts, func(a, b seenHost) int { return strings.Compare(a.host, b.host) })
	return s
}

func (r *Recorder) copy() (s snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, t := range r.entries {
		s.calls = append(s.calls, seen{key: k, tally: *t, from: r.routes[k.route]})
	}
	for k, l := range r.logins {
		s.logins = append(s.logins, seenLogin{loginKey: k, login: *l})
	}
	for host, calls := range r.hosts {
		s.hosts = append(s.hosts, seenHost{host, calls})
	}
	s.dropped = r.dropped
	return s
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}
