package imdstest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	tokenPath       = "/metadata/identity/oauth2/token"
	environmentPath = "/metadata/instance/compute/azEnvironment"

	defaultTenant   = "7e4a0000-0000-4000-8000-000000000001"
	defaultLifetime = 24 * time.Hour
	defaultRenewal  = 5 * time.Minute
)

// Identity is a user-assigned managed identity of the machine. Calls name it by
// any of the three.
type Identity struct {
	ClientID   string
	ObjectID   string
	ResourceID string // /subscriptions/.../userAssignedIdentities/...
}

// Limits are what a machine's IMDS answers before it says 429. Azure documents
// 20 a second and 5 at once. A zero field is no limit.
type Limits struct {
	PerSecond  int
	AtOnce     int
	RetryAfter RetryAfter // what a 429 asks for; nil: nothing, as is documented
}

// Options are what a Server is made of. The zero value is a machine of the
// public cloud with a system-assigned identity, whose IMDS has no limits.
type Options struct {
	Now      func() time.Time // nil: time.Now
	Tenant   string           // empty: one of its own
	Key      *rsa.PrivateKey  // that signs tokens; nil: one of 2048 bits is made
	Unsigned bool             // leaves their signatures empty, which makes a simulation of months fast
	Lifetime time.Duration    // of a token; 0: 24 h

	// Renewal is how long before a token's end another is made. Until then all
	// calls for the same identity and resource get the same one. 0: 5 minutes.
	Renewal time.Duration
	Fresh   bool // makes another token for every call instead

	NoSystem    bool       // the machine has no system-assigned identity
	Identities  []Identity // that are assigned to it besides
	Resources   []string   // that the tenant knows; nil: all that look like one
	Environment string     // the cloud; empty: AzurePublicCloud
	Limits      Limits
}

// Server is an emulated IMDS: an http.Handler for a listener, and an
// http.RoundTripper for a client in the same process. It may be used
// concurrently, and there is nothing to close.
type Server struct {
	o   Options
	kid string

	mu     sync.Mutex // guards the fields below, and o's identities
	tokens map[grant]minted
	script []*Fault
	record record
}

// New makes a Server. It panics where no key can be made, which needs a
// machine without randomness.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Tenant == "" {
		o.Tenant = defaultTenant
	}
	if o.Lifetime == 0 {
		o.Lifetime = defaultLifetime
	}
	if o.Renewal == 0 {
		o.Renewal = defaultRenewal
	}
	if o.Environment == "" {
		o.Environment = "AzurePublicCloud"
	}
	if o.Key == nil {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic("imdstest: make a key: " + err.Error())
		}
		o.Key = key
	}
	return &Server{o: o, kid: keyID(&o.Key.PublicKey), tokens: make(map[grant]minted)}
}

// PublicKey verifies the tokens.
func (s *Server) PublicKey() *rsa.PublicKey { return &s.o.Key.PublicKey }

// Tenant is the tokens' tenant.
func (s *Server) Tenant() string { return s.o.Tenant }

// Forget drops the tokens that are kept, so that the next calls get others.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// Assign has the machine have these identities from now on, as a policy does
// that adds one while programs run. Calls by another's name fail.
func (s *Server) Assign(system bool, identities ...Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.NoSystem, s.o.Identities = !system, identities
}

// Script has the faults happen to the next calls for a token, in order, after
// those that were scripted before. A call meets the first that concerns it.
func (s *Server) Script(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		s.script = append(s.script, &f)
	}
}

// Clear drops what is left of the script.
func (s *Server) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = nil
}

// answer is what the emulator says to r. It returns once that is due, or when
// the client has left.
func (s *Server) answer(r *http.Request) reply {
	// MSAL for Node ends the path with a slash.
	switch path := strings.TrimSuffix(r.URL.EscapedPath(), "/"); {
	case path != tokenPath && path != environmentPath:
		return refuse(http.StatusNotFound, "not_found", "there is nothing at this path")
	case path == environmentPath:
		return s.environment(r)
	}
	c := s.begin(r)
	a := s.token(r, c)
	s.end(c, a.status)
	return a
}

// environment answers which cloud the machine is in.
func (s *Server) environment(r *http.Request) reply {
	query, refusal := checkRequest(r, instanceVersions, "api-version", "format")
	if refusal != nil {
		return *refusal
	}
	if query.Get("format") != "text" {
		return refuse(http.StatusBadRequest, "bad_request", "a leaf comes as format=text only")
	}
	return reply{status: http.StatusOK, contentType: "text/plain; charset=utf-8", body: []byte(s.o.Environment)}
}

// token answers a call for a token that was noted as c.
func (s *Server) token(r *http.Request, c *call) reply {
	if c.over {
		a := refuse(http.StatusTooManyRequests, "too_many_requests", "the machine has asked too often")
		a.retryAfter(s.o.Limits.RetryAfter, s.o.Now())
		return a
	}
	query, refusal := checkRequest(r, tokenVersions, "api-version", "resource", "client_id", "object_id", "msi_res_id", "bypass_cache")
	if refusal != nil {
		return *refusal
	}
	resource := query.Get("resource")
	id, unknown := s.identify(query)
	s.note(c, id)
	f := s.meet(resource)
	if !f.wait(r.Context()) {
		return reply{}
	}
	if f.answer != nil {
		return f.decorate(*f.answer, s.o.Now())
	}
	if refusal := s.checkResource(resource); refusal != nil {
		return *refusal
	}
	if unknown != nil {
		return *unknown
	}
	return s.grant(grant{id, resource}, f)
}

// grant answers with a token, as changed by a fault.
func (s *Server) grant(g grant, f Fault) reply {
	now := s.o.Now().Add(f.clock)
	t := s.obtain(g, now, f.token)
	fields := t.fields(g, now)
	if f.edit != nil {
		f.edit(fields)
	}
	body, err := json.Marshal(fields)
	if err != nil {
		panic("imdstest: a fault made an answer that is not JSON: " + err.Error())
	}
	a := f.decorate(reply{status: http.StatusOK, contentType: jsonType, body: body}, s.o.Now())
	if f.mangle != nil {
		f.mangle(&a)
	}
	return a
}
