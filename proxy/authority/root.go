package authority

import (
	"context"
	"time"
)

// Root is the public half of an authority: what an app needs to trust it. It is
// immutable. Init, Load and Open make one.
type Root struct{}

// Init makes a new authority in o.Dir (bearerd ca init).
func Init(ctx context.Context, o Options, renew bool) (*Root, error) { return nil, errNotYet }

// Load reads the authority without making one (bearerd ca export, ca bundle).
func Load(o Options) (*Root, error) { return nil, errNotYet }

// RootPEM gives the root's certificate.
func (r *Root) RootPEM() []byte { return nil }

// RootPKCS12 gives the root as a PKCS#12 trust store, as Java reads it.
func (r *Root) RootPKCS12(password string) ([]byte, error) { return nil, errNotYet }

// Bundle gives the system's roots and this one in one PEM.
func (r *Root) Bundle() ([]byte, error) { return nil, errNotYet }

// Expires says when the authority must have been renewed.
func (r *Root) Expires() time.Time { return time.Time{} }

// Fingerprint gives the root's SHA-256, as openssl and browsers write it.
func (r *Root) Fingerprint() string { return "" }

// Permitted lists the DNS subtrees that the authority can sign for.
func (r *Root) Permitted() []string { return nil }

// Covers says whether the authority can sign for every one of names.
func (r *Root) Covers(names ...string) error { return errNotYet }

// Path names the file that the authority was read from.
func (r *Root) Path() string { return "" }
