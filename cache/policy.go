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
	// longestRetry bounds the wait between two such attempts, whatever is left.
	longestRetry = 15 * time.Minute
	// renewPause is how long one rejection's refresh answers for all others.
	renewPause = 30 * time.Second
	// abandonAfter is how long a key without a token is tried after the last
	// caller that wanted it.
	abandonAfter = 5 * time.Minute
)

// refreshAfter is when a token that lives for left is to be refreshed: when its
// source says, else after half of what remains. Where the source hands out the
// same token again, the halves get shorter until it gives another. What is too
// short for halves is refreshed when it may no longer be used.
//
// Jitter keeps a fleet that was started together from asking together: up to a
// tenth earlier, and a little less later, so that of a day's token 11 h are
// left, which is the longest outage that it has to outlast, and two minutes.
func refreshAfter(left, source time.Duration, random float64) time.Duration {
	wait := left / 2
	if source > 0 {
		wait = source
	}
	wait = time.Duration(float64(wait) * (0.9 + 0.18*random))
	return min(max(wait, earlyPause), left-margin)
}

// jitter gives d, ten per cent more or less.
func jitter(d time.Duration, random float64) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*random))
}

// backoff bounds the waits between failed attempts of one class.
type backoff struct{ first, last time.Duration }

// backoffOf gives the waits for a class of failures. IMDS wants one second at
// least after a 5xx and is back within 70 s after a 410; a new assignment is
// seen within 10 to 40 s, at times after 5 min. None is longer than a minute:
// whoever has mended what was wrong is not to wait for long.
func backoffOf(class imds.Class) backoff {
	switch class {
	case imds.Updating:
		return backoff{time.Second, 10 * time.Second}
	case imds.NotAssigned:
		return backoff{5 * time.Second, 30 * time.Second}
	case imds.Denied, imds.Misconfigured:
		return backoff{10 * time.Second, time.Minute}
	case imds.Malformed:
		return backoff{time.Second, 30 * time.Second}
	default: // Unavailable; Throttled where the gate knows no better
		return backoff{time.Second, time.Minute}
	}
}

// wait is the wait after so many failures in a row: between one and two times
// the first, then doubled each time. The jitter is there from the start, for
// what failed together would else be tried together.
func (b backoff) wait(failures int, random float64) time.Duration {
	doublings := min(max(failures, 1), 12) // more than any class needs
	d := min(b.first<<doublings, max(b.last, b.first))
	return time.Duration(float64(d) * (0.5 + 0.5*random))
}

// throttleWait is the pause after so many 429s in a row that do not say how
// long. All who share the limit have heard the same, and how many they are is
// not known: 60 that start together need 8 s for the first call of each, at the
// documented 20 a second.
func throttleWait(throttled int, random float64) time.Duration {
	const least, most, first = time.Second, time.Minute, 8 * time.Second
	doublings := min(max(throttled-1, 0), 3)
	return least + time.Duration(random*float64(min(first<<doublings, most)-least))
}

// askedWait is the pause that was asked for. Jitter comes on top: whoever asked
// for it is not to be met by everybody at its end.
func askedWait(asked time.Duration, random float64) time.Duration {
	return asked + time.Duration(random*float64(min(asked/10, 5*time.Second)))
}

// calmWait is the pause, after so many failures in a row, for calls that have
// time: while every key has a token, it need not be known within a minute that
// the source is back. It is at most a small part of what such a key has left.
func calmWait(failures int, random float64) time.Duration {
	return backoff{earlyPause, 20 * time.Minute}.wait(failures, random)
}

// retryAfter is when a key is tried again whose attempt has failed so many times
// in a row. While its token is good, haste helps nobody: the waits grow to a
// sixteenth of what is left, and get shorter as the end comes near.
func retryAfter(class imds.Class, failures int, left time.Duration, random float64) time.Duration {
	wait := backoffOf(class).wait(failures, random)
	if class == imds.Throttled {
		wait = jitter(time.Second, random) // the gate holds everybody back
	}
	if left <= urgent {
		return wait
	}
	early := backoff{earlyPause, min(max(left/16, 2*earlyPause), longestRetry)}
	return max(early.wait(failures, random), wait)
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
// few seconds does not help. A nil one is not.
func isFinal(err error) bool {
	class := classOf(err)
	return class == imds.Misconfigured || class == imds.Denied
}

// isOutage reports whether a failure tells that the source is down, or that
// something else answers in its place.
func isOutage(class imds.Class) bool {
	return class == imds.Unavailable || class == imds.Updating || class == imds.Malformed
}
