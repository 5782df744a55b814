package authority

import (
	"container/list"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/tls"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

const (
	// mints is how many leaves are made at once at most; callers of one name
	// share one place. It is far below maxHosts, so that a leaf is not forgotten
	// between being signed and being read.
	mints = 16
	// recheck is the least time between two questions to certmagic for a name.
	recheck = time.Minute
)

// leaves keeps the leaves of one kind: those of the wildcards, which certmagic
// renews by its timer and never forgets, or those of single hosts, which are
// bounded in number and renewed when they are asked for. Two kinds, so that a
// flood of host names cannot push out a wildcard.
//
// certmagic makes, stores and renews; leaves remembers its answers, because an
// answer of certmagic's costs more than a map's and it would share its waiting
// room for names with every other certmagic in the process. It is safe for
// concurrent use.
type leaves struct {
	prefix string // of a subject: "*." or nothing
	limit  int    // 0: any number
	config *certmagic.Config
	cache  *certmagic.Cache
	store  *store
	log    *zap.Logger
	gauge  *gauge

	seed  maphash.Seed
	slots [mints]chan struct{} // one mint for each, and one for each name

	mu     sync.Mutex // guards all below
	warm   map[string]*list.Element
	recent *list.List // of *warmLeaf, the one used last in front
	closed bool
}

type warmLeaf struct {
	key  string
	cert *tls.Certificate
	due  time.Time // to ask certmagic again
}

func newLeaves(prefix string, limit int, i *issuer, source certmagic.KeyGenerator, log *zap.Logger, g *gauge) *leaves {
	l := &leaves{
		prefix: prefix,
		limit:  limit,
		store:  newStore(limit),
		log:    log,
		gauge:  g,
		seed:   maphash.MakeSeed(),
		warm:   make(map[string]*list.Element),
		recent: list.New(),
	}
	for n := range l.slots {
		l.slots[n] = make(chan struct{}, 1)
	}
	quiet := quietLogger(log)
	l.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return l.config, nil },
		Capacity:         limit,
		Logger:           quiet,
	})
	config := certmagic.Config{
		Issuers:             []certmagic.Issuer{i},
		Storage:             l.store,
		KeySource:           source,
		RenewalWindowRatio:  renewalRatio,
		OCSP:                certmagic.OCSPConfig{DisableStapling: true}, // no network
		DisableARI:          true,                                        // no network
		DisableStorageCheck: true,                                        // memory needs none
		Logger:              quiet,
	}
	if limit > 0 {
		// Leaves the renewal of hosts that nobody asks for any more undone, and
		// holds all of certmagic's ways in to the same decision.
		config.OnDemand = &certmagic.OnDemandConfig{
			DecisionFunc: func(_ context.Context, name string) error { return i.allow(name) },
		}
	}
	l.config = certmagic.New(l.cache, config)
	return l
}

// sharedKey gives all leaves of a process one RSA key: making one takes a tenth
// of a second and more, for which callers who think up hosts could ask at will.
type sharedKey struct {
	generate func() (*rsa.PrivateKey, error)
}

// GenerateKey implements certmagic.KeyGenerator.
func (s *sharedKey) GenerateKey() (crypto.PrivateKey, error) { return s.generate() }

// quietLogger leaves certmagic's failures; it reports every step.
func quietLogger(log *zap.Logger) *zap.Logger {
	quiet := log.Named("certmagic")
	if quiet.Core().Enabled(zap.WarnLevel) {
		quiet = quiet.WithOptions(zap.IncreaseLevel(zap.WarnLevel))
	}
	return quiet
}

// get gives the leaf of prefix + key, made if there is none.
func (l *leaves) get(ctx context.Context, key string) (*tls.Certificate, error) {
	now := time.Now()
	if cert, err := l.remembered(key, now); cert != nil || err != nil {
		return cert, err
	}
	// All callers of a name meet at one slot, where the first makes the leaf and
	// the others find it. Each gives up when its own context ends.
	slot := l.slots[maphash.String(l.seed, key)%mints]
	select {
	case slot <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("authority: waiting for the leaf of %s%s: %w", l.prefix, key, ctx.Err())
	}
	defer func() { <-slot }()
	if cert, err := l.remembered(key, now); cert != nil || err != nil {
		return cert, err
	}
	// A caller that leaves must not take the leaf from those who wait.
	return l.renew(context.WithoutCancel(ctx), key)
}

// remembered gives a leaf that is not due yet, or nil.
func (l *leaves) remembered(key string, now time.Time) (*tls.Certificate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errClosed
	}
	element, ok := l.warm[key]
	if !ok {
		return nil, nil
	}
	leaf := element.Value.(*warmLeaf)
	if !now.Before(leaf.due) {
		return nil, nil
	}
	l.recent.MoveToFront(element)
	return leaf.cert, nil
}

// renew asks certmagic for the leaf, which it makes or renews if need be, and
// falls back to the one at hand as long as that is valid.
func (l *leaves) renew(ctx context.Context, key string) (*tls.Certificate, error) {
	cert, err := l.ask(ctx, l.prefix+key)
	now := time.Now()
	if err == nil {
		l.remember(key, cert, dueAt(cert, now))
		return cert, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if element, ok := l.warm[key]; ok {
		leaf := element.Value.(*warmLeaf)
		if now.Before(leaf.cert.Leaf.NotAfter) {
			l.log.Warn("a leaf could not be renewed; the one at hand is used until it expires",
				zap.String("name", l.prefix+key), zap.Time("expires", leaf.cert.Leaf.NotAfter), zap.Error(err))
			leaf.due = earlier(now.Add(recheck), leaf.cert.Leaf.NotAfter)
			return leaf.cert, nil
		}
	}
	return nil, err
}

func (l *leaves) ask(ctx context.Context, subject string) (*tls.Certificate, error) {
	// This makes what is missing, renews what is due and leaves the rest alone.
	if err := l.config.RenewCertSync(ctx, subject, false); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	l.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: subject}}) // the one before
	cert, err := l.config.CacheManagedCertificate(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("authority: reading the leaf of %s back: %w", subject, err)
	}
	return &cert.Certificate, nil
}

// dueAt gives the time from which certmagic renews cert.
func dueAt(cert *tls.Certificate, now time.Time) time.Time {
	life := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore)
	due := cert.Leaf.NotAfter.Add(-time.Duration(renewalRatio * float64(life)))
	// An authority near its end signs short leaves, which are due at once.
	return earlier(later(due, now.Add(recheck)), cert.Leaf.NotAfter)
}

func (l *leaves) remember(key string, cert *tls.Certificate, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if element, ok := l.warm[key]; ok {
		leaf := element.Value.(*warmLeaf)
		leaf.cert, leaf.due = cert, due
		l.recent.MoveToFront(element)
		return
	}
	// key may be a part of a caller's longer string, which must not be kept.
	key = cert.Leaf.DNSNames[0][len(l.prefix):]
	l.warm[key] = l.recent.PushFront(&warmLeaf{key: key, cert: cert, due: due})
	if l.limit > 0 && len(l.warm) > l.limit {
		delete(l.warm, l.recent.Remove(l.recent.Back()).(*warmLeaf).key)
		return
	}
	l.gauge.add(1)
}

// close ends certmagic's timer and what it is doing.
func (l *leaves) close() {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	if !closed {
		l.gauge.add(-len(l.warm))
		l.warm, l.recent = nil, list.New()
	}
	l.mu.Unlock()
	if !closed {
		l.cache.Stop()
		l.store.close()
	}
}

// gauge tells an observer a number in the order of its changes.
type gauge struct {
	observe func(int)
	mu      sync.Mutex // guards n, and orders the calls of observe
	n       int
}

func (g *gauge) add(delta int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n += delta
	g.observe(g.n)
}
