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
	"crypto/tls"
	"errors"

	"go.uber.org/zap"
)

// Options say where the authority is kept and what it may sign.
type Options struct {
	// Dir is where the authority's file is kept; it is made if it is missing.
	// Required, unless CertFile and KeyFile are set.
	Dir string
	// CertFile and KeyFile name an intermediate of the operator's own instead:
	// its certificate followed by its issuers' up to the root, and its key.
	// Both or none.
	CertFile, KeyFile string
	// Permit lists the DNS suffixes and hosts that the authority must be able
	// to sign for. At least one.
	Permit []string
	// Wildcards lists the suffixes that share one leaf: "vault.azure.net" gets
	// one for *.vault.azure.net.
	Wildcards []string
	// Routed says whether a host may have a leaf; host is lower case, without
	// port or trailing dot. Required by Open.
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
}

var errNotYet = errors.New("authority: not built yet")

// Open reads the authority, and makes it on the first start.
func Open(ctx context.Context, o Options) (*Authority, error) { return nil, errNotYet }

// Leaf gives the certificate for host.
func (a *Authority) Leaf(ctx context.Context, host string) (*tls.Certificate, error) {
	return nil, errNotYet
}

// Close stops renewing.
func (a *Authority) Close() error { return nil }
