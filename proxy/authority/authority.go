// Package authority answers one question: which certificate does an
// intercepted caller see, and why would it trust it.
//
// It hides the local CA (a root whose key no longer exists and one
// name-constrained intermediate, kept in one file), how leaves are minted and
// renewed, and the formats in which runtimes want a root that they shall trust.
// It is the only importer of certmagic.
package authority

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

const (
	// maxHosts bounds the leaves of single hosts; wildcards are beside it.
	maxHosts = 1024
	// expiryNotice is how long before its end an operator is told at a start.
	expiryNotice = 60 * 24 * time.Hour
)

// Options say where the authority is kept and what it may sign.
type Options struct {
	// Dir is where the authority's file is kept (authority.pem, mode 0600, with
	// a lock beside it). It is made with mode 0700 if it is missing, and refused
	// if others may write to it. Required, unless CertFile and KeyFile are set.
	//
	// On Windows modes mean nothing: give the directory an access control list
	// that lets in bearerd's user alone.
	Dir string
	// CertFile and KeyFile name an intermediate of the operator's own instead:
	// its certificate followed by its issuers' up to and with the root, and its
	// key. It is refused unless it is as limited as one of ours. Both or none.
	CertFile, KeyFile string
	// RSA asks for the authority whose chain and leaves have RSA keys, for clients
	// that know no others. It has a file of its own (authority-rsa.pem) and a root
	// of its own; CertFile must then be an RSA intermediate.
	RSA bool
	// Permit lists the DNS suffixes and hosts that the authority must be able
	// to sign for, in lower case. At least one of Permit, Also and Wildcards.
	Permit []string
	// Also lists names that an authority which is made now is permitted to sign
	// for besides, so that a route that comes later needs no other one. An
	// authority that exists need not cover them.
	Also []string
	// Wildcards lists the suffixes whose direct subdomains share one leaf:
	// "vault.azure.net" gets one for *.vault.azure.net. They are permitted too.
	// Suffixes of a single label are not used, for clients do not take "*.corp".
	Wildcards []string
	// Routed says whether a host may have a leaf; host is lower case, without
	// port or trailing dot. It is asked at every Leaf, so that it may follow a
	// reloaded configuration, and when a leaf is renewed. Required by Open.
	Routed func(host string) bool
	// Logger takes what an operator should know; nil: nothing is logged.
	Logger *zap.Logger
	// Observe is told the number of leaves in memory whenever it changes; nil:
	// nobody is. It must return quickly and not call the Authority.
	Observe func(leaves int)
}

// Authority mints the leaves that intercepted callers see. Open makes one; it
// is safe for concurrent use, and Close ends it.
type Authority struct {
	*Root
	routed    func(host string) bool
	wildcards map[string]bool // suffixes
	shared    *leaves         // by suffix
	single    *leaves         // by host
}

// Open reads the authority, or makes it on the first start, and mints the
// leaves of o.Wildcards. It fails if the authority is damaged, out of date, open
// to strangers, or does not cover o.Permit and o.Wildcards.
func Open(ctx context.Context, o Options) (*Authority, error) {
	if o.Routed == nil {
		return nil, errors.New("authority: Options.Routed is missing")
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Observe == nil {
		o.Observe = func(int) {}
	}
	root, err := o.loadOrCreate(ctx)
	if err != nil {
		return nil, err
	}
	a := &Authority{Root: root, routed: o.Routed, wildcards: make(map[string]bool)}
	for _, suffix := range o.Wildcards {
		// OpenSSL and Java want two dots at least in a wildcard.
		a.wildcards[suffix] = strings.Contains(suffix, ".")
	}
	i := newIssuer(root.keys, a.allow)
	g := &gauge{observe: o.Observe}
	var source certmagic.KeyGenerator = certmagic.StandardKeyGenerator{KeyType: certmagic.P256}
	if o.RSA {
		source = &sharedKey{generate: sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })}
	}
	a.shared = newLeaves("*.", 0, i, source, o.Logger, g)
	a.single = newLeaves("", maxHosts, i, source, o.Logger, g)
	for suffix, used := range a.wildcards {
		if !used {
			continue
		}
		if err := ctx.Err(); err != nil {
			a.Close()
			return nil, fmt.Errorf("authority: minting the first leaves: %w", err)
		}
		if _, err := a.shared.get(ctx, suffix); err != nil {
			a.Close()
			return nil, err
		}
	}
	return a, nil
}

func (o *Options) loadOrCreate(ctx context.Context) (*Root, error) {
	permit, err := permits(o.offered())
	if err != nil {
		return nil, err
	}
	root, err := o.load()
	if isMissing(err) && o.CertFile == "" {
		root, err = o.create(ctx, permit)
	}
	if err != nil {
		return nil, err
	}
	if err := errors.Join(root.checkDates(), root.Covers(o.needed()...)); err != nil {
		return nil, err
	}
	if time.Until(root.Expires()) < expiryNotice {
		o.Logger.Warn("the authority expires soon; "+root.hint, zap.String("file", root.path), zap.Time("expires", root.Expires()))
	}
	return root, nil
}

// Leaf gives the certificate, with its key and the chain but for the root, that
// a caller of host sees. host is a DNS name in any case, without port; a
// trailing dot is ignored. The answer is shared: it must not be changed.
//
// A name that no route has gets none. Making one takes about a millisecond of
// processor time, once for all who ask at the same time; ctx bounds the wait for
// it. A leaf that is there costs a map's look-up.
func (a *Authority) Leaf(ctx context.Context, host string) (*tls.Certificate, error) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if !a.routed(host) {
		return nil, notRouted(host)
	}
	if label, suffix, ok := strings.Cut(host, "."); ok && a.wildcards[suffix] && label != "" {
		return a.shared.get(ctx, suffix)
	}
	return a.single.get(ctx, host)
}

// allow decides for the issuer, and so also where certmagic renews by itself.
func (a *Authority) allow(name string) error {
	host, wildcard := wildcardSuffix(name)
	switch {
	case wildcard && !a.wildcards[host]:
		return fmt.Errorf("authority: no leaf is configured for %q", name)
	case !wildcard && !a.routed(name):
		return notRouted(name)
	}
	if err := checkHost(host); err != nil {
		return fmt.Errorf("authority: no leaf for %q: %w", name, err)
	}
	return a.Covers(host)
}

func notRouted(host string) error {
	return fmt.Errorf("authority: no leaf for %q: no route names it", host)
}

// Close forgets all leaves, and returns when nothing is at work any more.
func (a *Authority) Close() error {
	a.shared.close()
	a.single.close()
	return nil
}
