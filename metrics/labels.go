package metrics

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Cause is why a service gave no answer.
type Cause string

// The causes; any other string counts as CauseOther.
const (
	CauseDNS       Cause = "dns"       // the name was not resolved
	CauseConnect   Cause = "connect"   // no connection was made
	CauseTLS       Cause = "tls"       // the handshake failed, or the certificate is not the service's
	CauseTimeout   Cause = "timeout"   // it took too long
	CauseReset     Cause = "reset"     // the connection broke
	CauseForbidden Cause = "forbidden" // the address may not be reached
	CauseOther     Cause = "other"
)

const other = "other"

func causes() []string {
	return []string{
		string(CauseDNS), string(CauseConnect), string(CauseTLS), string(CauseTimeout),
		string(CauseReset), string(CauseForbidden),
	}
}

func loginResults() []string { return []string{"answered", "refused", "described", "passed"} }

func auditResults() []string { return []string{"written", "lost"} }

func limits() []string { return []string{"total", "per_caller"} }

func transparentOutcomes() []string {
	return []string{"intercepted", "spliced", "unreachable", "refused", "silent"}
}

func tokenResults() []string { return []string{"hit", "stale", "wait", "failed"} }

// refreshResults are those of a success and package imds's classes of failure.
func refreshResults() []string {
	return []string{
		"success", "same_token",
		"unavailable", "throttled", "updating", "not_assigned", "misconfigured", "denied", "malformed",
	}
}

// metadataCodes are the statuses that package metadata answers with.
func metadataCodes() []string {
	return []string{"200", "400", "403", "404", "405", "421", "429", "503"}
}

// imdsCodes are the statuses that IMDS documents, those of a proxy in its way,
// and "error" for no answer.
func imdsCodes() []string {
	return []string{"200", "400", "401", "403", "404", "405", "410", "429", "500", "502", "503", "504", "error"}
}

// closed counts by a label whose values are all known beforehand. Anything else
// counts as "other".
type closed struct {
	counters map[string]prometheus.Counter // never written after it was made
	other    prometheus.Counter
}

func newClosed(v *prometheus.CounterVec, values []string) *closed {
	c := &closed{counters: make(map[string]prometheus.Counter, len(values)), other: v.WithLabelValues(other)}
	for _, value := range values {
		c.counters[value] = v.WithLabelValues(value)
	}
	return c
}

func (c *closed) inc(value string) { c.add(value, 1) }

func (c *closed) add(value string, n int) {
	counter, ok := c.counters[value]
	if !ok {
		counter = c.other
	}
	counter.Add(float64(n))
}

// The bounds of what an open label can make of a mistake: more values than
// there are codes, and operations.
const (
	maxCodes      = 64
	maxOperations = 1024
)

// open counts by a label whose values are constants elsewhere. Beyond most
// values, all count as "other".
type open struct {
	vec      *prometheus.CounterVec
	most     int
	mu       sync.Mutex // serialises those who add a value
	counters atomic.Pointer[map[string]prometheus.Counter]
}

func newOpen(v *prometheus.CounterVec, most int) *open {
	o := &open{vec: v, most: most}
	o.counters.Store(&map[string]prometheus.Counter{})
	return o
}

func (o *open) inc(value string) {
	c, ok := (*o.counters.Load())[value]
	if !ok {
		c = o.add(value)
	}
	c.Inc()
}

func (o *open) add(value string) prometheus.Counter {
	o.mu.Lock()
	defer o.mu.Unlock()
	old := *o.counters.Load()
	if len(old) >= o.most {
		value = other
	}
	if c, ok := old[value]; ok {
		return c
	}
	grown := maps.Clone(old)
	c := o.vec.WithLabelValues(strings.ToValidUTF8(value, "\uFFFD"))
	grown[value] = c
	o.counters.Store(&grown)
	return c
}

// gatherError makes an error of what promhttp would print.
func gatherError(v []any) error {
	var errs []error
	for _, part := range v {
		if err, ok := part.(error); ok {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New(strings.TrimSpace(fmt.Sprintln(v...))))
	}
	return fmt.Errorf("gathering metrics: %w", errors.Join(errs...))
}
