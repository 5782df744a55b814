package metrics

import (
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// methodOther is the number of methods that have a name of their own, and the
// index of those that have none.
const methodOther = 8

// classCount is the number of classes of status: none, 1xx to 5xx.
const classCount = 6

// statusClientGone is what package proxy notes where the caller left before its
// answer. Nothing was sent then.
const statusClientGone = 499

// What stands for the route of calls that have none.
const (
	Unrouted    = "unrouted"
	Intercepted = "intercepted" // the CONNECT before calls that are each routed by themselves
)

// Route counts the requests of one route. It is safe for concurrent use.
type Route struct {
	name     string
	m        *Metrics
	ownMu    sync.Mutex                                                      // guards own
	own      map[ownCase]prometheus.Counter                                  // made when first used
	requests [methodOther + 1][classCount]atomic.Pointer[prometheus.Counter] // made when first used
	duration prometheus.Observer
	buckets  []float64      // of duration
	traced   []atomic.Int64 // when each bucket, and what is beyond, last got an exemplar, in Unix seconds
	received prometheus.Counter
	sent     prometheus.Counter
	strange  prometheus.Counter
}

// Route gives the handle that counts a route's requests. name comes from the
// configuration, or is a constant.
func (m *Metrics) Route(name string) *Route {
	if r := (*m.routes.Load())[name]; r != nil {
		return r
	}
	m.routeMu.Lock()
	defer m.routeMu.Unlock()
	old := *m.routes.Load()
	if r := old[name]; r != nil {
		return r
	}
	grown := maps.Clone(old)
	r := m.newRoute(name)
	grown[name] = r
	m.routes.Store(&grown)
	return r
}

func (m *Metrics) newRoute(name string) *Route {
	buckets := requestBuckets()
	return &Route{
		name:     name,
		m:        m,
		own:      make(map[ownCase]prometheus.Counter),
		duration: m.duration.WithLabelValues(name),
		buckets:  buckets,
		traced:   make([]atomic.Int64, len(buckets)+1),
		received: m.received.WithLabelValues(name),
		sent:     m.sent.WithLabelValues(name),
		strange:  m.strange.WithLabelValues(name),
	}
}

// SetRoutes makes the routes of a configuration known, so that each is there
// with a zero before its first request, and drops what other routes have left.
// Unrouted and Intercepted always stay.
func (m *Metrics) SetRoutes(names ...string) {
	m.routeMu.Lock()
	defer m.routeMu.Unlock()
	old := *m.routes.Load()
	routes := make(map[string]*Route, len(names)+2)
	for _, name := range append([]string{Unrouted, Intercepted}, names...) {
		if routes[name] = old[name]; routes[name] == nil {
			routes[name] = m.newRoute(name)
		}
	}
	m.routes.Store(&routes)
	for name := range old {
		if routes[name] != nil {
			continue
		}
		label := prometheus.Labels{"route": name}
		m.requests.DeletePartialMatch(label)
		m.duration.DeletePartialMatch(label)
		m.received.DeletePartialMatch(label)
		m.sent.DeletePartialMatch(label)
		m.strange.DeletePartialMatch(label)
		m.own.DeletePartialMatch(label)
	}
}

// Observe counts a request that has ended. method is as the caller wrote it;
// status is what the caller got, 0 or 499 if nothing; received and sent are the
// bytes of the bodies from and to the caller; trace is the id of the trace that
// the request is part of, empty if of none that anybody keeps.
func (r *Route) Observe(method string, status int, took time.Duration, received, sent int64, trace string) {
	i, class := methodIndex(method), classIndex(status)
	c := r.requests[i][class].Load()
	if c == nil {
		c = r.counter(i, class)
	}
	(*c).Inc()
	in, out := r.received, r.sent
	if method == http.MethodConnect {
		in, out = r.m.tunnelReceived, r.m.tunnelSent
	} else if status != http.StatusSwitchingProtocols {
		// What stays open for hours would drown the times of real answers.
		r.time(took.Seconds(), trace)
	}
	if received > 0 {
		in.Add(float64(received))
	}
	if sent > 0 {
		out.Add(float64(sent))
	}
}

// time notes how long a request took, and now and then the trace to look at as
// an example. A trace with each would cost more than all else that is counted,
// and a scrape reads but the last: so one for each bucket and second.
func (r *Route) time(seconds float64, trace string) {
	if trace != "" {
		bucket, _ := slices.BinarySearch(r.buckets, seconds)
		last, now := r.traced[bucket].Load(), time.Now().Unix()
		if last != now && r.traced[bucket].CompareAndSwap(last, now) {
			r.duration.(prometheus.ExemplarObserver).ObserveWithExemplar(seconds, prometheus.Labels{"trace_id": trace})
			return
		}
	}
	r.duration.Observe(seconds)
}

// CallerRefused counts a call that the route refused for who made it.
func (r *Route) CallerRefused() { r.strange.Inc() }

// counter makes a counter at its first use: 54 series for each route would
// mostly be zero for ever.
func (r *Route) counter(method, class int) *prometheus.Counter {
	c := r.m.requests.WithLabelValues(r.name, methodName(method), className(class))
	r.requests[method][class].Store(&c)
	return &c
}

// ownCase is a credential of a caller's own and what became of it.
type ownCase struct{ kind, action string }

// ObserveOwn counts a call that brought a credential of its own. kind and action
// must each be one of a fixed number of constants.
func (r *Route) ObserveOwn(kind, action string) {
	key := ownCase{kind, action}
	r.ownMu.Lock()
	c := r.own[key]
	if c == nil {
		c = r.m.own.WithLabelValues(r.name, kind, action)
		r.own[key] = c
	}
	r.ownMu.Unlock()
	c.Inc()
}

func methodIndex(method string) int {
	switch method {
	case http.MethodGet:
		return 0
	case http.MethodHead:
		return 1
	case http.MethodPost:
		return 2
	case http.MethodPut:
		return 3
	case http.MethodPatch:
		return 4
	case http.MethodDelete:
		return 5
	case http.MethodOptions:
		return 6
	case http.MethodConnect:
		return 7
	default:
		return methodOther
	}
}

func methodName(i int) string {
	return [methodOther + 1]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "other"}[i]
}

func classIndex(status int) int {
	if status < 100 || status > 599 || status == statusClientGone {
		return 0
	}
	return status / 100
}

func className(i int) string {
	return [classCount]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}[i]
}

// Listener counts the connections of one listener. It is safe for concurrent
// use.
type Listener struct {
	open     prometheus.Gauge
	accepted prometheus.Counter
}

// Listener gives the handle that counts a listener's connections. address is as
// configured.
func (m *Metrics) Listener(address string) *Listener {
	return &Listener{
		open:     m.connectionsOpen.WithLabelValues(address),
		accepted: m.connectionsAccepted.WithLabelValues(address),
	}
}

// Accepted counts a connection that is open from now on.
func (l *Listener) Accepted() {
	l.accepted.Inc()
	l.open.Inc()
}

// Closed counts the end of a connection.
func (l *Listener) Closed() { l.open.Dec() }
