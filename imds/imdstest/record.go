package imdstest

import (
	"maps"
	"net/http"
	"slices"
	"time"
)

// keepCalls bounds what is recorded, for emulators that stay up for long.
const keepCalls = 100_000

// Call is what was seen of one call for a token. It holds no token.
type Call struct {
	Time     time.Time // of its arrival
	Resource string    // as it was asked for
	Identity Identity  // that it was for; zero where none was found
	Status   int       // of the answer; 0 while or where there is none
}

// Stats count the calls for a token since the start.
type Stats struct {
	Calls    int
	ByStatus map[int]int // of those that have ended
	Minted   int         // tokens that were made
	AtOnce   int         // the most calls that were under way together
}

// record is what a Server remembers. Its owner's lock guards it.
type record struct {
	calls    []*call
	total    int
	byStatus map[int]int
	minted   int
	underWay int
	atOnce   int         // the most that underWay was
	admitted int         // calls under way that are within the limits
	lately   []time.Time // when such calls came in the second that ends now
}

// call is a Call under way.
type call struct {
	Call
	over bool // it is beyond the machine's limits
}

// Calls gives the latest 100,000 calls for a token, in order of arrival.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := make([]Call, len(s.record.calls))
	for i, c := range s.record.calls {
		calls[i] = c.Call
	}
	return calls
}

// Stats gives the counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.record
	return Stats{Calls: r.total, ByStatus: maps.Clone(r.byStatus), Minted: r.minted, AtOnce: r.atOnce}
}

// begin notes a call and judges it by the machine's limits. What is beyond them
// does not count towards them.
func (s *Server) begin(r *http.Request) *call {
	c := &call{Call: Call{Time: s.o.Now(), Resource: r.URL.Query().Get("resource")}}
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, limits := &s.record, s.o.Limits
	if len(rec.calls) == keepCalls {
		rec.calls = slices.Delete(rec.calls, 0, keepCalls/10) // not one at a time
	}
	rec.calls = append(rec.calls, c)
	rec.total++
	rec.underWay++
	rec.atOnce = max(rec.atOnce, rec.underWay)
	rec.lately = slices.DeleteFunc(rec.lately, func(t time.Time) bool { return c.Time.Sub(t) >= time.Second })
	c.over = limits.PerSecond > 0 && len(rec.lately) >= limits.PerSecond || limits.AtOnce > 0 && rec.admitted >= limits.AtOnce
	if !c.over {
		rec.admitted++
		if limits.PerSecond > 0 {
			rec.lately = append(rec.lately, c.Time)
		}
	}
	return c
}

// note adds to a call whom it was for.
func (s *Server) note(c *call, id machineIdentity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Identity = id.Identity
}

// end notes the status of a call. It comes before the answer is sent, so that
// whoever has the answer finds its call ended.
func (s *Server) end(c *call, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Status = status
	if s.record.byStatus == nil {
		s.record.byStatus = make(map[int]int)
	}
	s.record.byStatus[status]++
	s.record.underWay--
	if !c.over {
		s.record.admitted--
	}
}
