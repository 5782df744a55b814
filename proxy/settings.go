package proxy

import (
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

// Settings are what can change while a Server runs. Routes is required.
type Settings struct {
	Routes          *route.Table
	RefuseUnmatched bool     // refuse hosts that no route names, instead of tunnelling
	Names           []string // host names of ours beside the listeners' addresses
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
	refuseUnmatched bool
	names           map[string]bool // as azure.NormalizeHost gives them
	access          AccessLog
}

func (s *Settings) snapshot() (*snapshot, error) {
	made := &snapshot{routes: s.Routes, refuseUnmatched: s.RefuseUnmatched, names: make(map[string]bool, len(s.Names)), access: s.AccessLog}
	for _, name := range s.Names {
		host, _, err := azure.NormalizeHost(name)
		if err != nil {
			return nil, err
		}
		made.names[host] = true
	}
	return made, nil
}

// tunnels reports whether a host may be tunnelled to: no route names it, and
// what no route names is not refused.
func (s *snapshot) tunnels(host string) bool { return !s.refuseUnmatched && !s.routes.Named(host) }

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
