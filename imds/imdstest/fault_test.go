package imdstest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bearerd/bearerd/imds"
)

// classOf gives the class of a failed call, and whether it failed.
func classOf(t *testing.T, c *imds.Client) (imds.Class, *imds.Error) {
	t.Helper()
	token, err := c.Token(t.Context(), imds.Identity{}, vault)
	var failed *imds.Error
	if !errors.As(err, &failed) {
		t.Fatalf("got token %v and error %v", token, err)
	}
	return failed.Class, failed
}

// Every fault has its class, by a listener and without a network alike.
func TestFaultsHaveTheirClass(t *testing.T) {
	tests := []struct {
		name  string
		fault Fault
		class imds.Class
		wait  time.Duration
	}{
		{"throttled", Throttled(nil), imds.Throttled, 0},
		{"throttled for seconds", Throttled(Seconds(7)), imds.Throttled, 7 * time.Second},
		{"throttled until a date", Throttled(Date(30 * time.Second)), imds.Throttled, 30 * time.Second},
		{"throttled for good", Throttled(Text("99999999999999")), imds.Throttled, 10 * time.Minute},
		{"throttled, with nonsense", Throttled(Text("soon")), imds.Throttled, 0},
		{"throttled by milliseconds", Throttled(nil).With("x-ms-retry-after-ms", "1500"), imds.Throttled, 1500 * time.Millisecond},
		{"updating", Unavailable(410), imds.Updating, 0},
		{"restarting", Unavailable(404), imds.Updating, 0},
		{"failing", Unavailable(500).After(Seconds(2)), imds.Unavailable, 2 * time.Second},
		{"failing in IMDS's words", Refused(503, "unknown", "try again"), imds.Unavailable, 0},
		{"not assigned", NotAssigned(), imds.NotAssigned, 0},
		{"an unknown resource", Refused(400, "invalid_resource", "AADSTS50001"), imds.Misconfigured, 0},
		{"denied", Refused(401, "unknown_source", ""), imds.Denied, 0},
		{"a gateway", Answered(403, "text/html", "no"), imds.Denied, 0},
		{"a page", HTML(), imds.Malformed, 0},
		{"a redirect", Redirect("http://127.0.0.1:1/"), imds.Malformed, 0},
		{"no connection", Reset(), imds.Unavailable, 0},
		{"half an answer", Cut(), imds.Unavailable, 0},
		{"half of the JSON", Truncated(), imds.Malformed, 0},
		{"10 MiB", Huge(), imds.Malformed, 0},
		{"no expiry", NoExpiry(), imds.Malformed, 0},
		{"expired", Expired(), imds.Malformed, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, direct := emulate(t, Options{})
			for how, c := range map[string]*imds.Client{"a listener": listen(t, s), "no network": direct} {
				good := mustGet(t, c)
				s.Script(tt.fault)
				class, failed := classOf(t, c)
				if class != tt.class {
					t.Errorf("by %s: got class %s, want %s: %v", how, class, tt.class, failed)
				}
				// A date counts in seconds, and one may end between the calls.
				if d := tt.wait - failed.RetryAfter; d < 0 || d > time.Second || tt.wait == 0 && d != 0 {
					t.Errorf("by %s: asked for a wait of %s, want %s", how, failed.RetryAfter, tt.wait)
				}
				if !mustGet(t, c).Equal(good) {
					t.Errorf("by %s: the fault left another token", how)
				}
			}
		})
	}
}

func TestFaultsThatATokenSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := emulate(t, Options{})
		good := mustGet(t, c)
		for name, f := range map[string]Fault{
			"none": {}, "empty expires_in": EmptyExpiresIn(), "numbers": Numbers(), "same": Same(),
			"a date": Altered(func(a map[string]any) { a["expires_on"] = good.Expires().UTC().Format(time.DateTime) }),
		} {
			s.Script(f)
			if token := mustGet(t, c); !token.Equal(good) || !token.Expires().Equal(good.Expires()) || token.ClockAhead() != 0 {
				t.Errorf("%s: another token, or another end: %s", name, token.Expires())
			}
		}
		s.Script(Another())
		other := mustGet(t, c)
		if other.Equal(good) || !mustGet(t, c).Equal(other) {
			t.Error("another token was asked for, and to be kept")
		}
		s.Script(Altered(func(a map[string]any) { a["refresh_in"] = "43200" }))
		if got := time.Until(mustGet(t, c).Refresh()); got != 12*time.Hour {
			t.Errorf("refreshed after %s", got)
		}
	})
}

func TestClockMayBeOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := emulate(t, Options{})
		good := mustGet(t, c)
		for _, tt := range []struct{ off, life, ahead time.Duration }{
			{3 * time.Hour, 24 * time.Hour, 0},
			{-3 * time.Hour, 21 * time.Hour, 0},
			{-25 * time.Hour, 24 * time.Hour, 25 * time.Hour},
		} {
			s.Script(ClockOff(tt.off))
			token := mustGet(t, c)
			if life := time.Until(token.Expires()); life != tt.life || token.ClockAhead() != tt.ahead || token.Equal(good) {
				t.Errorf("IMDS off by %s: a life of %s, the clock %s ahead", tt.off, life, token.ClockAhead())
			}
			claims, err := token.Claims()
			if want := time.Now().Add(24*time.Hour + tt.off); err != nil || !claims.Expires.Equal(want) {
				t.Errorf("IMDS off by %s: the token ends %s, want %s", tt.off, claims.Expires, want)
			}
		}
		if !mustGet(t, c).Equal(good) {
			t.Error("a token of the wrong clock was kept")
		}
	})
}

func TestSameTokenNearItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := emulate(t, Options{})
		good := mustGet(t, c)
		s.Script(Same().Times(2))
		time.Sleep(24*time.Hour - time.Minute)
		if token := mustGet(t, c); !token.Equal(good) || time.Until(token.Expires()) != time.Minute {
			t.Error("another token a minute before the end")
		}
		time.Sleep(2 * time.Minute)
		if class, failed := classOf(t, c); class != imds.Malformed {
			t.Errorf("past its end: %v", failed)
		}
		if mustGet(t, c).Equal(good) {
			t.Error("the same token past its end")
		}
	})
}

func TestFaultsFollowTheScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := emulate(t, Options{})
		want := func(classes ...any) {
			t.Helper()
			for i, class := range classes {
				_, err := c.Token(t.Context(), imds.Identity{}, vault)
				var got any
				var failed *imds.Error
				if errors.As(err, &failed) {
					got = failed.Class
				}
				if got != class {
					t.Errorf("call %d: got %v, want %v", i, got, class)
				}
			}
		}
		s.Script(Throttled(nil).Times(2), Fault{}, Unavailable(500))
		want(imds.Throttled, imds.Throttled, nil, imds.Unavailable, nil, nil)

		// The span begins with the first call that meets it.
		s.Script(Unavailable(410).For(Updating), Throttled(nil))
		time.Sleep(time.Hour)
		want(imds.Updating)
		time.Sleep(Updating - time.Nanosecond)
		want(imds.Updating)
		time.Sleep(time.Nanosecond)
		want(imds.Throttled, nil)

		s.Script(NotAssigned().Always(), HTML())
		want(imds.NotAssigned, imds.NotAssigned, imds.NotAssigned)
		s.Clear()
		want(nil)

		s.Script(HTML().On("https://other.example").Always(), Throttled(nil).On(vault), NotAssigned())
		want(imds.Throttled, imds.NotAssigned, nil)
		if _, err := c.Token(t.Context(), imds.Identity{}, "https://other.example"); err == nil {
			t.Error("the other resource got a token")
		}
		want(nil)
	})
}

func TestSlowAndHangingCallsEndWithTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := emulate(t, Options{})
		s.Script(Slow(9*time.Second), Slow(11*time.Second), Hang())
		started := time.Now()
		mustGet(t, c)
		if took := time.Since(started); took != 9*time.Second {
			t.Errorf("took %s", took)
		}
		for range 2 {
			if class, failed := classOf(t, c); class != imds.Unavailable || !errors.Is(failed, context.DeadlineExceeded) {
				t.Errorf("got %v", failed)
			}
		}
		if took := time.Since(started); took != 29*time.Second {
			t.Errorf("took %s", took)
		}
		if stats := s.Stats(); stats.ByStatus[0] != 2 || stats.ByStatus[200] != 1 {
			t.Errorf("got %+v", stats)
		}
	})
}

func TestHangingCallEndsWithItsConnection(t *testing.T) {
	s, _ := emulate(t, Options{})
	s.Script(Hang())
	ctx, cancel := context.WithCancel(t.Context())
	l := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cancel() // the client leaves, and the server sees its connection end
		s.ServeHTTP(w, r)
	}))
	defer l.Close()
	c, err := imds.New(imds.Options{Endpoint: l.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Token(ctx, imds.Identity{}, vault); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A recorder cannot be hijacked; the server above it ends the connection.
func TestResetWithoutAConnection(t *testing.T) {
	s, _ := emulate(t, Options{})
	s.Script(Reset())
	defer func() {
		if got := recover(); got != http.ErrAbortHandler {
			t.Errorf("got %v", got)
		}
	}()
	ask(s, nil)
	t.Error("there was an answer")
}
