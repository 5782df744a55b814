package azuretest

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The public names that a Cloud answers to unless told of others.
const (
	VaultHost = "payroll.vault.azure.net"
	BlobHost  = "acct.blob.core.windows.net"
	ARMHost   = "management.azure.com"
)

// Options configure a Cloud.
type Options struct {
	Tenant string         // whose tokens are taken
	Key    *rsa.PublicKey // by which they are verified; required
	IMDS   http.Handler   // the machine's metadata service; nil: none

	// Hosts are the public names of vaults, blob accounts and Resource Manager
	// to answer to; nil means one of each, as above.
	Hosts []string
	// Others are further services by host, behind the same guard. See Protect.
	Others map[string]http.Handler
	// HTTP1 has the services speak HTTP/1.1 alone, as Storage does.
	HTTP1 bool
	// PageSize of all lists; 0 means 2.
	PageSize int
	// ARM is for Resource Manager alone. Its Tokens and PageSize are not used.
	ARM ARMOptions
}

// Cloud is an emulated Azure on loopback: every service under its public name,
// by TLS, at one address. Whoever starts it closes it.
type Cloud struct {
	Vault    *Vault
	Blobs    *Blobs
	ARM      *ResourceManager
	Tokens   *Verifier
	Recorder *Recorder

	hosts     map[string]http.Handler
	authority *authority
	address   string // of the services
	imds      string // of the metadata service
	servers   []*http.Server
	running   sync.WaitGroup
}

// Start starts a Cloud.
func Start(o Options) (*Cloud, error) {
	tokens := NewVerifier(o.Tenant, o.Key, nil)
	o.ARM.Tokens, o.ARM.PageSize = tokens, o.PageSize
	c := &Cloud{
		Vault:    NewVault(VaultOptions{Tokens: tokens, PageSize: o.PageSize}),
		Blobs:    NewBlobs(BlobsOptions{Tokens: tokens, PageSize: o.PageSize}),
		ARM:      NewARM(o.ARM),
		Tokens:   tokens,
		Recorder: new(Recorder),
		hosts:    maps.Clone(o.Others),
	}
	if c.hosts == nil {
		c.hosts = make(map[string]http.Handler)
	}
	if o.Hosts == nil {
		o.Hosts = []string{VaultHost, BlobHost, ARMHost}
	}
	for _, host := range o.Hosts {
		h, err := c.service(host)
		if err != nil {
			return nil, err
		}
		c.hosts[host] = h
	}
	if err := c.listen(o); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// service finds which fake answers to a host.
func (c *Cloud) service(host string) (http.Handler, error) {
	switch {
	case strings.HasSuffix(host, ".vault.azure.net"):
		return c.Vault, nil
	case strings.HasSuffix(host, ".blob.core.windows.net"), strings.HasSuffix(host, ".blob.storage.azure.net"):
		return c.Blobs, nil
	case host == ARMHost, strings.HasSuffix(host, "."+ARMHost):
		return c.ARM, nil
	}
	return nil, fmt.Errorf("emulate %s: no vault, blob account or Resource Manager has such a name; put its handler into Others", host)
}

func (c *Cloud) listen(o Options) error {
	var err error
	if c.authority, err = newAuthority(time.Now()); err != nil {
		return fmt.Errorf("make the emulated services' authority: %w", err)
	}
	cert, err := c.authority.issue(slices.Sorted(maps.Keys(c.hosts)))
	if err != nil {
		return fmt.Errorf("make the emulated services' certificate: %w", err)
	}
	config := &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if c.hosts[h.ServerName] == nil {
			return nil, fmt.Errorf("no service is called %q", h.ServerName)
		}
		return &cert, nil
	}}
	front := c.Recorder.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The guard holds Host to the name that TLS was for, which has a service.
		c.hosts[r.TLS.ServerName].ServeHTTP(w, r)
	}))
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!o.HTTP1)
	if c.address, err = c.serve(front, config, protocols); err != nil || o.IMDS == nil {
		return err
	}
	c.imds, err = c.serve(o.IMDS, nil, nil)
	return err
}

// serve runs a server on a loopback listener of its own until Close.
func (c *Cloud) serve(h http.Handler, config *tls.Config, protocols *http.Protocols) (address string, err error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen for an emulated service: %w", err)
	}
	s := &http.Server{
		Handler: h, TLSConfig: config, Protocols: protocols, ReadHeaderTimeout: time.Minute,
		// A failed handshake is for the caller to report.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	c.servers = append(c.servers, s)
	c.running.Go(func() {
		if config == nil {
			_ = s.Serve(l) // always ErrServerClosed, by Close
		} else {
			_ = s.ServeTLS(l, "", "")
		}
	})
	return l.Addr().String(), nil
}

// Close ends all listeners and connections.
func (c *Cloud) Close() error {
	var err error
	for _, s := range c.servers {
		err = errors.Join(err, s.Close())
	}
	c.running.Wait()
	return err
}

// CAPEM is the certificate of the authority to trust, for upstream.ca_file.
func (c *Cloud) CAPEM() []byte { return c.authority.pem() }

// ConnectTo leads every public name to where it is emulated, for upstream.connect_to.
func (c *Cloud) ConnectTo() map[string]string {
	to := make(map[string]string, len(c.hosts))
	for host := range c.hosts {
		to[host] = c.address
	}
	return to
}

// IMDSEndpoint is the URL of the metadata service, for imds.endpoint.
func (c *Cloud) IMDSEndpoint() string { return "http://" + c.imds }

// Transport gives a way to the services without a proxy in between. It dials
// nothing else. The caller closes its idle connections.
func (c *Cloud) Transport() *http.Transport {
	roots := x509.NewCertPool()
	roots.AddCert(c.authority.cert)
	return &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(addr)
			if err != nil || c.hosts[host] == nil || port != "443" {
				return nil, fmt.Errorf("dial %s: not an emulated service", addr)
			}
			return new(net.Dialer).DialContext(ctx, network, c.address)
		},
	}
}

// Protect has calls to next refused, in the way of RFC 6750, that bring no
// valid token for the audience.
func Protect(tokens *Verifier, audience string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, err := tokens.Verify(r.Header.Get("Authorization"), audience)
		if err != nil {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="`+err.Error()+`"`)
			writeError(w, http.StatusUnauthorized, "Unauthorized", err.Error())
			return
		}
		noteCaller(r, claims)
		next.ServeHTTP(w, r)
	})
}
