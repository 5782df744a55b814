package authority

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

// TLSALPNProtocol is what a validator of TLS-ALPN-01 asks for (RFC 8737). A
// connection with it carries nothing else, and is closed after the handshake.
const TLSALPNProtocol = "acme-tls/1"

const (
	// A failed attempt is repeated after the first of these, then after twice as
	// long each time, up to the second: authorities lock out who fails more
	// often than five times an hour for one name.
	firstACMERetry = time.Minute
	lastACMERetry  = time.Hour
	// leastRenewal keeps certificates that live for seconds from being ordered
	// without a pause.
	leastRenewal = 5 * time.Second
)

// ACMEOptions say where a certificate comes from, and for which names.
type ACMEOptions struct {
	Dir       string   // account, keys and certificates, mode 0700; required
	Directory string   // URL of the ACME server's directory; required
	Email     string   // the account's contact; empty: none
	Domains   []string // host names, a certificate for each; at least one
	// EABKeyID and EABKeyFile bind the account to one that exists at the server's
	// operator (RFC 8555, section 7.3.4). The file holds the key as the operator
	// gave it, in base64url. Both or none.
	EABKeyID, EABKeyFile string
	// HTTP is the address where HTTP-01 is answered while a challenge is under
	// way; port 80 of the domains must lead to it. The zero value asks for
	// TLS-ALPN-01 instead.
	HTTP netip.AddrPort
	// TLS is the address of the listener whose certificate this is. For
	// TLS-ALPN-01, port 443 of the domains must lead to it.
	TLS     netip.AddrPort
	RootCAs *x509.CertPool // what the server is verified against; nil: the system's
	Logger  *zap.Logger    // nil: nothing is logged
}

// ACME is a certificate for each of some names that is ordered, kept on disk and
// renewed when a third of its life is left. OpenACME makes one and Close ends it;
// it is safe for concurrent use.
type ACME struct {
	domains []string
	config  *certmagic.Config
	cache   *certmagic.Cache
	log     *zap.Logger

	work   sync.WaitGroup
	cancel context.CancelFunc

	mu    sync.Mutex // guards what follows
	certs map[string]*tls.Certificate
	errs  map[string]error // of the last attempt
}

// unattended keeps certmagic from asking whoever sits at a terminal.
type unattended struct{ *certmagic.ACMEIssuer }

// PreCheck implements certmagic.PreChecker.
func (u unattended) PreCheck(ctx context.Context, names []string, _ bool) error {
	return u.ACMEIssuer.PreCheck(ctx, names, false)
}

// OpenACME reads the certificates that are there already, and starts to order
// and renew in the background: a server that does not answer keeps nobody from
// starting. Errors are the configuration's.
func OpenACME(o ACMEOptions) (*ACME, error) {
	if o.Dir == "" || o.Directory == "" || len(o.Domains) == 0 {
		return nil, errors.New("authority: ACME needs a folder, a directory and a domain")
	}
	binding, err := o.binding()
	if err != nil {
		return nil, err
	}
	a := &ACME{domains: slices.Clone(o.Domains), log: orNop(o.Logger), certs: make(map[string]*tls.Certificate), errs: make(map[string]error)}
	quiet := quietLogger(a.log)
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.config, nil },
		Logger:           quiet,
	})
	a.config = certmagic.New(a.cache, certmagic.Config{
		Storage:            &certmagic.FileStorage{Path: o.Dir},
		KeySource:          certmagic.StandardKeyGenerator{KeyType: certmagic.P256},
		RenewalWindowRatio: renewalRatio,
		OCSP:               certmagic.OCSPConfig{DisableStapling: true},
		DisableARI:         true, // keep tells when to renew
		Logger:             quiet,
	})
	a.config.Issuers = []certmagic.Issuer{unattended{certmagic.NewACMEIssuer(a.config, o.issuer(binding, quiet))}}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	for _, domain := range a.domains {
		if err := a.load(ctx, domain); err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.log.Warn("the certificate that ACME gave earlier cannot be used; another one is ordered", zap.String("domain", domain), zap.Error(err))
		}
		a.work.Go(func() { a.keep(ctx, domain) })
	}
	return a, nil
}

func (o *ACMEOptions) issuer(binding *acme.EAB, log *zap.Logger) certmagic.ACMEIssuer {
	i := certmagic.ACMEIssuer{
		CA: o.Directory, TestCA: o.Directory, Email: o.Email,
		Agreed:                  true, // who names a directory has to: the documentation says so
		ExternalAccount:         binding,
		DisableHTTPChallenge:    !o.HTTP.IsValid(),
		DisableTLSALPNChallenge: o.HTTP.IsValid(),
		TrustedRoots:            o.RootCAs,
		Logger:                  log,
		// The environment's proxy may be bearerd itself.
		HTTPProxy: func(*http.Request) (*url.URL, error) { return nil, nil },
	}
	// certmagic listens there while a challenge is under way. Where the address
	// is taken, as by our own listener, it leaves the answer to GetCertificate.
	if o.HTTP.IsValid() {
		i.ListenHost, i.AltHTTPPort = o.HTTP.Addr().String(), int(o.HTTP.Port())
	} else {
		i.ListenHost, i.AltTLSALPNPort = o.TLS.Addr().String(), int(o.TLS.Port())
	}
	return i
}

// binding reads the key of the external account; nil where there is none.
func (o *ACMEOptions) binding() (*acme.EAB, error) {
	if (o.EABKeyID == "") != (o.EABKeyFile == "") {
		return nil, errors.New("authority: key_id and key_file of an external account belong together; set both or none")
	}
	if o.EABKeyID == "" {
		return nil, nil
	}
	info, err := os.Stat(o.EABKeyFile)
	if err == nil {
		err = checkKeyMode(o.EABKeyFile, info, "have another key issued")
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(o.EABKeyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("authority: the external account's key: %w; name a file that bearerd's user alone can read", err)
	}
	key := strings.TrimRight(string(bytes.TrimSpace(text)), "=")
	if _, err := base64.RawURLEncoding.DecodeString(key); err != nil || key == "" {
		// The error would show a part of it.
		return nil, fmt.Errorf("authority: the external account's key in %s is not in base64url; write the key as the ACME server's operator gave it", o.EABKeyFile)
	}
	return &acme.EAB{KeyID: o.EABKeyID, MACKey: key}, nil
}

// keep has a certificate of domain at hand until ctx ends.
func (a *ACME) keep(ctx context.Context, domain string) {
	retry := firstACMERetry
	for {
		wait := a.due(domain)
		if wait <= 0 {
			err := a.order(ctx, domain)
			if ctx.Err() != nil {
				return
			}
			if wait = a.due(domain); err != nil {
				a.log.Error("no certificate by ACME; the one at hand is used until it expires", zap.String("domain", domain), zap.Error(err), zap.Duration("retry", retry))
				wait, retry = retry, min(2*retry, lastACMERetry)
			} else {
				retry = firstACMERetry
			}
			wait = max(wait, leastRenewal)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// due gives the time until a certificate must be ordered or renewed.
func (a *ACME) due(domain string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	cert, ok := a.certs[domain]
	if !ok {
		return 0
	}
	life := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore)
	return time.Until(cert.Leaf.NotAfter.Add(-time.Duration(renewalRatio * float64(life))))
}

// order gets or renews the certificate, and shows it from then on.
func (a *ACME) order(ctx context.Context, domain string) error {
	err := a.config.RenewCertSync(ctx, domain, false)
	if err == nil {
		err = a.load(ctx, domain)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.errs[domain] = err
	if err == nil {
		a.log.Info("ACME gave a certificate", zap.String("domain", domain), zap.Time("expires", a.certs[domain].Leaf.NotAfter))
	}
	return err
}

// load shows what is on disk.
func (a *ACME) load(ctx context.Context, domain string) error {
	a.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: domain}}) // the one before
	cert, err := a.config.CacheManagedCertificate(ctx, domain)
	if err != nil {
		return fmt.Errorf("authority: reading the certificate of %s back: %w", domain, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.certs[domain] = &cert.Certificate
	return nil
}

// GetCertificate fits tls.Config: the certificate of the name that the caller
// asks for, of the first domain for any other, and a challenge's for a validator.
func (a *ACME) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if slices.Contains(hello.SupportedProtos, TLSALPNProtocol) {
		return a.config.GetCertificate(hello)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if cert, ok := a.certs[strings.ToLower(hello.ServerName)]; ok {
		return cert, nil
	}
	if cert, ok := a.certs[a.domains[0]]; ok {
		return cert, nil
	}
	return nil, errors.New("authority: there is no certificate by ACME yet")
}

// Expires gives the first end of a certificate; zero while one is missing.
func (a *ACME) Expires() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	var first time.Time
	for _, domain := range a.domains {
		cert, ok := a.certs[domain]
		if !ok {
			return time.Time{}
		}
		if first.IsZero() || cert.Leaf.NotAfter.Before(first) {
			first = cert.Leaf.NotAfter
		}
	}
	return first
}

// Err gives what failed in the last attempts; nil if nothing did.
func (a *ACME) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, domain := range a.domains {
		errs = append(errs, a.errs[domain])
	}
	return errors.Join(errs...)
}

// Close ends what is under way, and returns when nothing is any more.
func (a *ACME) Close() {
	a.cancel()
	a.work.Wait()
	a.cache.Stop()
}
