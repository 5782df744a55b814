package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
)

const (
	crowd        = 1000             // callers that come at once
	callers      = time.Second      // between two callers that come one after the other
	patience     = 10 * time.Second // of each of those
	answerTime   = 50 * time.Millisecond
	throttleTime = 10 * time.Minute
	outageTime   = 11 * time.Hour
)

// documented is what a machine's IMDS takes; a 429 says nothing of when to come
// back (https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service#rate-limiting).
var documented = imdstest.Limits{PerSecond: 20, AtOnce: 5}

// halfway has IMDS say that a token is to be refreshed after half of what it
// still lives. Its answers may say when; MSAL's cache refreshes early only then.
func halfway() imdstest.Fault {
	return imdstest.Altered(func(answer map[string]any) {
		text, _ := answer["expires_in"].(string)
		left, _ := strconv.Atoi(text) // the emulator's own; a wrong one is no answer's time
		answer["refresh_in"] = strconv.Itoa(left / 2)
	}).Always()
}

// stage is one client in front of one emulated IMDS. It lives in a bubble.
type stage struct {
	imds  *imdstest.Server
	get   getToken
	start time.Time
	wg    sync.WaitGroup // of the callers

	mu    sync.Mutex // guards what follows
	asked []asked
	ends  map[string]time.Time // of the tokens that were given out
}

// asked is how one caller fared.
type asked struct {
	at, took time.Duration // at: since the start
	err      error
	expired  bool // the token that it got
}

// play runs a scenario in a bubble of its own, cold: every stage has an audience
// that was never asked for, since MSAL keeps the tokens of a whole process.
func play(t *testing.T, key *rsa.PrivateKey, c tokenClient, lifetime time.Duration, scene func(*testing.T, *stage)) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{start: time.Now(), ends: make(map[string]time.Time)}
		s.imds = imdstest.New(imdstest.Options{Key: key, Unsigned: true, Lifetime: lifetime, Limits: documented})
		s.get = c.open(t, s.imds, "https://"+strings.ToLower(rand.Text())+".example")
		scene(t, s)
	})
}

// ask is one caller.
func (s *stage) ask(ctx context.Context, patience time.Duration) {
	at := time.Now()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	token, err := s.get(ctx)
	if err == nil {
		err = ctx.Err() // who has left has nothing from a token that comes then
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	a := asked{at: at.Sub(s.start), took: now.Sub(at), err: err}
	if err == nil {
		a.expired = !now.Before(s.endLocked(token))
	}
	s.asked = append(s.asked, a)
}

// endLocked is when a token ends; what is none has ended.
func (s *stage) endLocked(token string) time.Time {
	end, ok := s.ends[token]
	if ok {
		return end
	}
	var claims struct {
		Exp int64 `json:"exp"`
	}
	if parts := strings.Split(token, "."); len(parts) == 3 {
		text, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err == nil && json.Unmarshal(text, &claims) == nil {
			end = time.Unix(claims.Exp, 0)
		}
	}
	s.ends[token] = end
	return end
}

// goOn has callers come, one at a time, for d.
func (s *stage) goOn(t *testing.T, d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(callers) {
		s.wg.Go(func() { s.ask(t.Context(), patience) })
	}
}

// past is how long ago the start was.
func (s *stage) past() time.Duration { return time.Since(s.start) }

// outcome is what a scenario came to. Times of a window count from its begin.
type outcome struct {
	asked, failed, expired int
	slowest                time.Duration
	first, last            time.Duration // when the first and the last caller was served
	calls                  int           // of IMDS
	refused                int           // of those, by its limits
	recovered              time.Duration // from the window's end to IMDS's next good answer; -1: none came
}

// sum adds a stage up from one time since its start to another.
func (s *stage) sum(from, to time.Duration) (o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.first, o.recovered = -1, -1
	for _, a := range s.asked {
		if a.at < from || a.at >= to {
			continue
		}
		o.asked++
		o.slowest = max(o.slowest, a.took)
		if a.err != nil {
			o.failed++
			continue
		}
		if a.expired {
			o.expired++
		}
		served := a.at + a.took - from
		if o.first < 0 || served < o.first {
			o.first = served
		}
		o.last = max(o.last, served)
	}
	for _, c := range s.imds.Calls() {
		if at := c.Time.Sub(s.start); at < from || at >= to {
			continue
		}
		o.calls++
		if c.Status == http.StatusTooManyRequests {
			o.refused++
		}
	}
	return o
}

// recovery is when IMDS gave a token after the end of a window.
func (s *stage) recovery(end time.Duration) time.Duration {
	for _, c := range s.imds.Calls() {
		if at := c.Time.Sub(s.start) - end; at >= 0 && c.Status == http.StatusOK {
			return at
		}
	}
	return -1
}

// coldStart has a thousand callers come at once where there is no token. They
// have five minutes, so that it is the client that decides when to give up.
func coldStart(t *testing.T, key *rsa.PrivateKey, c tokenClient) (o outcome) {
	play(t, key, c, 24*time.Hour, func(t *testing.T, s *stage) {
		s.imds.Script(imdstest.Slow(answerTime).Always())
		for range crowd {
			s.wg.Go(func() { s.ask(t.Context(), 5*time.Minute) })
		}
		s.wg.Wait()
		o = s.sum(0, s.past()+1)
	})
	return o
}

// updating is a start into the 70 s of a 410.
func updating(t *testing.T, key *rsa.PrivateKey, c tokenClient) (o outcome) {
	play(t, key, c, 24*time.Hour, func(t *testing.T, s *stage) {
		s.imds.Script(imdstest.Unavailable(http.StatusGone).For(imdstest.Updating))
		s.goOn(t, 2*time.Minute)
		s.wg.Wait()
		o = s.sum(0, s.past()+1)
		o.calls = s.sum(0, imdstest.Updating).calls
		o.recovered = s.recovery(imdstest.Updating)
	})
	return o
}

// window has IMDS fail for a time, while there is a token that lives on but is
// to be refreshed within it, and goes on until that token has ended.
func window(t *testing.T, key *rsa.PrivateKey, c tokenClient, lifetime, from, length time.Duration, fault imdstest.Fault) (o outcome) {
	play(t, key, c, lifetime, func(t *testing.T, s *stage) {
		s.imds.Script(halfway())
		s.ask(t.Context(), patience)
		if err := s.asked[0].err; err != nil {
			t.Fatalf("no token at the start: %v", err)
		}
		time.Sleep(from)
		s.imds.Clear()
		s.imds.Script(fault.Always())
		s.goOn(t, length)
		s.imds.Clear()
		s.imds.Script(halfway())
		s.goOn(t, lifetime-from-length+10*time.Minute)
		s.wg.Wait()
		o = s.sum(from, s.past()+1)
		o.calls = s.sum(from, from+length).calls
		o.recovered = s.recovery(from + length)
	})
	return o
}

// throttled is ten minutes of 429 in the life of a token of an hour: the window
// holds the half of that life, and the tenth before it that bearerd's jitter takes.
func throttled(t *testing.T, key *rsa.PrivateKey, c tokenClient) outcome {
	return window(t, key, c, time.Hour, 26*time.Minute, throttleTime, imdstest.Throttled(nil))
}

// outage is the longest outage that a token of a day has to outlast.
func outage(t *testing.T, key *rsa.PrivateKey, c tokenClient) outcome {
	return window(t, key, c, 24*time.Hour, 12*time.Hour, outageTime, imdstest.Unavailable(http.StatusServiceUnavailable))
}
