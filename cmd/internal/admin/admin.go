// Package admin serves what an operator and an orchestrator ask a running
// daemon: is it alive and ready, how does it stand, what do its metrics say;
// and takes the two orders that can be given to it, to reload and to quit.
//
// It knows the daemon by a snapshot of its status and a few functions.
package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/bearerd/bearerd/proxy"
	"github.com/bearerd/bearerd/proxy/azure"
)

// Options are what the admin handler is made of. Metrics and Status are
// required.
type Options struct {
	Metrics http.Handler
	// Status gives a snapshot that nobody changes any more. It answers at once,
	// and may be called concurrently.
	Status func() Status
	// Reload loads the configuration anew; its error tells the operator what to
	// correct. It may be called concurrently. nil: POST /-/reload is not there.
	Reload func() error
	// Quit asks the daemon to end, and returns without waiting for it. nil:
	// POST /-/quit is not there.
	Quit   func()
	Names  []string         // host names of ours beside the listener's address
	Logger *zap.Logger      // nil: no log
	Now    func() time.Time // nil: time.Now
}

// handler answers the admin listener's requests.
type handler struct {
	o         Options
	names     map[string]bool
	page      *page
	endpoints map[string]endpoint // by path
}

// endpoint is what one path offers.
type endpoint struct {
	methods []string
	local   bool // to peers on this machine alone
	serve   http.HandlerFunc
}

// New makes the admin handler. It fails if one of o.Names is no host name.
func New(o Options) (http.Handler, error) {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	h := &handler{o: o, names: make(map[string]bool, len(o.Names)), page: newPage()}
	for _, name := range o.Names {
		host, _, err := azure.NormalizeHost(name)
		if err != nil {
			return nil, fmt.Errorf("the name %q of the admin listener: %w", name, err)
		}
		h.names[host] = true
	}
	read := []string{http.MethodGet, http.MethodHead}
	h.endpoints = map[string]endpoint{
		"/":         {methods: read, serve: h.servePage},
		"/status":   {methods: read, serve: h.serveStatus},
		"/metrics":  {methods: read, serve: o.Metrics.ServeHTTP},
		"/livez":    {methods: read, serve: h.serveLive},
		"/readyz":   {methods: read, serve: h.serveReady},
		"/startupz": {methods: read, serve: h.serveStartup},
	}
	order := []string{http.MethodPost}
	if o.Reload != nil {
		h.endpoints["/-/reload"] = endpoint{methods: order, local: true, serve: h.serveReload}
	}
	if o.Quit != nil {
		h.endpoints["/-/quit"] = endpoint{methods: order, local: true, serve: h.serveQuit}
	}
	return h, nil
}

// NewServer makes a server with limits that fit the admin handler: few, small
// requests, and answers that are soon out.
func NewServer(o Options) (*http.Server, error) {
	h, err := New(o)
	if err != nil {
		return nil, err
	}
	s := &http.Server{
		Handler:           h,
		MaxHeaderBytes:    16 << 10,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute, // a reload asks DNS, IMDS and files
		IdleTimeout:       2 * time.Minute,
		Protocols:         new(http.Protocols),
	}
	s.Protocols.SetHTTP1(true)
	logger := o.Logger
	if logger == nil {
		logger = zap.NewNop()
	}
	// Anybody who can connect causes these lines.
	s.ErrorLog, err = zap.NewStdLogAt(logger, zap.DebugLevel)
	return s, err
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if !proxy.IsOurs(r, h.names) {
		fail(w, http.StatusMisdirectedRequest, codeMisdirected,
			fmt.Sprintf("%q is not a name of the admin listener; use its address, or list the name under names", r.Host))
		return
	}
	if proxy.IsCrossSite(r) {
		fail(w, http.StatusForbidden, codeCrossSite, "a web page of another site may not ask the admin listener; open it in a tab of its own")
		return
	}
	e, ok := h.endpoints[r.URL.Path]
	switch {
	case !ok:
		fail(w, http.StatusNotFound, codeNotFound, "the admin listener has "+h.paths())
	case !slices.Contains(e.methods, r.Method):
		header.Set("Allow", strings.Join(e.methods, ", "))
		fail(w, http.StatusMethodNotAllowed, codeMethodNotAllowed,
			fmt.Sprintf("%s takes %s", r.URL.Path, strings.Join(e.methods, " and ")))
	case e.local && !isLocal(r):
		fail(w, http.StatusForbidden, codeNotLocal, "orders are taken from the machine itself alone; give them there, over loopback or a unix socket")
	default:
		e.serve(w, r)
	}
}

func (h *handler) paths() string {
	paths := make([]string, 0, len(h.endpoints))
	for path := range h.endpoints {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return strings.Join(paths, ", ")
}

// serveLive says that the process answers. Restarting it mends neither IMDS nor
// the configuration, so neither is looked at.
func (h *handler) serveLive(w http.ResponseWriter, _ *http.Request) {
	send(w, http.StatusOK, map[string]bool{"alive": true})
}

func (h *handler) serveStartup(w http.ResponseWriter, _ *http.Request) {
	s := h.o.Status()
	if down := s.down(); len(down) > 0 {
		fail(w, http.StatusServiceUnavailable, codeNotStarted, strings.Join(down, "; "))
		return
	}
	send(w, http.StatusOK, map[string]bool{"started": true})
}

func (h *handler) serveReady(w http.ResponseWriter, _ *http.Request) {
	s := h.o.Status()
	r := s.Readiness()
	if r.Ready {
		send(w, http.StatusOK, r)
		return
	}
	w.Header().Set(errorHeader, codeNotReady)
	send(w, http.StatusServiceUnavailable, struct {
		errorBody
		Readiness
	}{newErrorBody(codeNotReady, strings.Join(r.Reasons, "; ")), r})
}

func (h *handler) serveStatus(w http.ResponseWriter, _ *http.Request) {
	send(w, http.StatusOK, reportOf(h.o.Status(), h.o.Now()))
}

func (h *handler) serveReload(w http.ResponseWriter, r *http.Request) {
	h.o.Logger.Info("reload ordered", zap.String("by", r.RemoteAddr))
	if err := h.o.Reload(); err != nil {
		fail(w, http.StatusUnprocessableEntity, codeReload, err.Error())
		return
	}
	send(w, http.StatusOK, map[string]bool{"reloaded": true})
}

func (h *handler) serveQuit(w http.ResponseWriter, r *http.Request) {
	h.o.Logger.Info("quit ordered", zap.String("by", r.RemoteAddr))
	send(w, http.StatusAccepted, map[string]bool{"quitting": true})
	// The answer goes out first; where it cannot, the order still stands.
	_ = http.NewResponseController(w).Flush()
	h.o.Quit()
}

// errorHeader is on the data plane's own answers too.
const errorHeader = "Bearerd-Error"

// The codes of errors. The first three are the data plane's too.
const (
	codeMisdirected      = "BearerdMisdirectedRequest"
	codeCrossSite        = "BearerdCrossSiteRequest"
	codeMethodNotAllowed = "BearerdMethodNotAllowed"
	codeNotFound         = "BearerdNotFound"
	codeNotLocal         = "BearerdNotLocal"
	codeNotReady         = "BearerdNotReady"
	codeNotStarted       = "BearerdNotStarted"
	codeReload           = "BearerdReloadFailed"
)

// errorBody has the shape of Azure's errors.
type errorBody struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func newErrorBody(code, message string) (b errorBody) {
	b.Error.Code, b.Error.Message = code, message
	return b
}

func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set(errorHeader, code)
	send(w, status, newErrorBody(code, message))
}

// send answers with v as JSON that people can read.
func send(w http.ResponseWriter, status int, v any) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic("admin: an answer did not encode: " + err.Error())
	}
	text = append(text, '\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	// A client that has gone away needs no answer.
	_, _ = w.Write(text)
}
