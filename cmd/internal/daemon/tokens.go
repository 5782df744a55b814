package daemon

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/imds"
)

// tokens keeps a cache for each source: the limits and pauses of one, such as a
// 429 of Entra's, are none of another's. It is safe for concurrent use, and
// Close ends it.
type tokens struct {
	open    func() *cache.Cache // makes one more
	machine *cache.Cache        // IMDS's, which is there from the start

	mu     sync.RWMutex // guards what follows
	others map[string]*cache.Cache
	closed bool
}

func newTokens(open func() *cache.Cache) *tokens {
	return &tokens{open: open, machine: open(), others: make(map[string]*cache.Cache)}
}

// of gives the cache of an identity's source.
func (t *tokens) of(id imds.Identity) *cache.Cache {
	if id.Source == "" {
		return t.machine
	}
	t.mu.RLock()
	c := t.others[id.Source]
	t.mu.RUnlock()
	if c != nil {
		return c
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return t.machine // which says that it is closed
	}
	if t.others[id.Source] == nil {
		t.others[id.Source] = t.open()
	}
	return t.others[id.Source]
}

// all gives every cache, IMDS's first.
func (t *tokens) all() []*cache.Cache {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := []*cache.Cache{t.machine}
	for _, c := range t.others {
		all = append(all, c)
	}
	return all
}

// Token implements proxy.Tokens.
func (t *tokens) Token(ctx context.Context, k cache.Key) (*imds.Token, error) {
	return t.of(k.Identity).Token(ctx, k)
}

// Renew implements proxy.Tokens.
func (t *tokens) Renew(ctx context.Context, k cache.Key, rejected *imds.Token) (*imds.Token, error) {
	return t.of(k.Identity).Renew(ctx, k, rejected)
}

// Keep is cache.Cache's, for all sources.
func (t *tokens) Keep(keys []cache.Key) error {
	wanted := make(map[*cache.Cache][]cache.Key)
	for _, k := range keys {
		c := t.of(k.Identity)
		wanted[c] = append(wanted[c], k)
	}
	var errs []error
	for _, c := range t.all() {
		errs = append(errs, c.Keep(wanted[c]))
	}
	return errors.Join(errs...)
}

// Status is cache.Cache's, for all sources.
func (t *tokens) Status() []cache.Status {
	var all []cache.Status
	for _, c := range t.all() {
		all = append(all, c.Status()...)
	}
	slices.SortFunc(all, cache.Status.Compare)
	return all
}

// Throttle tells how IMDS may be asked, whose limits are the whole machine's.
func (t *tokens) Throttle() (pausedUntil time.Time, rate float64) { return t.machine.Throttle() }

// Close forgets all tokens.
func (t *tokens) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	for _, c := range t.all() {
		c.Close()
	}
}
