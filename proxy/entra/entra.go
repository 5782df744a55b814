// Package entra answers which logins bearerd answers in Entra's place, and what:
// those of applications that log in with a client secret or a certificate, and
// are to stand for the machine instead, so that the secret can be deleted.
//
// It hides Entra's wire as its token endpoint speaks it. What it gives out is a
// placeholder: worth nothing anywhere, and replaced by the machine's token on
// the way to the one service that it was asked for. Like package route it sees a
// call as values and gives back a value; a call that it does not understand
// whole is passed on to Entra.
package entra

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

// Gateway is the name of the login host's base URL.
const Gateway = "entra"

// MaxForm bounds the body of a login that is judged; a longer one is passed on.
// A certificate's assertion is the longest part, of 2 to 4 KiB.
const MaxForm = 32 << 10

// Options are what Logins are made of. All are required.
type Options struct {
	Tenants []string // ids or domain names, as the applications write them
	Clients []string // ids of the applications
	Cloud   *azure.Cloud
	Routes  *route.Table
}

// Logins are the logins that are answered here. New makes them; they are
// immutable. A nil *Logins answers none and names no host.
type Logins struct {
	hosts    []string
	services [][]string      // the hosts of each login service that is known
	tenants  map[string]bool // in lower case
	clients  map[string]bool // in lower case
	routes   *route.Table
}

// New makes Logins.
func New(o Options) (*Logins, error) {
	l := &Logins{hosts: o.Cloud.Logins(), tenants: set(o.Tenants), clients: set(o.Clients), routes: o.Routes}
	if len(l.hosts) == 0 {
		return nil, fmt.Errorf("the cloud %s has no login host; name it under cloud.login", o.Cloud.Name)
	}
	if _, taken := o.Routes.Gateway(Gateway); taken {
		return nil, fmt.Errorf("a route has the gateway %q, which is the login host's; give the route's another name", Gateway)
	}
	if i := slices.IndexFunc(l.hosts, o.Routes.Named); i >= 0 {
		return nil, fmt.Errorf("a route names %s, where logins are answered; remove the host from the route", l.hosts[i])
	}
	l.services = append(l.services, l.hosts)
	for _, name := range azure.CloudNames() {
		if cloud, ok := azure.CloudNamed(name); ok && !slices.Equal(cloud.Logins(), l.hosts) {
			l.services = append(l.services, cloud.Logins())
		}
	}
	return l, nil
}

// CheckTenant reports what is wrong with the name of a tenant: an id, or a
// domain name.
func CheckTenant(tenant string) error {
	switch strings.ToLower(tenant) {
	case "":
		return errors.New("the tenant is empty; write its id or domain name")
	case "common", "organizations", "consumers":
		return fmt.Errorf("%q stands for any tenant, and applications log in to one; write its id or domain name", tenant)
	}
	if host, port, err := azure.NormalizeHost(tenant); err != nil || port != 0 || host != strings.ToLower(tenant) {
		return fmt.Errorf("%q is no tenant; write its id or domain name, as the application does", tenant)
	}
	return nil
}

func set(names []string) map[string]bool {
	s := make(map[string]bool, len(names))
	for _, name := range names {
		s[strings.ToLower(name)] = true
	}
	return s
}

// Hosts lists the login hosts, the one behind the base URL first. Not to be
// changed.
func (l *Logins) Hosts() []string {
	if l == nil {
		return nil
	}
	return l.hosts
}

// Names reports whether a host is a login host, whose calls are judged here.
func (l *Logins) Names(host string) bool { return l != nil && slices.Contains(l.hosts, host) }

// Action is what becomes of a call to a login host.
type Action uint8

// The actions.
const (
	Pass   Action = iota // forward it to Entra, untouched and without a token
	Read                 // the form decides: read it, and ask again
	Answer               // give Decision's answer
)

// Result is how a call to a login host ended, for metrics and logs.
type Result string

// The results.
const (
	Passed    Result = "passed"
	Described Result = "described" // a discovery document was given
	Answered  Result = "answered"  // with a placeholder
	Refused   Result = "refused"
)

// CodeLogin is the code of refusals: bearerd answers the login, and no route has
// what was asked for.
const CodeLogin = "BearerdLogin"

// Request is one call to a login host.
type Request struct {
	Call *azure.Call
	// Base is what the URLs in documents begin with, https://HOST or a base
	// URL's, without a slash at the end.
	Base string
	// Form is the whole body once it has been read. HasForm says that it has.
	Form    []byte
	HasForm bool
	Now     time.Time
}

// Decision is what becomes of a call, and why.
type Decision struct {
	Action Action
	Result Result
	Status int    // of an Answer
	Body   []byte // of an Answer, in JSON
	Code   string // of a refusal
	Reason string // for people; holds no value of the call's
	// Client and Audience are who logged in for what, of an Answer to a login.
	Client, Audience string
}

func pass(reason string) Decision { return Decision{Result: Passed, Reason: reason} }

// Decide says what becomes of a call to a login host.
func (l *Logins) Decide(r *Request) Decision {
	p, ok := parsePath(r.Call.Path)
	switch {
	case !ok:
		return pass("it is neither a login nor a discovery document")
	case p.document == instances:
		return l.instances(r)
	case !l.tenants[p.tenant]:
		return pass("entra.tenants does not list the tenant")
	case p.document == configuration:
		return l.configuration(r, p)
	case r.Call.Method != http.MethodPost || !isForm(r.Call):
		return pass("it is no login: that is a POST of a form")
	case r.Call.Length > MaxForm:
		return pass("its form is longer than any login's")
	case !r.HasForm:
		return Decision{Action: Read, Reason: "a login of a listed client with a secret or a certificate is answered here; any other is passed on"}
	}
	return l.token(r, p)
}

// document is what a path leads to.
type document uint8

const (
	instances     document = iota // the clouds' login hosts
	configuration                 // a tenant's endpoints (OpenID Connect Discovery 1.0, section 4)
	token                         // the token endpoint
)

// endpoint is a path of Entra's.
type endpoint struct {
	document document
	tenant   string // in lower case
	written  string // the same as the caller wrote it
	v2       bool
}

// parsePath reads the paths that are answered here, in any case as Entra does.
func parsePath(path string) (p endpoint, ok bool) {
	if strings.EqualFold(path, "/common/discovery/instance") {
		return endpoint{document: instances}, true
	}
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	p = endpoint{tenant: strings.ToLower(tenant), written: tenant}
	switch strings.ToLower(rest) {
	case "oauth2/token":
		p.document = token
	case "oauth2/v2.0/token":
		p.document, p.v2 = token, true
	case ".well-known/openid-configuration":
		p.document = configuration
	case "v2.0/.well-known/openid-configuration":
		p.document, p.v2 = configuration, true
	default:
		return endpoint{}, false
	}
	return p, true
}

func isForm(c *azure.Call) bool {
	if c.Header == nil {
		return false
	}
	value, count := c.Header.First("Content-Type")
	mediaType, _, _ := strings.Cut(value, ";")
	return count == 1 && strings.EqualFold(strings.TrimSpace(mediaType), "application/x-www-form-urlencoded")
}
