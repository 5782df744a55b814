package daemon

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/proxy"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

// DefaultPath is where the configuration is looked for when nobody names it.
const DefaultPath = "/etc/bearerd/bearerd.yaml"

// Config is the whole configuration, checked and with its defaults filled in.
// Default, Load and Parse make it; it is not to be changed afterwards, and then
// safe for concurrent use.
type Config struct {
	Identity        imds.Identity // of routes that name none; zero: IMDS's own default
	RefuseUnmatched bool          // refuse hosts that no route names, instead of tunnelling
	Own             route.Own     // of routes that say nothing; default pass
	Names           []string      // more host names of ours, as azure.NormalizeHost gives them
	Listen          []Listener    // where callers connect; default 127.0.0.1:8180, never empty
	Entra           Entra
	IMDS            IMDS
	Upstream        Upstream
	Limits          Limits
	Drain           Drain
	Redirect        Redirect
	Authority       Authority
	StateDir        string // the authority's folder; default /var/lib/bearerd
	Admin           Admin
	Audit           Audit
	Log             Log

	cloud     cloudSetting
	routes    []routeSetting
	hasRoutes bool // false: the default ones
	source    source
}

// Address is a TCP address or the path of a unix socket. Exactly one is set.
type Address struct {
	TCP  netip.AddrPort // port 0: any free one
	Unix string         // absolute path
}

// Listener is one address where callers connect.
type Listener struct {
	Address Address
	Mode    Mode
	Host    string // of callers without SNI, where Mode is ModeTransparent; empty: none
	// InsecureAllowNetwork is set where everybody who reaches the address may
	// use the machine's identity. Without it, TCP addresses are loopback's.
	InsecureAllowNetwork bool
	TLS                  TLS
	// ProxyProtocolFrom are the load balancers whose PROXY protocol header, which
	// each of their connections must then begin with, tells the caller's address.
	ProxyProtocolFrom []netip.Prefix
}

// TLS is how a listener's callers are spoken to: MinVersion and RSA hold for
// every TLS on it, the intercepted calls' included. The listener itself speaks
// TLS where it has a certificate of its own (IsServed).
type TLS struct {
	MinVersion uint16 // default TLS 1.2
	RSA        bool   // take clients that know neither ECDSA nor key exchange with forward secrecy
	// The certificate is that of CertFile and KeyFile, or the local authority's
	// for Config.Names, or ACME's; at most one of them.
	CertFile, KeyFile string
	Authority         bool
	ACME              ACME
	ClientCA          string // file of the authorities whose certificates callers must show; empty: none
}

// ACME is where a listener's certificate is ordered.
type ACME struct {
	Directory string   // URL; empty: there is no ACME
	Email     string   // the account's contact; may be empty
	Domains   []string // in lower case
	EAB       EAB
	// HTTPAddress answers HTTP-01 while a challenge is under way; not valid:
	// TLS-ALPN-01 on the listener itself.
	HTTPAddress netip.AddrPort
}

// EAB is the external account that the ACME account is bound to; both or none.
type EAB struct {
	KeyID   string
	KeyFile string
}

// IsServed reports whether the listener itself speaks TLS.
func (t *TLS) IsServed() bool { return t.CertFile != "" || t.Authority || t.ACME.Directory != "" }

// Mode is what a listener answers.
type Mode uint8

// The modes of listeners.
const (
	ModeExplicit    Mode = iota // proxy requests and base URLs
	ModeIMDS                    // apps that ask IMDS for tokens by themselves
	ModeTransparent             // connections that were meant for others
)

// String gives the configuration's word.
func (m Mode) String() string {
	return [...]string{ModeExplicit: "explicit", ModeIMDS: "imds", ModeTransparent: "transparent"}[m]
}

// Entra is whose logins are answered in Entra's place: those of Clients in
// Tenants. Both are empty, or none.
type Entra struct {
	Tenants []string // ids or domain names
	Clients []string // ids
}

func (e *Entra) answers() bool { return len(e.Clients) > 0 }

// IMDS is how tokens are asked for. The limits of IMDS, 20 requests a second
// and 5 at once, are the whole machine's
// (https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service#rate-limiting).
type IMDS struct {
	Endpoint    string        // scheme and authority; default imds.DefaultEndpoint
	Rate        float64       // requests a second, over 0 to 20; default 5
	Burst       int           // requests at once after a pause, 1 to 20; default 5
	Concurrency int           // requests in flight, 1 to 5; default 2
	TokenWait   time.Duration // of a call without a token, 0 to 5 m; default 10 s
	IdleAfter   time.Duration // without a use, after which a token is no longer refreshed, 1 m to 30 d; default 24 h
}

// Upstream is the way out.
type Upstream struct {
	CAFile  string         // PEM; empty: none
	RootCAs *x509.CertPool // the system's roots and CAFile's; nil: the system's alone
	// ConnectTo gives IP:PORT to dial for "host" or "host:port", as package dial
	// takes it. The certificate must still be the host's.
	ConnectTo map[string]string
	// AllowAddresses are the loopback, link-local and metadata addresses that
	// tunnels may reach.
	AllowAddresses []netip.Prefix
	// Resolvers are the DNS servers to ask. Empty: as the system is set up, and
	// without its hosts file where a listener is transparent.
	Resolvers []netip.AddrPort
}

// Limits bound what callers can make the proxy hold. Those of package proxy are
// all set: HeaderBytes 4 KiB to 1 MiB (default 64 KiB), HeaderTimeout 1 s to 5 m
// (10 s), IdleTimeout 1 s to 1 h (90 s), Streams 1 to 10,000 (250), Spool 1 KiB
// to 16 MiB (64 KiB), SpoolTotal Spool to 16 GiB (64 MiB).
type Limits struct {
	proxy.Limits
	Connections          int // of all callers, 1 to 1,000,000; default 10,000
	ConnectionsPerCaller int // 1 to 1,000,000; default 2,000
}

const maxDrain = time.Hour

// Drain is what becomes of the calls under way when the daemon is told to end.
type Drain struct {
	Min time.Duration // goes on accepting for so long, 0 to 1 h; default 0
	Max time.Duration // then breaks off what is left, Min to 1 h; default 30 s
}

// Authority is the local CA.
type Authority struct {
	// CertFile and KeyFile are an intermediate of the operator's own; both or
	// none. Empty: the one in StateDir.
	CertFile, KeyFile string
	// Permit are DNS suffixes and hosts, in lower case, that the authority may
	// sign for beside the routes' own.
	Permit []string
}

// Admin is the listener of probes, metrics and the status page.
type Admin struct {
	Address Address // default 127.0.0.1:9180
}

// Audit is the stream of what was done with the machine's identity.
type Audit struct {
	To     string // audit.Journald, audit.Stdout or an absolute path; empty: there is none
	Refuse bool   // calls while it cannot be written; default false: they go on
}

// Log is what the daemon writes, and how.
type Log struct {
	Level  zapcore.Level   // debug to error; default info
	Format string          // LogAuto (default), LogJSON or LogConsole
	Access proxy.AccessLog // default proxy.AccessErrors
}

// The values of Log.Format.
const (
	LogAuto    = "auto" // LogConsole on a terminal, else LogJSON
	LogJSON    = "json"
	LogConsole = "console"
)

// cloudSetting is one of the catalogue's clouds by name, "auto", or a cloud
// that the file defines.
type cloudSetting struct {
	name       string
	definition *azure.Definition // nil: name counts
	file       string            // of an answer of /metadata/endpoints, which the definition starts from; empty: none
	fromFile   int               // how many of the definition's services are the file's, which come first
}

const autoCloud = "auto"

// routeSetting is one entry of routes.
type routeSetting struct {
	rule        route.Rule
	hasIdentity bool // replaces the process's whole, even where it is empty
	hasOwn      bool
}

// Default gives the configuration that holds where there is no file.
func Default() *Config {
	return &Config{
		Listen: []Listener{{Address: loopback(8180)}},
		IMDS:   IMDS{Endpoint: imds.DefaultEndpoint, Rate: 5, Burst: 5, Concurrency: 2, TokenWait: 10 * time.Second, IdleAfter: 24 * time.Hour},
		Limits: Limits{
			Limits: proxy.Limits{
				HeaderBytes:   64 << 10,
				HeaderTimeout: 10 * time.Second,
				IdleTimeout:   90 * time.Second,
				Streams:       250,
				Spool:         64 << 10,
				SpoolTotal:    64 << 20,
			},
			Connections:          10_000,
			ConnectionsPerCaller: 2_000,
		},
		Drain:    Drain{Max: 30 * time.Second},
		Redirect: Redirect{DaemonUser: "bearerd", Ports: []int{443, 80}, ReportFile: "/run/bearerd-redirect.json"},
		StateDir: "/var/lib/bearerd",
		Admin:    Admin{Address: loopback(9180)},
		Log:      Log{Level: zapcore.InfoLevel, Format: LogAuto, Access: proxy.AccessErrors},
		cloud:    cloudSetting{name: autoCloud},
	}
}

func loopback(port uint16) Address {
	return Address{TCP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)}
}

// Network gives what net.Listen takes: the network and the address.
func (a Address) Network() (network, address string) {
	if a.Unix != "" {
		return "unix", a.Unix
	}
	return "tcp", a.TCP.String()
}

// String gives the address as the configuration writes it.
func (a Address) String() string {
	if a.Unix != "" {
		return "unix:" + a.Unix
	}
	return a.TCP.String()
}

// asksDNS reports whether names are resolved without the system's help: what
// steers apps to a transparent listener would steer us too.
func (c *Config) asksDNS() bool {
	return len(c.Upstream.Resolvers) > 0 || c.isTransparent()
}

// isTransparent reports whether a listener is.
func (c *Config) isTransparent() bool {
	return slices.ContainsFunc(c.Listen, func(l Listener) bool { return l.Mode == ModeTransparent })
}

// takesRSA reports whether a listener takes clients that know RSA alone.
func (c *Config) takesRSA() bool {
	return slices.ContainsFunc(c.Listen, func(l Listener) bool { return l.TLS.RSA })
}

// WithDrain gives the configuration with another Drain, which a command line
// may set.
func (c *Config) WithDrain(drain Drain) (*Config, error) {
	if drain.Min < 0 || drain.Max > maxDrain || drain.Min > drain.Max {
		return nil, fmt.Errorf("calls cannot be let end within %s, the first %s of which still take new ones; write up to %s for both, and make the maximum the longer one", showDuration(drain.Max), showDuration(drain.Min), showDuration(maxDrain))
	}
	next := *c
	next.Drain = drain
	return &next, nil
}

// IsLocal reports whether the machine's own processes alone reach the address.
func (a Address) IsLocal() bool { return a.Unix != "" || a.TCP.Addr().Unmap().IsLoopback() }
