package daemon

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/cmd/internal/admin"
	"github.com/bearerd/bearerd/imds"
)

// principals remembers to whom the tokens of each identity are issued. Where the
// configuration names no id, IMDS picks the identity, and picks another once a
// policy gives the machine a system-assigned one: calls are then refused, or
// allowed, for no reason that an operator could see. What is remembered is said
// to people and decides nothing. It is a cache.Source, safe for concurrent use.
type principals struct {
	source  cache.Source
	changed func() // counts a change
	log     *zap.Logger
	now     func() time.Time

	mu    sync.Mutex // guards known
	known map[imds.Identity]principal
}

// principal is whom an identity's tokens are issued to, by their own claims.
type principal struct {
	imds.Claims
	previous  imds.Claims
	changedAt time.Time // zero: it has not changed
}

// Token implements cache.Source.
func (p *principals) Token(ctx context.Context, id imds.Identity, audience string) (*imds.Token, error) {
	token, err := p.source.Token(ctx, id, audience)
	if err == nil {
		if claims, err := token.Claims(); err == nil {
			p.note(id, claims)
		}
	}
	return token, err
}

// note takes over what a token says. Nothing is said of one without the claims.
func (p *principals) note(id imds.Identity, c imds.Claims) {
	if c.ObjectID == "" && c.ResourceID == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known, seen := p.known[id]
	switch {
	case !seen:
		p.known[id] = principal{Claims: c}
	case c.IssuedAt.Before(known.IssuedAt):
		// IMDS keeps a token a day for each audience: after a change those of
		// other audiences still tell how it was.
	case differ(c.ObjectID, known.ObjectID) || differ(c.ResourceID, known.ResourceID):
		p.known[id] = principal{Claims: c, previous: known.Claims, changedAt: p.now()}
		p.changed()
		p.warn(id, c, known.Claims)
	default:
		known.IssuedAt = c.IssuedAt
		known.ObjectID = cmp.Or(known.ObjectID, c.ObjectID)
		known.ResourceID = cmp.Or(known.ResourceID, c.ResourceID)
		p.known[id] = known
	}
}

// differ compares ids as Azure does. One that a token lacks tells nothing.
func differ(a, b string) bool { return a != "" && b != "" && !strings.EqualFold(a, b) }

func (p *principals) warn(id imds.Identity, now, before imds.Claims) {
	fields := []zap.Field{zap.Stringer("identity", id),
		zap.String("object_id", now.ObjectID), zap.String("resource_id", now.ResourceID),
		zap.String("previous_object_id", before.ObjectID), zap.String("previous_resource_id", before.ResourceID)}
	if id.Pinned() {
		p.log.Warn("the identity was replaced by another of the same name, which has none of its roles until they are assigned anew", fields...)
		return
	}
	if line := Pin(before); line != "" {
		fields = append(fields, zap.String("pin", line))
	}
	p.log.Warn("tokens are issued to another identity than before, for none is configured; pin the one that is meant", fields...)
}

// Pin gives the line of the configuration that keeps to the user-assigned
// identity of these claims; "" where they are no such identity's. A
// system-assigned one cannot be named, and is IMDS's choice wherever there is one.
func Pin(c imds.Claims) string {
	switch {
	case !c.UserAssigned():
		return ""
	case c.AppID != "":
		return fmt.Sprintf("identity: {client_id: %q}", c.AppID)
	}
	return fmt.Sprintf("identity: {resource_id: %q}", c.ResourceID)
}

// keep forgets the identities that no route has any more.
func (p *principals) keep(keys []cache.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.known, func(id imds.Identity, _ principal) bool {
		return !slices.ContainsFunc(keys, func(k cache.Key) bool { return k.Identity == id })
	})
}

// objectID gives the id of whom an identity's tokens are issued to; "" where that
// is not known.
func (p *principals) objectID(id imds.Identity) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[id].ObjectID
}

// status tells of all, sorted by name.
func (p *principals) status() []admin.Identity {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []admin.Identity
	for id, known := range p.known {
		shown := admin.Identity{
			Identity:  id.String(),
			Principal: admin.Principal{ObjectID: known.ObjectID, ResourceID: known.ResourceID},
			ChangedAt: known.changedAt,
		}
		if !known.changedAt.IsZero() {
			shown.Previous = &admin.Principal{ObjectID: known.previous.ObjectID, ResourceID: known.previous.ResourceID}
		}
		all = append(all, shown)
	}
	slices.SortFunc(all, func(a, b admin.Identity) int { return strings.Compare(a.Identity, b.Identity) })
	return all
}
