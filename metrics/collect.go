package metrics

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TokenSample is what the metrics tell of one token. It holds no token.
type TokenSample struct {
	Audience string
	Identity string
	Obtained time.Time
	Expires  time.Time // zero: there is none yet
	Next     time.Time // of the next attempt
	State    string    // one of the cache's: absent, fresh, due, expired
	Class    string    // of the last attempt's failure; empty: it did not fail
}

// CollectTokens sets who is asked, at each scrape, which tokens there are. It
// must answer at once.
func (m *Metrics) CollectTokens(samples func() []TokenSample) { m.tokens.Store(&samples) }

func tokenLabels() []Label {
	return []Label{
		{"audience", "the resource that the token is for"},
		{"identity", "whose token it is: `system-assigned`, or the kind and the id of a user-assigned identity"},
	}
}

// tokenCollector makes metrics of the samples of the moment, so that a token
// that is dropped leaves no series behind.
type tokenCollector struct {
	samples  *atomic.Pointer[func() []TokenSample]
	expiry   *prometheus.Desc
	obtained *prometheus.Desc
	next     *prometheus.Desc
	state    *prometheus.Desc
	failing  *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *tokenCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.expiry
	ch <- c.obtained
	ch <- c.next
	ch <- c.state
	ch <- c.failing
}

// Collect implements prometheus.Collector.
func (c *tokenCollector) Collect(ch chan<- prometheus.Metric) {
	samples := c.samples.Load()
	if samples == nil {
		return
	}
	type key struct{ audience, identity string }
	seen := make(map[key]bool)
	for _, s := range (*samples)() {
		k := key{strings.ToValidUTF8(s.Audience, "\uFFFD"), strings.ToValidUTF8(s.Identity, "\uFFFD")}
		// The registry refuses to serve anything if two samples have one name.
		if seen[k] {
			continue
		}
		seen[k] = true
		ch <- prometheus.MustNewConstMetric(c.expiry, prometheus.GaugeValue, unixSeconds(s.Expires), k.audience, k.identity)
		if !s.Obtained.IsZero() {
			ch <- prometheus.MustNewConstMetric(c.obtained, prometheus.GaugeValue, unixSeconds(s.Obtained), k.audience, k.identity)
		}
		if !s.Next.IsZero() {
			ch <- prometheus.MustNewConstMetric(c.next, prometheus.GaugeValue, unixSeconds(s.Next), k.audience, k.identity)
		}
		if s.State != "" {
			ch <- prometheus.MustNewConstMetric(c.state, prometheus.GaugeValue, 1, k.audience, k.identity, s.State)
		}
		if s.Class != "" {
			ch <- prometheus.MustNewConstMetric(c.failing, prometheus.GaugeValue, 1, k.audience, k.identity, s.Class)
		}
	}
}

// CollectThrottle sets who is asked, at each scrape, until when no call to IMDS
// is made and how many a second are allowed. It must answer at once.
func (m *Metrics) CollectThrottle(throttle func() (pausedUntil time.Time, rate float64)) {
	m.throttle.Store(&throttle)
}

// throttleCollector makes metrics of how IMDS may be asked at the moment.
type throttleCollector struct {
	throttle    *atomic.Pointer[func() (time.Time, float64)]
	rate        *prometheus.Desc
	pausedUntil *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *throttleCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.rate
	ch <- c.pausedUntil
}

// Collect implements prometheus.Collector.
func (c *throttleCollector) Collect(ch chan<- prometheus.Metric) {
	throttle := c.throttle.Load()
	if throttle == nil {
		return
	}
	pausedUntil, rate := (*throttle)()
	ch <- prometheus.MustNewConstMetric(c.rate, prometheus.GaugeValue, rate)
	ch <- prometheus.MustNewConstMetric(c.pausedUntil, prometheus.GaugeValue, unixSeconds(pausedUntil))
}

// CertificateSample is what the metrics tell of a listener's own certificate.
type CertificateSample struct {
	Listener string    // its address, as configured
	Expires  time.Time // zero: there is none yet
	Failing  bool      // the last attempt to get or read one failed
}

// CollectCertificates sets who is asked, at each scrape, which certificates the
// listeners show as their own. It must answer at once.
func (m *Metrics) CollectCertificates(samples func() []CertificateSample) {
	m.certificates.Store(&samples)
}

// certificateCollector makes metrics of the samples of the moment.
type certificateCollector struct {
	samples *atomic.Pointer[func() []CertificateSample]
	expiry  *prometheus.Desc
	failing *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *certificateCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.expiry
	ch <- c.failing
}

// Collect implements prometheus.Collector.
func (c *certificateCollector) Collect(ch chan<- prometheus.Metric) {
	samples := c.samples.Load()
	if samples == nil {
		return
	}
	for _, s := range (*samples)() {
		failing := 0.0
		if s.Failing {
			failing = 1
		}
		name := strings.ToValidUTF8(s.Listener, "\uFFFD")
		ch <- prometheus.MustNewConstMetric(c.expiry, prometheus.GaugeValue, unixSeconds(s.Expires), name)
		ch <- prometheus.MustNewConstMetric(c.failing, prometheus.GaugeValue, failing, name)
	}
}

// RedirectSample is what the last look at the kernel's rules found.
type RedirectSample struct {
	Wanted  bool      // the configuration asks for rules; otherwise there are no metrics of them
	InPlace bool      // they were as the configuration means them
	Checked time.Time // zero: nobody has looked
}

// CollectRedirect sets who is asked, at each scrape, how the kernel's rules
// stand. It must answer at once.
func (m *Metrics) CollectRedirect(sample func() RedirectSample) { m.redirect.Store(&sample) }

// redirectCollector makes metrics of the kernel's rules.
type redirectCollector struct {
	redirect *atomic.Pointer[func() RedirectSample]
	inPlace  *prometheus.Desc
	checked  *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *redirectCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.inPlace
	ch <- c.checked
}

// Collect implements prometheus.Collector.
func (c *redirectCollector) Collect(ch chan<- prometheus.Metric) {
	redirect := c.redirect.Load()
	if redirect == nil {
		return
	}
	s := (*redirect)()
	if !s.Wanted {
		return
	}
	var inPlace float64
	if s.InPlace {
		inPlace = 1
	}
	ch <- prometheus.MustNewConstMetric(c.inPlace, prometheus.GaugeValue, inPlace)
	ch <- prometheus.MustNewConstMetric(c.checked, prometheus.GaugeValue, unixSeconds(s.Checked))
}

// unixSeconds gives 0 for no time.
func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
