// Package learn answers what an application needs: which operations were seen,
// by whom and where, and so which routes and which roles are the least that would
// do.
//
// It hides what is remembered of a call and how little of it. No path, query,
// header field or body reaches it, so none can be written down; a host, a user, an
// operation's name and how many there were is all that a report says.
package learn

import (
	"sync"
	"time"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/route"
)

// The bounds of what is remembered. Callers choose the hosts, so that without one
// they would choose how much memory that takes. An entry takes some 500 bytes.
const (
	maxEntries = 4096 // kinds of calls
	maxHosts   = 1024 // without a route
	maxLogins  = 1024
	maxName    = 256 // bytes of a certificate's name
)

// Call is what is remembered of one call that a route took, or would take but for
// its methods, paths and operations.
type Call struct {
	Route     *route.Route
	Suspended bool   // see route.Decision
	Obstacle  string // see route.Decision
	Host      string // as azure.NormalizeHost gives it
	Port      uint16
	Operation azure.Operation
	Caller    *caller.Caller
	Brought   Brought
	Denied    bool // the service answered 401 or 403
}

// Brought is what a call brought of its own to be authorised by.
type Brought uint8

// The kinds.
const (
	Nothing      Brought = iota
	SharedKey            // the signature of a storage account's key
	Signature            // a shared access signature
	ClientSecret         // a placeholder, which an app that logs in with a secret was given
	OwnToken             // a live token, with which the call passed
	Other                // what is worth nothing
	kinds
)

// BroughtBy tells what a call brought, of which own is what its service makes.
func BroughtBy(c *azure.Call, own azure.Credential) Brought {
	switch own {
	case azure.None:
		return Nothing
	case azure.SAS:
		return Signature
	case azure.Placeholder:
		return ClientSecret
	case azure.Live:
		return OwnToken
	}
	if c.IsSharedKey() {
		return SharedKey
	}
	return Other
}

// Login is an app's login with a client secret or a certificate that bearerd
// answered.
type Login struct {
	Client   string // id of the app
	Audience string // of the token that it asked for
	Caller   *caller.Caller
}

// Recorder remembers calls. New makes one; it is safe for concurrent use.
type Recorder struct {
	since time.Time

	mu      sync.Mutex // guards what follows
	entries map[key]*tally
	routes  map[string]*route.Route // by name, as seen last
	hosts   map[string]uint64       // connections to those without a route
	logins  map[loginKey]*login
	dropped uint64 // calls for which there was no room
}

// key is one kind of call.
type key struct {
	route     string
	suspended bool
	host      string
	port      uint16
	operation string
	who       who
}

type loginKey struct {
	client, audience string
	who              who
}

// who is a caller as a route can name it. The zero value is one of whom nothing
// is known.
type who struct {
	known       bool
	uid         uint32
	certificate string
}

// tally is how often a kind of call was seen.
type tally struct {
	caller   *caller.Caller // one of those; nil: nobody looked
	op       azure.Operation
	obstacle string // of the last call that met one
	calls    uint64
	blocked  uint64 // calls that met an obstacle
	denied   uint64
	brought  [kinds]uint64
}

// login is how often one was seen.
type login struct {
	caller *caller.Caller
	calls  uint64
}

// New makes a Recorder that begins now.
func New(now time.Time) *Recorder {
	return &Recorder{
		since: now, entries: make(map[key]*tally), routes: make(map[string]*route.Route),
		hosts: make(map[string]uint64), logins: make(map[loginKey]*login),
	}
}

// Call remembers a call.
func (r *Recorder) Call(c *Call) {
	of, ok := whoIs(c.Caller)
	k := key{c.Route.Name, c.Suspended, c.Host, c.Port, c.Operation.Name, of}
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.entries[k]
	if t == nil {
		if !ok || len(r.entries) >= maxEntries {
			r.dropped++
			return
		}
		t = &tally{op: c.Operation, caller: c.Caller}
		r.entries[k] = t
	}
	r.routes[c.Route.Name] = c.Route
	t.calls++
	t.brought[c.Brought]++
	if c.Denied {
		t.denied++
	}
	if c.Obstacle != "" {
		t.obstacle = c.Obstacle
		t.blocked++
	}
}

// Unrouted remembers a connection, or a call, to a host that no route names.
func (r *Recorder) Unrouted(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.hosts[host]; !ok && len(r.hosts) >= maxHosts {
		r.dropped++
		return
	}
	r.hosts[host]++
}

// Login remembers a login.
func (r *Recorder) Login(l *Login) {
	of, ok := whoIs(l.Caller)
	k := loginKey{l.Client, l.Audience, of}
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.logins[k]
	if seen == nil {
		if !ok || len(r.logins) >= maxLogins {
			r.dropped++
			return
		}
		seen = &login{caller: l.Caller}
		r.logins[k] = seen
	}
	seen.calls++
}

// Counts tells how many kinds of calls are remembered, and how many calls are
// not, for want of room.
func (r *Recorder) Counts() (kinds int, dropped uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.entries), r.dropped
}

// Since is when the recording began.
func (r *Recorder) Since() time.Time { return r.since }

// whoIs tells a caller as a route can name it, by the user before the certificate;
// false where the name is too long to be kept.
func whoIs(c *caller.Caller) (who, bool) {
	switch {
	case c == nil:
		return who{}, true
	case c.Known:
		return who{known: true, uid: c.UID}, true
	case len(c.Certificates) > 0:
		name := c.Certificates[0]
		return who{certificate: name}, len(name) <= maxName
	}
	return who{}, true
}
