package authority

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// renewHint ends what an operator reads where the authority cannot be used.
const renewHint = "run `bearerd ca init --renew` and make every app trust the new root"

// Root is the public half of an authority: what an app needs to trust it. Init,
// Load and Open make one; it is immutable and safe for concurrent use.
type Root struct {
	keys *keyPair
	more []*x509.Certificate // further roots to export
	path string
	hint string // what to do when it does not serve
}

// Init makes an authority for o.Permit, o.Also and o.Wildcards in o.Dir.
//
// Without renew it refuses to touch a file that exists (the error wraps
// fs.ErrExist). With renew nothing of the file is kept, nor looked at, nor of a
// staged one: root, intermediate and key are others, so that every app must be
// made to trust the new root, and a daemon that runs must be restarted. That is
// what makes a stolen key worthless. Stage is the way without a rush.
func Init(ctx context.Context, o Options, renew bool) (*Root, error) {
	f, err := o.ownFile()
	if err != nil {
		return nil, err
	}
	permit, err := permits(o.offered())
	if err != nil {
		return nil, err
	}
	keys, err := f.replace(ctx, permit, renew)
	if err != nil {
		return nil, err
	}
	return &Root{keys: keys, path: f.path, hint: f.hint}, nil
}

// Load reads the authority that Open would use, and makes none: the error wraps
// fs.ErrNotExist if there is none yet. It needs o.Dir, or o.CertFile and
// o.KeyFile, and does not ask whether the authority covers o.Permit; Covers does.
// It exports the roots of a staged and of a former authority too.
func Load(o Options) (*Root, error) {
	r, err := o.load()
	if err == nil && o.CertFile == "" {
		r, err = o.withOthers(r)
	}
	if err != nil {
		return nil, err
	}
	return r, r.checkDates()
}

func (o *Options) load() (*Root, error) {
	if o.CertFile != "" || o.KeyFile != "" {
		root, err := loadProvided(o.CertFile, o.KeyFile)
		if err == nil && o.RSA && !root.isRSA() {
			err = fmt.Errorf("authority: cert_file %s: clients that know RSA alone (a listener's rsa: true) need a chain of RSA keys; have it issued with those, or remove rsa", o.CertFile)
		}
		return root, err
	}
	if o.Dir == "" {
		return nil, errNoDir()
	}
	f := o.file()
	keys, err := f.load()
	if err != nil {
		return nil, err
	}
	return &Root{keys: keys, path: f.path, hint: f.hint}, nil
}

// create makes the authority on the first start.
func (o *Options) create(ctx context.Context, permit []string) (*Root, error) {
	f := o.file()
	keys, made, err := f.loadOrCreate(ctx, permit)
	if err != nil {
		return nil, err
	}
	r := &Root{keys: keys, path: f.path, hint: f.hint}
	if made {
		o.Logger.Info("made an authority; have apps trust its root (`bearerd ca export`, `bearerd ca bundle`)",
			zap.String("file", r.path), zap.String("sha256", r.Fingerprint()),
			zap.Strings("permitted", permit), zap.Time("expires", r.Expires()))
	}
	return r, nil
}

func (o *Options) file() *file {
	if o.RSA {
		return newRSAFile(o.Dir)
	}
	return newFile(o.Dir)
}

func (r *Root) isRSA() bool {
	return !slices.ContainsFunc(r.keys.chain, func(c *x509.Certificate) bool { return c.PublicKeyAlgorithm != x509.RSA })
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func errNoDir() error { return errors.New("authority: no directory to keep it in; set state_dir") }

// needed lists every name that the authority must cover.
func (o *Options) needed() []string { return slices.Concat(o.Permit, o.Wildcards) }

// offered lists every name that a new authority covers.
func (o *Options) offered() []string { return slices.Concat(o.Permit, o.Wildcards, o.Also) }

func (r *Root) checkDates() error {
	if err := r.keys.checkDates(); err != nil {
		return fmt.Errorf("authority: in %s, %w; correct the clock if it is wrong, else %s", r.path, err, r.hint)
	}
	return nil
}

// With gives r exporting the root of other as well: what RootPEM gives then
// holds both.
func (r *Root) With(other *Root) *Root {
	both := *r
	both.more = slices.Concat(r.more, other.roots())
	return &both
}

func (r *Root) roots() []*x509.Certificate {
	return append([]*x509.Certificate{r.keys.root()}, r.more...)
}

// RootPEM gives the root's certificate.
func (r *Root) RootPEM() []byte { return encodeCertificates(r.roots()...) }

// Expires says when the authority must have been renewed.
func (r *Root) Expires() time.Time { return r.keys.expires() }

// Fingerprint gives the root's SHA-256, written as openssl and browsers do.
func (r *Root) Fingerprint() string {
	sum := sha256.Sum256(r.keys.root().Raw)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}

// Permitted lists the DNS subtrees that the intermediate can sign for.
func (r *Root) Permitted() []string { return slices.Clone(r.keys.intermediate().PermittedDNSDomains) }

// Path names the file that the intermediate is in.
func (r *Root) Path() string { return r.path }

// Covers says whether the authority can sign for every one of names, DNS
// suffixes and hosts in lower case. The error names those that it cannot.
func (r *Root) Covers(names ...string) error {
	var missing []string
	for _, name := range names {
		if !r.keys.covers(name) && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("authority: the one in %s cannot sign for %s (it is limited to %s); %s",
			r.path, strings.Join(missing, ", "), strings.Join(r.Permitted(), ", "), r.hint)
	}
	return nil
}
