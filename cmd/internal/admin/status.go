package admin

import (
	"fmt"
	"strings"
	"time"
)

// Status is how a daemon stands. It holds no token, key or credential, and its
// field names in JSON are stable.
type Status struct {
	Version    string     `json:"version"`
	Go         string     `json:"go"`       // what it was built with
	Platform   string     `json:"platform"` // linux/amd64
	StartedAt  time.Time  `json:"started_at"`
	Stopping   bool       `json:"stopping"` // it drains; no longer ready
	Cloud      string     `json:"cloud"`
	Listeners  []Listener `json:"listeners"`
	Routes     []Route    `json:"routes"`
	Tokens     []Token    `json:"tokens"`
	Identities []Identity `json:"identities"`
	IMDS       IMDS       `json:"imds"`
	Authority  *Authority `json:"authority"` // nil: no host is intercepted
	Redirect   *Redirect  `json:"redirect"`  // nil: the configuration asks for no rules
	InFlight   uint64     `json:"in_flight"` // requests under way, tunnels among them
	Unrouted   Traffic    `json:"unrouted"`  // calls to hosts that no route names
	Refusals   []Refusal  `json:"refusals"`  // the latest first
	Config     Config     `json:"config"`
	Learning   *Learning  `json:"learning,omitempty"` // nil: the routes hold whole
}

// Listener is one that callers connect to.
type Listener struct {
	Address string `json:"address"`
	Mode    string `json:"mode"`
	Up      bool   `json:"up"`
	// Open and Accepted count connections.
	Open        uint64       `json:"open"`
	Accepted    uint64       `json:"accepted"`
	Certificate *Certificate `json:"certificate,omitempty"` // nil: it speaks no TLS of its own
}

// Certificate is what a listener shows as its own.
type Certificate struct {
	Expires time.Time `json:"expires,omitzero"` // zero: there is none yet
	Error   string    `json:"error,omitempty"`  // of the last attempt to get or read one
}

// Traffic counts calls, and the bytes of their bodies, since the start or since
// a reload brought their route.
type Traffic struct {
	Requests      uint64 `json:"requests"`
	ClientErrors  uint64 `json:"client_errors"` // answered with 4xx, by the service or by bearerd
	ServerErrors  uint64 `json:"server_errors"` // 5xx
	Broken        uint64 `json:"broken"`        // whose caller left before its answer
	ReceivedBytes uint64 `json:"received_bytes"`
	SentBytes     uint64 `json:"sent_bytes"`
}

// Route is one of the configuration's.
type Route struct {
	Name     string   `json:"name"`
	Service  string   `json:"service"`
	Hosts    []string `json:"hosts"`
	Gateway  string   `json:"gateway,omitempty"`
	Identity string   `json:"identity"`
	Audience string   `json:"audience"`
	Required bool     `json:"required"` // readiness waits for its token
	Traffic  Traffic  `json:"traffic"`
}

// Token is how the token of one identity for one audience stands.
type Token struct {
	Identity    string    `json:"identity"`
	Audience    string    `json:"audience"`
	State       string    `json:"state"`    // fresh, due, expired or absent
	Usable      bool      `json:"usable"`   // callers are served with it
	Required    bool      `json:"required"` // filled in here, from the routes
	Obtained    time.Time `json:"obtained,omitzero"`
	Expires     time.Time `json:"expires,omitzero"`
	NextAttempt time.Time `json:"next_attempt,omitzero"`
	Failures    int       `json:"failures"` // in a row
	Error       string    `json:"error,omitempty"`
	Class       string    `json:"class,omitempty"` // of the error
	Hint        string    `json:"hint,omitempty"`  // what to do about it
}

// Identity is whom the tokens of an identity are issued to. One whose tokens do
// not tell, or of which there was no token yet, is not listed.
type Identity struct {
	Identity string `json:"identity"` // as configured
	Principal
	ChangedAt time.Time  `json:"changed_at,omitzero"` // zero: it has not, since the start
	Previous  *Principal `json:"previous,omitempty"`  // before the change
}

// Principal is what a token says of its identity. It is not verified.
type Principal struct {
	ObjectID   string `json:"object_id,omitempty"`
	ResourceID string `json:"resource_id,omitempty"` // of a user-assigned identity, or of the machine
}

// IMDS is how the source of tokens may be asked.
type IMDS struct {
	Endpoint    string    `json:"endpoint"`
	PausedUntil time.Time `json:"paused_until,omitzero"`
	Rate        float64   `json:"rate"` // calls a second that are allowed
}

// Authority is the local CA.
type Authority struct {
	Fingerprint string    `json:"fingerprint"` // of the root, SHA-256
	Expires     time.Time `json:"expires"`
	Permitted   []string  `json:"permitted"` // names that it can sign for
}

// Redirect is what the last look at the kernel's rules found.
type Redirect struct {
	InPlace bool      `json:"in_place"`
	Checked time.Time `json:"checked,omitzero"` // zero: nobody has looked
}

// Refusal is calls that bearerd answered in the service's place, in the same way
// and for the same caller. It holds nothing that the caller sent.
type Refusal struct {
	Code   string    `json:"code"` // of the answer's header Bearerd-Error
	Status int       `json:"status"`
	Route  string    `json:"route"`
	Caller string    `json:"caller"` // user, or client certificate
	Reason string    `json:"reason"` // of the last one
	Cure   string    `json:"cure,omitempty"`
	Count  uint64    `json:"count"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
}

// Config is the configuration in use.
type Config struct {
	Path            string    `json:"path"` // empty: the defaults
	LoadedAt        time.Time `json:"loaded_at,omitzero"`
	LastReloadError string    `json:"last_reload_error,omitempty"` // of a newer one that was not taken
	Settings        []Setting `json:"settings"`
}

// Setting is one key of the configuration and the value that holds. Values that
// are secret are not in it.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Set   bool   `json:"set"` // the file has it; otherwise it is the default
}

// Learning is set while what the routes say of methods, paths and operations is
// suspended, to see what applications need.
type Learning struct {
	File    string    `json:"file"`
	Since   time.Time `json:"since"`
	Kinds   int       `json:"kinds"`   // of calls that are remembered
	Dropped uint64    `json:"dropped"` // calls that found no room
}

// Readiness says whether callers should come, and if not, why.
type Readiness struct {
	Ready     bool       `json:"ready"`
	Reasons   []string   `json:"reasons"` // what keeps it from being ready
	Audiences []Audience `json:"audiences"`
}

// Audience is the readiness of one audience.
type Audience struct {
	Audience string `json:"audience"`
	Identity string `json:"identity"`
	Required bool   `json:"required"`
	Ready    bool   `json:"ready"`
	Reason   string `json:"reason,omitempty"` // why it is not
}

type tokenKey struct{ identity, audience string }

// Readiness tells the truth of each audience. Whether the whole is ready depends
// on the listeners and on the required routes' audiences alone: a token that
// nobody waits for must not take the daemon out of service. Neither does
// throttling, as long as there is a token to serve with.
func (s Status) Readiness() Readiness {
	r := Readiness{Reasons: s.down(), Audiences: []Audience{}}
	if s.Stopping {
		r.Reasons = append(r.Reasons, "bearerd is shutting down")
	}
	required := s.required()
	for _, t := range s.Tokens {
		key := tokenKey{t.Identity, t.Audience}
		a := Audience{Audience: t.Audience, Identity: t.Identity, Ready: t.Usable}
		_, a.Required = required[key]
		delete(required, key)
		if !t.Usable {
			a.Reason = t.why()
		}
		r.Audiences = append(r.Audiences, a)
	}
	// A required token that the daemon has not heard of is missing all the same.
	for _, route := range s.Routes {
		key := tokenKey{route.Identity, route.Audience}
		if _, missing := required[key]; missing {
			delete(required, key)
			r.Audiences = append(r.Audiences, Audience{Audience: route.Audience, Identity: route.Identity,
				Required: true, Reason: "it was not asked for yet"})
		}
	}
	for _, a := range r.Audiences {
		if a.Required && !a.Ready {
			r.Reasons = append(r.Reasons, fmt.Sprintf("no token for %s (%s): %s", a.Audience, a.Identity, a.Reason))
		}
	}
	r.Ready = len(r.Reasons) == 0
	return r
}

// required gives what the required routes need.
func (s Status) required() map[tokenKey]struct{} {
	keys := make(map[tokenKey]struct{})
	for _, r := range s.Routes {
		if r.Required {
			keys[tokenKey{r.Identity, r.Audience}] = struct{}{}
		}
	}
	return keys
}

// down tells which listeners are missing.
func (s Status) down() []string {
	down := []string{}
	if len(s.Listeners) == 0 {
		down = append(down, "no listener is up")
	}
	for _, l := range s.Listeners {
		if !l.Up {
			down = append(down, "the listener "+l.Address+" is not up")
		}
	}
	return down
}

// why tells why the token cannot be used, and what to do.
func (t Token) why() string {
	var b strings.Builder
	switch {
	case t.Error != "":
		b.WriteString(t.Error)
	case t.State != "":
		b.WriteString("it is " + t.State)
	default:
		b.WriteString("there is none")
	}
	if hint := t.furtherHint(); hint != "" {
		b.WriteString("; " + hint)
	}
	if !t.NextAttempt.IsZero() {
		b.WriteString("; next attempt at " + t.NextAttempt.UTC().Format(time.RFC3339))
	}
	return b.String()
}

// furtherHint gives the hint unless the error ends with it, as package imds's
// do.
func (t Token) furtherHint() string {
	if strings.HasSuffix(t.Error, t.Hint) {
		return ""
	}
	return t.Hint
}

// report is what /status and the page show.
type report struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"` // as Readiness has them
	// Troubles are what a person should look at, the reasons among them.
	Troubles []Trouble `json:"troubles"`
	Status
}

// reportOf completes a snapshot: times are whole seconds in UTC, a pause that is
// over is none, lists are never null, and tokens know whether they are required.
func reportOf(s Status, now time.Time) report {
	ready := s.Readiness()
	required := s.required()
	s.StartedAt = second(s.StartedAt)
	s.Config.LoadedAt = second(s.Config.LoadedAt)
	if s.IMDS.PausedUntil = second(s.IMDS.PausedUntil); !s.IMDS.PausedUntil.After(now) {
		s.IMDS.PausedUntil = time.Time{}
	}
	s.Config.Settings = list(s.Config.Settings)
	s.Listeners = list(s.Listeners)
	for i := range s.Listeners {
		if c := s.Listeners[i].Certificate; c != nil {
			s.Listeners[i].Certificate = &Certificate{Expires: second(c.Expires), Error: c.Error}
		}
	}
	s.Refusals = list(s.Refusals)
	for i := range s.Refusals {
		s.Refusals[i].First, s.Refusals[i].Last = second(s.Refusals[i].First), second(s.Refusals[i].Last)
	}
	if s.Redirect != nil {
		s.Redirect = &Redirect{InPlace: s.Redirect.InPlace, Checked: second(s.Redirect.Checked)}
	}
	s.Routes = list(s.Routes)
	for i := range s.Routes {
		s.Routes[i].Hosts = list(s.Routes[i].Hosts)
	}
	s.Tokens = list(s.Tokens)
	for i := range s.Tokens {
		t := &s.Tokens[i]
		_, t.Required = required[tokenKey{t.Identity, t.Audience}]
		t.Obtained, t.Expires, t.NextAttempt = second(t.Obtained), second(t.Expires), second(t.NextAttempt)
	}
	s.Identities = list(s.Identities)
	for i := range s.Identities {
		s.Identities[i].ChangedAt = second(s.Identities[i].ChangedAt)
	}
	if s.Authority != nil {
		a := *s.Authority
		a.Expires, a.Permitted = second(a.Expires), list(a.Permitted)
		s.Authority = &a
	}
	r := report{Ready: ready.Ready, Reasons: ready.Reasons, Status: s}
	r.Troubles = list(r.troubles(now))
	return r
}

func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// list gives a copy, and never nil.
func list[T any](v []T) []T { return append(make([]T, 0, len(v)), v...) }
