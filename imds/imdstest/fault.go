package imdstest

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Updating is how long IMDS may be gone for an update of its own, as Azure
// documents it: Unavailable(410).For(imdstest.Updating).
const Updating = 70 * time.Second

// RetryAfter gives the value of a Retry-After field at a time.
type RetryAfter func(now time.Time) string

// Seconds asks for a wait in seconds.
func Seconds(n int) RetryAfter { return Text(strconv.Itoa(n)) }

// Date asks for a wait until a date, d from now.
func Date(d time.Duration) RetryAfter {
	return func(now time.Time) string { return now.Add(d).UTC().Format(http.TimeFormat) }
}

// Text asks for a wait in words that need not make sense.
func Text(value string) RetryAfter { return func(time.Time) string { return value } }

// Fault is something that goes wrong with calls for a token: with the next one,
// unless Times, For or Always say otherwise. The zero value is a call that goes
// well.
type Fault struct {
	// Which calls.
	resource string
	times    int // more calls than one
	span     time.Duration
	always   bool
	until    time.Time // of a span that has begun

	// What happens.
	delay  time.Duration
	hang   bool
	answer *reply // instead of a token; nil: a token, changed by the rest
	after  RetryAfter
	header http.Header
	clock  time.Duration
	token  choice
	edit   func(answer map[string]any)
	mangle func(*reply)
}

// Times has the fault happen to n calls.
func (f Fault) Times(n int) Fault { f.times = n - 1; return f }

// For has the fault happen from the first call that meets it until d later.
func (f Fault) For(d time.Duration) Fault { f.span = d; return f }

// Always has the fault happen until Clear.
func (f Fault) Always() Fault { f.always = true; return f }

// On has the fault happen only to calls for a resource.
func (f Fault) On(resource string) Fault { f.resource = resource; return f }

// With has the answer carry a header field.
func (f Fault) With(name, value string) Fault {
	h := f.header.Clone()
	if h == nil {
		h = make(http.Header)
	}
	h.Set(name, value)
	f.header = h
	return f
}

// After has the answer ask for a wait.
func (f Fault) After(after RetryAfter) Fault { f.after = after; return f }

// Refused is an error in the shape of IMDS's.
func Refused(status int, code, description string) Fault {
	a := refuse(status, code, description)
	return Fault{answer: &a}
}

// Answered is an answer of any other kind.
func Answered(status int, contentType, body string) Fault {
	return Fault{answer: &reply{status: status, contentType: contentType, body: []byte(body)}}
}

// Throttled is a 429. after may be nil.
func Throttled(after RetryAfter) Fault {
	return Refused(http.StatusTooManyRequests, "too_many_requests", "the machine has asked too often").After(after)
}

// Unavailable is a status without a word of IMDS: 410 while it is updating,
// 404 while it restarts, or 5xx.
func Unavailable(status int) Fault { return Answered(status, "", "") }

// NotAssigned is what a machine hears without an identity, or one that was
// assigned seconds ago.
func NotAssigned() Fault {
	return Refused(http.StatusBadRequest, "invalid_request", "Identity not found")
}

// HTML is a page with status 200, as a gateway for guests shows it.
func HTML() Fault {
	return Answered(http.StatusOK, "text/html", "<!DOCTYPE html><html><body>Please log in.</body></html>")
}

// Redirect leads to another URL.
func Redirect(to string) Fault { return Answered(http.StatusFound, "", "").With("Location", to) }

// Hang is no answer until the client leaves.
func Hang() Fault { return Fault{hang: true} }

// Slow is a good answer after d.
func Slow(d time.Duration) Fault { return Fault{delay: d} }

// Reset is a connection that ends without an answer.
func Reset() Fault { return Fault{answer: new(reply)} }

// Cut is a connection that ends in the middle of the answer.
func Cut() Fault { return Fault{mangle: func(a *reply) { a.cut = true }} }

// Truncated is an answer whose JSON ends in the middle.
func Truncated() Fault { return Fault{mangle: func(a *reply) { a.body = a.body[:len(a.body)/2] }} }

// Huge is a good answer of 10 MiB.
func Huge() Fault {
	return Altered(func(answer map[string]any) { answer["padding"] = strings.Repeat("x", 10<<20) })
}

// Altered is a good answer after a change of its fields.
func Altered(change func(answer map[string]any)) Fault { return Fault{edit: change} }

// EmptyExpiresIn leaves the end to expires_on.
func EmptyExpiresIn() Fault {
	return Altered(func(answer map[string]any) { answer["expires_in"] = "" })
}

// NoExpiry leaves out when the token ends.
func NoExpiry() Fault {
	return Altered(func(answer map[string]any) {
		delete(answer, "expires_in")
		delete(answer, "expires_on")
	})
}

// Numbers gives numbers as numbers, where IMDS gives strings.
func Numbers() Fault {
	return Altered(func(answer map[string]any) {
		for name, value := range answer {
			text, _ := value.(string)
			if n, err := strconv.ParseInt(text, 10, 64); err == nil {
				answer[name] = n
			}
		}
	})
}

// Expired is a token that ended an hour ago, and says so.
func Expired() Fault {
	f := Altered(func(answer map[string]any) { answer["expires_in"] = "0" })
	f.token = ended
	return f
}

// ClockOff is another token, of an IMDS whose clock differs by d.
func ClockOff(d time.Duration) Fault { return Fault{clock: d, token: loose} }

// Another is a token that was not given out before.
func Another() Fault { return Fault{token: another} }

// Same is the same token as the last time, however near its end.
func Same() Fault { return Fault{token: same} }

// wait lets the time pass that a call takes. It is false where the client has
// left before.
func (f *Fault) wait(ctx context.Context) bool {
	if f.hang {
		<-ctx.Done()
		return false
	}
	if f.delay <= 0 {
		return true
	}
	t := time.NewTimer(f.delay)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// decorate gives an answer the fault's header fields.
func (f *Fault) decorate(a reply, now time.Time) reply {
	a.header = f.header.Clone()
	a.retryAfter(f.after, now)
	return a
}

// meet takes the fault that a call meets out of the script.
func (s *Server) meet(resource string) Fault {
	now := s.o.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 0; i < len(s.script); {
		f := s.script[i]
		switch {
		case f.resource != "" && f.resource != resource:
			i++
			continue
		case f.always:
			return *f
		case f.span > 0 && f.until.IsZero():
			f.until = now.Add(f.span)
			return *f
		case f.span > 0 && now.Before(f.until):
			return *f
		case f.span > 0: // over
		case f.times > 0:
			f.times--
			return *f
		}
		s.script = slices.Delete(s.script, i, i+1)
		if f.span == 0 {
			return *f
		}
	}
	return Fault{}
}
