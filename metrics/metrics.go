// Package metrics has every metric of bearerd: its name, help, type and labels.
//
// What counts takes a handle that is resolved beforehand, so that counting
// costs a request next to nothing. Every label's values come from the
// configuration or from a closed list, never from what a caller sends: a caller
// could otherwise make as many series as it likes.
package metrics

import (
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics counts what one daemon does, in a registry of its own. New makes one;
// it is safe for concurrent use.
type Metrics struct {
	InFlight        prometheus.Gauge   // requests under way
	Replays         prometheus.Counter // calls sent once more with another token
	TunnelsOpen     prometheus.Gauge   // tunnels and WebSockets
	AuthorityLeaves prometheus.Gauge   // leaves in memory
	IdentityChanges prometheus.Counter // of whom an identity's tokens are issued to
	Learning        prometheus.Gauge   // 1 while restrictions of the routes are suspended

	registry  *prometheus.Registry
	described []Description

	requests *prometheus.CounterVec   // by route, method, code
	duration *prometheus.HistogramVec // by route
	received *prometheus.CounterVec   // by route
	sent     *prometheus.CounterVec   // by route
	strange  *prometheus.CounterVec   // by route
	own      *prometheus.CounterVec   // by route, kind, action
	routeMu  sync.Mutex               // serialises those who replace routes
	routes   atomic.Pointer[map[string]*Route]

	tunnelReceived prometheus.Counter
	tunnelSent     prometheus.Counter

	refusals       *open
	operations     *open
	upstreamErrors *closed
	logins         *closed

	connectionsOpen     *prometheus.GaugeVec   // by listener
	connectionsAccepted *prometheus.CounterVec // by listener
	connectionsLimited  *closed
	transparent         *closed

	tokens         atomic.Pointer[func() []TokenSample]
	tokenRequests  *closed
	tokenRefreshes *closed

	redirect atomic.Pointer[func() RedirectSample]

	auditRecords *closed
	auditFailing prometheus.Gauge
	logDropped   prometheus.Counter

	throttle          atomic.Pointer[func() (time.Time, float64)]
	metadataRequests  *closed
	imdsRequests      *closed
	imdsDuration      prometheus.Histogram
	throttlePauses    prometheus.Counter
	throttlePausedFor prometheus.Counter

	authorityExpiry prometheus.Gauge
	certificates    atomic.Pointer[func() []CertificateSample]

	reloadSuccessful prometheus.Gauge
	reloadTimestamp  prometheus.Gauge
}

// New makes the metrics of a daemon of this version.
func New(version string) *Metrics {
	b := &builder{registry: prometheus.NewRegistry()}
	m := &Metrics{registry: b.registry}
	m.routes.Store(&map[string]*Route{})

	listener := Label{"listener", "the listener's address, as configured"}
	route := Label{"route", "the route's name; `" + Unrouted + "` for calls that no route takes, `" + Intercepted + "` for the CONNECT before those that one may take"}

	m.requests = b.counters("requests_total",
		"Requests that have ended.", route,
		Label{"method", "`GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`, `OPTIONS`, `CONNECT`, `other`"},
		Label{"code", "`1xx` to `5xx`, the class of the status that the caller got; `none` where it left before"})
	m.duration = b.histograms("request_duration_seconds",
		"Time from a request's header to the end of its answer. Tunnels and WebSockets are not timed.",
		requestBuckets(), route)
	m.InFlight = b.gauge("requests_in_flight", "Requests under way, tunnels among them.")
	m.received = b.counters("received_bytes_total",
		"Bytes of bodies received from callers; of a WebSocket all that follows the upgrade. Tunnels are not included.", route)
	m.sent = b.counters("sent_bytes_total",
		"Bytes of bodies sent to callers; of a WebSocket all that follows the upgrade. Tunnels are not included.", route)
	m.own = b.counters("own_credentials_total",
		"Calls that brought a credential of their own to a route that takes them.", route,
		Label{"kind", "`token` (live), `sas`, `foreign` (a live token for another service), `placeholder` (see `entra`), `dead` (a shared key, a dummy, an expired token)"},
		Label{"action", "`pass` (untouched), `inject` (the machine's token in its place), `refuse`"})
	m.refusals = b.open("errors_total",
		"Answers that bearerd gave instead of the service's.", maxCodes,
		Label{"code", "what the answer's header `Bearerd-Error` says"})
	m.operations = b.open("operations_total",
		"Calls to routed hosts that have ended, refused ones among them, by what they ask the service to do.", maxOperations,
		Label{"operation", "one of the list in [services.md](services.md), or what is not understood, such as `storage.unknown`; there from its first call on"})
	m.strange = b.counters("caller_refusals_total",
		"Calls refused because the route that came closest is for other callers, or because who called was not known.", route)
	m.Replays = b.counter("replays_total", "Calls sent once more because the service had rejected the token.")
	m.upstreamErrors = b.closed("upstream_errors_total",
		"Calls and tunnels that got no answer from the service, or half of one.", "cause", causes())

	m.logins = b.closed("logins_total",
		"Calls to a login host (see `entra`): answered with a placeholder, refused because no route has what was asked for, answered with a discovery document, or passed on to Entra.",
		"result", loginResults())

	m.TunnelsOpen = b.gauge("tunnels_open", "Tunnels and WebSockets that are open.")
	m.tunnelReceived = b.counter("tunnel_received_bytes_total", "Bytes received from callers through tunnels that have ended.")
	m.tunnelSent = b.counter("tunnel_sent_bytes_total", "Bytes sent to callers through tunnels that have ended.")

	m.connectionsOpen = b.gauges("connections_open", "Callers' connections that are open.", listener)
	m.connectionsAccepted = b.counters("connections_accepted_total", "Callers' connections that were accepted.", listener)
	m.connectionsLimited = b.closed("connections_limited_total",
		"Callers' connections that met a limit: of one caller, and were closed, or of all, and had to wait.", "limit", limits())

	m.transparent = b.closed("transparent_connections_total",
		"Connections to transparent listeners, by what became of them: a route names their host, they were passed on to where they were going, that could not be reached, it may not be, or they said nothing and had nowhere to go.",
		"outcome", transparentOutcomes())

	b.registry.MustRegister(&tokenCollector{
		samples: &m.tokens,
		expiry: b.desc(KindGauge, "token_expiry_timestamp_seconds",
			"When the token ends, in Unix time; 0 while there is none.", tokenLabels()...),
		obtained: b.desc(KindGauge, "token_obtained_timestamp_seconds",
			"When the token was obtained, in Unix time. Its age is time() less this.", tokenLabels()...),
		next: b.desc(KindGauge, "token_next_attempt_timestamp_seconds",
			"When the token is asked for next, a pause included, in Unix time.", tokenLabels()...),
		state: b.desc(KindGauge, "token_state",
			"1, with how the token stands.", append(tokenLabels(), Label{"state", "`absent`, `fresh`, `due` (its refresh is late) or `expired`"})...),
		failing: b.desc(KindGauge, "token_failing",
			"1, with the class of the failure, while the last attempt to get the token failed.", append(tokenLabels(), Label{"class", "`unavailable`, `throttled`, `updating`, `not_assigned`, `misconfigured`, `denied` or `malformed`"})...),
	})
	m.tokenRequests = b.closed("token_requests_total", "Tokens that calls needed.", "result", tokenResults())
	m.tokenRefreshes = b.closed("token_refreshes_total", "Attempts to get a token, in the background or for a waiting call.", "result", refreshResults())

	m.auditRecords = b.closed("audit_records_total",
		"Records of the audit stream: those that were written, and those that were lost because too many waited for it (`audit.on_error: continue`).", "result", auditResults())
	m.auditFailing = b.gauge("audit_failing", "1 while the last attempt to write the audit stream failed, else 0.")

	m.logDropped = b.counter("log_lines_dropped_total", "Lines left out of the log, for too many had the same message in a second.")

	m.IdentityChanges = b.counter("identity_changes_total",
		"Times that the tokens of an identity were issued to another principal than before; `/status` tells which.")

	m.metadataRequests = b.closed("metadata_requests_total",
		"Calls for a token that bearerd answered in IMDS's place.", "code", metadataCodes())
	m.imdsRequests = b.closed("imds_requests_total", "Calls to IMDS.", "code", imdsCodes())
	m.imdsDuration = b.histogram("imds_request_duration_seconds", "Time that IMDS took to answer, or we to give up.", imdsBuckets())
	b.registry.MustRegister(&throttleCollector{
		throttle: &m.throttle,
		rate: b.desc(KindGauge, "imds_rate",
			"Calls a second that bearerd allows itself to make to IMDS; throttling lowers it."),
		pausedUntil: b.desc(KindGauge, "imds_paused_until_timestamp_seconds",
			"When calls to IMDS are made again, in Unix time; 0 or past while they are made."),
	})
	m.throttlePauses = b.counter("imds_throttle_pauses_total", "Times that IMDS throttled the machine and all calls to it were paused.")
	m.throttlePausedFor = b.counter("imds_throttle_paused_seconds_total", "Seconds for which calls to IMDS were paused.")

	b.registry.MustRegister(&redirectCollector{
		redirect: &m.redirect,
		inPlace: b.desc(KindGauge, "redirect_rules_in_place",
			"1 if the last `bearerd redirect apply` or `verify` found the kernel's rules as the configuration means them, 0 if not or if neither was ever run; absent where it asks for none."),
		checked: b.desc(KindGauge, "redirect_verified_timestamp_seconds",
			"When that was, in Unix time; 0 if neither was ever run."),
	})

	m.Learning = b.gauge("learning", "1 while bearerd learns (`run --learn`), and what routes say of methods, paths and operations does not hold; else 0.")
	m.AuthorityLeaves = b.gauge("authority_leaves", "Certificates for intercepted hosts that are in memory.")
	m.authorityExpiry = b.gauge("authority_expiry_timestamp_seconds", "When the local authority ends, in Unix time; 0 where there is none.")
	b.registry.MustRegister(&certificateCollector{
		samples: &m.certificates,
		expiry: b.desc(KindGauge, "listener_certificate_expiry_timestamp_seconds",
			"When the certificate that a listener shows as its own ends, in Unix time; 0 while there is none.", listener),
		failing: b.desc(KindGauge, "listener_certificate_failing",
			"1 while the last attempt to get, renew or read the listener's certificate failed, else 0.", listener),
	})

	m.reloadSuccessful = b.gauge("config_last_reload_successful", "1 if the last attempt to load the configuration succeeded, 0 if it failed.")
	m.reloadTimestamp = b.gauge("config_last_reload_success_timestamp_seconds", "When the configuration in use was loaded, in Unix time.")

	b.gauges("build_info", "1, with what this bearerd was built from.",
		Label{"version", "bearerd's"}, Label{"goversion", "the Go compiler's"}).
		WithLabelValues(version, runtime.Version()).Set(1)

	b.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.described = b.described
	return m
}

// requestBuckets fit what crosses a machine's loopback (1 ms) as well as a
// service's slowest answers.
func requestBuckets() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
}

// imdsBuckets end where an attempt is given up.
func imdsBuckets() []float64 {
	return []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
}

// maxScrapes is how many scrapes are answered at once; more get 503.
const maxScrapes = 8

// Handler serves the metrics to Prometheus. failed is told of metrics that could
// not be gathered, and those that could are served all the same; nil: nobody is
// told.
func (m *Metrics) Handler(failed func(error)) http.Handler {
	if failed == nil {
		failed = func(error) {}
	}
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            errorLog(failed),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
		EnableOpenMetrics:   true, // the only text that has exemplars
		DisableCompression:  true, // it would double what a scrape takes, mostly to get through loopback
	})
}

// Refused counts an answer of our own by its code, which must be one of a fixed
// number of constants.
func (m *Metrics) Refused(code string) { m.refusals.inc(code) }

// Operation counts a call by what it does, which must be one of a fixed number
// of constants.
func (m *Metrics) Operation(name string) { m.operations.inc(name) }

// Login counts a call to a login host by how it ended: "answered", "refused",
// "described" or "passed".
func (m *Metrics) Login(result string) { m.logins.inc(result) }

// UpstreamError counts a call or tunnel that the service did not answer.
func (m *Metrics) UpstreamError(c Cause) { m.upstreamErrors.inc(string(c)) }

// ConnectionLimited counts a connection that met a limit, and was closed or had
// to wait: "total" or "per_caller".
func (m *Metrics) ConnectionLimited(limit string) { m.connectionsLimited.inc(limit) }

// TransparentConnection counts a connection to a transparent listener:
// "intercepted", "spliced", "unreachable", "refused" or "silent".
func (m *Metrics) TransparentConnection(outcome string) { m.transparent.inc(outcome) }

// Tunnelled counts the bytes from and to a caller of a tunnel that has ended and
// was no request.
func (m *Metrics) Tunnelled(received, sent int64) {
	m.tunnelReceived.Add(float64(received))
	m.tunnelSent.Add(float64(sent))
}

// AuditWritten counts records of the audit stream.
func (m *Metrics) AuditWritten(records int) { m.auditRecords.add("written", records) }

// AuditLost counts records that the audit stream could not keep.
func (m *Metrics) AuditLost(records int) { m.auditRecords.add("lost", records) }

// AuditFailing says whether the audit stream cannot be written.
func (m *Metrics) AuditFailing(failing bool) {
	m.auditFailing.Set(0)
	if failing {
		m.auditFailing.Set(1)
	}
}

// LogLineDropped counts a line that was left out of the log.
func (m *Metrics) LogLineDropped() { m.logDropped.Inc() }

// TokenRequest counts a token that a call needed: "hit", "stale", "wait" or
// "failed".
func (m *Metrics) TokenRequest(result string) { m.tokenRequests.inc(result) }

// TokenRefresh counts an attempt to get a token: "success", "same_token", or the
// class of the failure as package imds names it.
func (m *Metrics) TokenRefresh(result string) { m.tokenRefreshes.inc(result) }

// MetadataRequest counts a call that we answered in IMDS's place.
func (m *Metrics) MetadataRequest(status int) { m.metadataRequests.inc(strconv.Itoa(status)) }

// IMDSRequest counts a call to IMDS; code is the answer's status, or "error"
// where there was none. It fits imds.Options.Observe.
func (m *Metrics) IMDSRequest(code string, took time.Duration) {
	m.imdsRequests.inc(code)
	m.imdsDuration.Observe(took.Seconds())
}

// Throttled counts a pause of all calls to IMDS. A pause that prolongs another
// counts with what it adds.
func (m *Metrics) Throttled(pause time.Duration) {
	m.throttlePauses.Inc()
	m.throttlePausedFor.Add(max(pause, 0).Seconds())
}

// SetAuthorityExpiry says when the local authority ends.
func (m *Metrics) SetAuthorityExpiry(t time.Time) { m.authorityExpiry.Set(unixSeconds(t)) }

// ConfigLoaded says that the configuration was loaded at a time.
func (m *Metrics) ConfigLoaded(at time.Time) {
	m.reloadSuccessful.Set(1)
	m.reloadTimestamp.Set(unixSeconds(at))
}

// ConfigRejected says that a configuration was not taken, so that the one before
// stays in use.
func (m *Metrics) ConfigRejected() { m.reloadSuccessful.Set(0) }

// errorLog takes promhttp's errors.
type errorLog func(error)

// Println implements promhttp.Logger.
func (l errorLog) Println(v ...any) { l(gatherError(v)) }
