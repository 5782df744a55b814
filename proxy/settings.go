package proxy

import (
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/entra"
	"github.com/bearerd/bearerd/proxy/route"
)

// Settings are what can change while a Server runs. Routes is required.
type Settings struct {
	Routes          *route.Table
	Logins          *entra.Logins // those that are answered in Entra's place; nil: none
	RefuseUnmatched bool          // refuse hosts that no route names, instead of tunnelling
	Names           []string      // host names of ours beside the listeners' addresses
	AccessLog       AccessLog
}

// AccessLog says which requests get a line in the log.
type AccessLog uint8

// The zero value logs failed requests only.
const (
	AccessErrors AccessLog = iota // answers of 400 and above, and broken ones
	AccessAll
	AccessNone
)

// snapshot is Settings as requests read them: each one once, at its start.
// Immutable.
type snapshot struct {
	routes          *route.Table
	logins          *entra.Logins
	refuseUnmatched bool
	names           map[string]bool // as azure.NormalizeHost gives them
	access          AccessLog
}

func (s *Settings) snapshot() (*snapshot, error) {
	made := &snapshot{routes: s.Routes, logins: s.Logins, refuseUnmatched: s.RefuseUnmatched, names: make(map[string]bool, len(s.Names)), access: s.AccessLog}
	for _, name := range s.Names {
		host, _, err := azure.NormalizeHost(name)
		if err != nil {
			return nil, err
		}
		made.names[host] = true
	}
	return made, nil
}

// named reports whether calls to a host are judged: a route names it, or logins
// are answered there.
func (s *snapshot) named(host string) bool { return s.routes.Named(host) || s.logins.Names(host) }

// takesPort reports whether that is so on a port.
func (s *snapshot) takesPort(host string, port uint16) bool {
	return s.routes.PortRouted(host, port) || s.logins.Names(host) && (port == 443 || port == 80)
}

// baseTarget finds where the first segment of a base URL leads. The login host's
// is no route's.
func (s *snapshot) baseTarget(segment string) (*route.Route, hostPort, bool) {
	if hosts := s.logins.Hosts(); segment == entra.Gateway && len(hosts) > 0 {
		return nil, hostPort{hosts[0], 443}, true
	}
	return baseTarget(s.routes, segment)
}

// gateways lists the names of the base URLs.
func (s *snapshot) gateways() []string {
	names := s.routes.Gateways()
	if s.logins != nil {
		names = append(names, entra.Gateway)
	}
	return names
}

// tunnels reports whether a host may be tunnelled to: no route names it, and
// what no route names is not refused.
func (s *snapshot) tunnels(host string) bool { return !s.refuseUnmatched && !s.named(host) }

// Update has requests that start from now on follow other settings; those under
// way end by what they began with. Tunnels to hosts that are routed or refused
// now are closed, for nothing that goes through them can be judged. After an
// error the settings are as they were.
func (s *Server) Update(settings Settings) error {
	next, err := settings.snapshot()
	if err != nil {
		return err
	}
	s.settings.Store(next)
	s.tunnels.closeWhere(func(host string) bool { return !next.tunnels(host) })
	return nil
}
