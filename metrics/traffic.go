package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Traffic is what a route's counters say, for people: since the start of the
// daemon, or since a reload brought the route.
type Traffic struct {
	Requests      uint64 // that have ended
	ClientErrors  uint64 // of them those answered with 4xx, by the service or by us
	ServerErrors  uint64 // 5xx
	Broken        uint64 // whose caller left before its answer
	ReceivedBytes uint64 // from callers
	SentBytes     uint64 // to callers
}

// Traffic reads the counters that a scrape reads.
func (r *Route) Traffic() (t Traffic) {
	for method := range r.requests {
		for class := range r.requests[method] {
			c := r.requests[method][class].Load()
			if c == nil {
				continue
			}
			n := valueOf(*c)
			t.Requests += n
			switch class {
			case 0:
				t.Broken += n
			case 4:
				t.ClientErrors += n
			case 5:
				t.ServerErrors += n
			}
		}
	}
	t.ReceivedBytes, t.SentBytes = valueOf(r.received), valueOf(r.sent)
	return t
}

// Counts gives how many connections are open, and how many ever were.
func (l *Listener) Counts() (open, accepted uint64) {
	return valueOf(l.open), valueOf(l.accepted)
}

// UnderWay gives how many requests there are at the moment, tunnels among them.
func (m *Metrics) UnderWay() uint64 { return valueOf(m.InFlight) }

// valueOf reads a counter or a gauge.
func valueOf(m prometheus.Metric) uint64 {
	var sample dto.Metric
	if err := m.Write(&sample); err != nil {
		panic("metrics: a counter cannot be read: " + err.Error())
	}
	return uint64(max(sample.GetCounter().GetValue()+sample.GetGauge().GetValue(), 0))
}
