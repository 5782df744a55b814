package admin

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func contextWithLocal(r *http.Request, local net.Addr) context.Context {
	return context.WithValue(r.Context(), http.LocalAddrContextKey, local)
}

// TestReadiness goes through what may be amiss, alone and together.
func TestReadiness(t *testing.T) {
	for _, tt := range []struct {
		name    string
		edit    func(*Status)
		reasons []string // none: ready
		started bool
	}{
		{"all is well, and a token that nobody waits for is missing", func(*Status) {}, nil, true},
		{"due, and IMDS fails", func(s *Status) {
			s.Tokens[0].State, s.Tokens[0].Error, s.Tokens[0].Class = "due", "token: status 503", "unavailable"
		}, nil, true},
		{"throttled, with a token that is valid", func(s *Status) {
			s.Tokens[0].State, s.Tokens[0].Class, s.Tokens[0].Error = "due", "throttled", "token: status 429"
			s.IMDS.PausedUntil = noon.Add(time.Hour)
		}, nil, true},
		{"throttled, without a token", func(s *Status) {
			s.Tokens[0] = Token{Identity: system, Audience: vault, State: "absent", Class: "throttled", Error: "token: status 429", Hint: "wait", NextAttempt: noon}
		}, []string{"no token for https://vault.azure.net (system-assigned): token: status 429; wait; next attempt at 2026-11-24T12:00:00Z"}, true},
		{"expired", func(s *Status) {
			s.Tokens[0].State, s.Tokens[0].Usable, s.Tokens[0].NextAttempt = "expired", false, time.Time{}
		},
			[]string{"no token for https://vault.azure.net (system-assigned): it is expired"}, true},
		{"the same audience of another identity does not count", func(s *Status) { s.Tokens[0].Identity = "client_id:1" },
			[]string{"no token for https://vault.azure.net (system-assigned): it was not asked for yet"}, true},
		{"no token is known at all", func(s *Status) { s.Tokens = nil },
			[]string{"no token for https://vault.azure.net (system-assigned): it was not asked for yet"}, true},
		{"no route is required, and no token is there", func(s *Status) {
			s.Routes[0].Required, s.Tokens = false, nil
		}, nil, true},
		{"two routes require the same", func(s *Status) {
			s.Routes = append(s.Routes, s.Routes[0])
			s.Tokens = nil
		}, []string{"no token for https://vault.azure.net (system-assigned): it was not asked for yet"}, true},
		{"all required, two missing", func(s *Status) {
			s.Routes[1].Required = true
			s.Tokens[0].Usable, s.Tokens[0].State, s.Tokens[0].NextAttempt = false, "", time.Time{}
		}, []string{
			"no token for https://vault.azure.net (system-assigned): there is none",
			"no token for https://storage.azure.com/ (system-assigned): token for storage: status 400; correct the route's audience",
		}, true},
		{"a listener is down", func(s *Status) {
			s.Listeners = append(s.Listeners, Listener{Address: "unix:/run/x"})
		}, []string{"the listener unix:/run/x is not up"}, false},
		{"no listener", func(s *Status) { s.Listeners = nil }, []string{"no listener is up"}, false},
		{"it drains", func(s *Status) { s.Stopping = true }, []string{"bearerd is shutting down"}, true},
		{"nothing is known", func(s *Status) { *s = Status{} }, []string{"no listener is up"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := startTCP(t)
			g.set(tt.edit)
			a := g.send("GET", "/readyz")
			var got Readiness
			if err := json.Unmarshal([]byte(a.body), &got); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Reasons, tt.reasons) || got.Ready != (tt.reasons == nil) {
				t.Errorf("reasons %q, want %q; ready %t", got.Reasons, tt.reasons, got.Ready)
			}
			status, code := 200, ""
			if tt.reasons != nil {
				status, code = 503, codeNotReady
			}
			if a.status != status || a.code(t) != code {
				t.Errorf("status %d, code %q", a.status, a.code(t))
			}
			for _, r := range tt.reasons {
				if !strings.Contains(a.body, `"message": "`) || !strings.Contains(a.body, r) {
					t.Errorf("%s does not name %q", a.body, r)
				}
			}
			if a := g.send("GET", "/startupz"); (a.status == 200) != tt.started || a.status == 503 && a.code(t) != codeNotStarted {
				t.Errorf("startupz %d %s", a.status, a.body)
			}
			if a := g.send("GET", "/livez"); a.status != 200 {
				t.Errorf("livez %d", a.status)
			}
		})
	}
}

// Each audience is told of, required or not.
func TestReadinessOfEachAudience(t *testing.T) {
	s := healthy()
	s.Routes = append(s.Routes, Route{Name: "arm", Audience: "arm", Identity: "client_id:1", Required: true})
	got := s.Readiness().Audiences
	want := []Audience{
		{Audience: vault, Identity: system, Required: true, Ready: true},
		{Audience: storage, Identity: system, Reason: "token for storage: status 400; correct the route's audience"},
		{Audience: "arm", Identity: "client_id:1", Required: true, Reason: "it was not asked for yet"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}
