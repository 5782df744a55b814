package cache

import (
	"errors"
	"time"

	"github.com/bearerd/bearerd/imds"
)

// The rules of when to ask, each a function of values.

const (
	// margin is kept from a token's end: a call needs time to arrive, and the
	// service's clock may be ahead.
	margin = 30 * time.Second
	// earlyPause is the least time between two attempts to refresh a token that
	// is still good for a while.
	earlyPause = 30 * time.Second
	// urgent is how near its end a token must be for its refresh to be retried
	// as if there were none.
	urgent = 5 * time.Minute
	// renewPause is how long one rejection's refresh answers for all others.
	renewPause = 30 * time.Second
	// abandonAfter is how long a key without a token is tried after the last
	// caller that wanted it.
	abandonAfter = 5 * time.Minute
)

// refreshAt is when a token obtained now is to be refreshed: when its source
// says, else after half of what remains. Where the source hands out the same
// token again, the halves get shorter until it gives another. Ten per cent of
// jitter either way keeps a fleet that was started together from asking
// together.
func refreshAt(t *imds.Token, now time.Time, random float64) time.Time {
	wait := t.Expires().Sub(now.Round(0)) / 2
	if r := t.Refresh(); !r.IsZero() {
		wait = r.Sub(now.Round(0))
	}
	return now.Add(max(jitter(wait, random), earlyPause))
}

// jitter gives d, ten per cent more or less.
func jitter(d time.Duration, random float64) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*random))
}

// backoff bounds the waits between failed attempts of one class.
type backoff struct{ first, last time.Duration }

// backoffOf gives the waits for a class of failures. IMDS wants one second at
// least after a 5xx and is back within 70 s after a 410; a new assignment is
// seen within 10 to 40 s, at times after 5 min.
func backoffOf(class imds.Class) backoff {
	switch class {
	case imds.Updating:
		return backoff{time.Second, 10 * time.Second}
	case imds.NotAssigned:
		return backoff{5 * time.Second, 30 * time.Second}
	case imds.Denied:
		return backoff{10 * time.Second, 2 * time.Minute}
	case imds.Misconfigured:
		return backoff{30 * time.Second, 5 * time.Minute}
	case imds.Malformed:
		return backoff{time.Second, 30 * time.Second}
	default: // Unavailable; Throttled where the gate knows no better
		return backoff{time.Second, time.Minute}
	}
}

// wait is the wait after so many failures in a row, doubled each time, between
// the half and the whole of which the jitter chooses.
func (b backoff) wait(failures int, random float64) time.Duration {
	doublings := min(max(failures-1, 0), 10) // more than any class needs
	d := min(b.first<<doublings, b.last)
	return max(time.Duration(float64(d)*(0.5+0.5*random)), b.first)
}

// retryAt is when a key whose attempt failed now is tried again. While its
// token is good for a while, haste helps nobody.
func retryAt(err error, failures int, left time.Duration, now time.Time, random float64) time.Time {
	wait := backoffOf(classOf(err)).wait(failures, random)
	if left > urgent {
		wait = max(wait, jitter(earlyPause, random))
	}
	return now.Add(wait)
}

// classOf gives the class of any failure.
func classOf(err error) imds.Class {
	var e *imds.Error
	if errors.As(err, &e) {
		return e.Class
	}
	return imds.Unavailable
}

// isFinal reports whether a failure is told to callers at once, for waiting a
// few seconds does not help.
func isFinal(err error) bool {
	class := classOf(err)
	return class == imds.Misconfigured || class == imds.Denied
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
