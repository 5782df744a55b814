package source

import (
	"context"
	"sync"

	"github.com/bearerd/bearerd/imds"
)

// Mux asks, for each identity, the source that it names, and opens it at its
// first use. An identity without a source is IMDS's. It is safe for concurrent
// use.
type Mux struct {
	imds    Source
	options Options

	// mu guards opened.
	mu     sync.Mutex
	opened map[string]Source
}

// NewMux makes a Mux that asks machine for what is IMDS's, and sources made of
// the options for the rest.
func NewMux(machine Source, o Options) *Mux {
	return &Mux{imds: machine, options: o, opened: map[string]Source{}}
}

// Token makes one attempt to get a token. Every failure of a source other than
// IMDS is an *imds.Error.
func (m *Mux) Token(ctx context.Context, id imds.Identity, audience string) (*imds.Token, error) {
	if id.Source == "" || id.Source == IMDS {
		return m.imds.Token(ctx, id, audience)
	}
	s, err := m.open(id.Source)
	if err != nil {
		return nil, refuse(imds.Misconfigured, id, audience, err, "correct identity.source or bearerd's environment, and restart it")
	}
	return s.Token(ctx, id, audience)
}

// open gives the source of that name. One that cannot be opened is tried again
// at the next attempt.
func (m *Mux) open(name string) (Source, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.opened[name]; ok {
		return s, nil
	}
	s, err := Open(name, m.options)
	if err != nil {
		return nil, err
	}
	m.opened[name] = s
	return s, nil
}
