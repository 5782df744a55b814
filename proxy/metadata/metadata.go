// Package metadata answers managed-identity calls in IMDS's place, so that apps
// and SDKs that ask for tokens by themselves share bearerd's cache and its
// throttle.
//
// It hides IMDS's wire as a server speaks it. Unlike the rest of bearerd it
// hands tokens out, so it gives only those that the routes need, to callers of
// this machine.
package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/proxy"
	"github.com/bearerd/bearerd/proxy/audit"
	"github.com/bearerd/bearerd/proxy/caller"
)

const (
	tokenPath = "/metadata/identity/oauth2/token"
	// versions of the API from 2018-02-01 on, all of which ask and answer alike.
	leastVersion = "2018-02-01"
	// maxQuery bounds what is parsed; a resource id is the longest part.
	maxQuery = 4 << 10
)

// Tokens gives the machine's tokens; *cache.Cache is one.
type Tokens interface {
	Token(ctx context.Context, k cache.Key) (*imds.Token, error)
}

// Options are what a handler is made of. Tokens and Allowed are required.
type Options struct {
	Tokens Tokens
	// Allowed gives the tokens that may be asked for at the moment, by whom ever.
	// It must be safe for concurrent use.
	Allowed func() []cache.Key
	// Permits reports whether a caller, as caller.OfRequest gives it, may have one
	// of them; nil: all may have all. It must be safe for concurrent use.
	Permits func(*caller.Caller, cache.Key) bool
	// Names gives the host names of ours at the moment beside the listener's
	// address, as azure.NormalizeHost gives them; nil: none. It must be safe for
	// concurrent use.
	Names func() []string
	// Served is told of every answer's status; nil: nobody is.
	Served func(status int)
	Audit  *audit.Stream    // nil: none is written
	Logger *zap.Logger      // nil: no log
	Now    func() time.Time // nil: time.Now
}

type handler struct{ o Options }

// New makes the handler. It is safe for concurrent use.
func New(o Options) http.Handler {
	if o.Names == nil {
		o.Names = func() []string { return nil }
	}
	if o.Permits == nil {
		o.Permits = func(*caller.Caller, cache.Key) bool { return true }
	}
	if o.Served == nil {
		o.Served = func(int) {}
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &handler{o}
}

// refusal is an error in the shape of IMDS's.
type refusal struct {
	status            int
	code, description string
	retryAfter        time.Duration // 0: not said
}

func bad(code, description string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: code, description: description}
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := h.o.Now()
	if err := h.o.Audit.Reserve(); err != nil {
		no := &refusal{status: http.StatusServiceUnavailable, code: "temporarily_unavailable", retryAfter: time.Second,
			description: string(proxy.CodeAuditUnavailable) + ": tokens that are given out are to be written to the audit stream, which cannot be written"}
		no.write(w)
		h.told(r, no.status, "")
		return
	}
	status := http.StatusOK
	audience, token, no := h.answer(r)
	if no != nil {
		status = no.status
		no.write(w)
	} else {
		write(w, status, h.tokenBody(audience, token))
	}
	h.told(r, status, audience)
	h.record(r, began, status, audience, token)
}

// told tells the metrics and the log of an answer.
func (h *handler) told(r *http.Request, status int, audience string) {
	h.o.Served(status)
	h.o.Logger.Debug("token asked for", zap.Stringer("caller", caller.OfRequest(r)), zap.String("remote", r.RemoteAddr), zap.String("audience", audience), zap.Int("status", status))
}

// record writes who was given a token, nil where nobody was. Whoever has it
// needs the proxy no more.
func (h *handler) record(r *http.Request, began time.Time, status int, audience string, token *imds.Token) {
	if h.o.Audit == nil {
		return
	}
	record := audit.Record{
		Time: began.UTC(), Event: audit.Token, RequestID: audit.ID(r.Header.Get("X-Ms-Client-Request-Id")), Remote: r.RemoteAddr,
		Action: "refuse", Audience: audience, Status: status, Seconds: h.o.Now().Sub(began).Seconds(),
	}
	record.ClientRequestID = record.RequestID
	if token != nil {
		record.Action, record.ObjectID, record.Mints = "inject", token.ObjectID(), true
	}
	proxy.RecordCaller(&record, caller.OfRequest(r))
	h.o.Audit.Write(record)
}

// answer judges a call as IMDS does and gets the token for it.
func (h *handler) answer(r *http.Request) (audience string, token *imds.Token, no *refusal) {
	if no := h.judge(r); no != nil {
		return "", nil, no
	}
	query, no := parse(r.URL.RawQuery)
	if no != nil {
		return "", nil, no
	}
	key, no := h.choose(caller.OfRequest(r), query)
	if no != nil {
		return "", nil, no
	}
	token, err := h.o.Tokens.Token(r.Context(), key)
	if err != nil {
		return key.Audience, nil, refuse(err)
	}
	// The caller reads back what it asked for, letter by letter.
	return query["resource"], token, nil
}

// judge holds a call to what no page of a browser and no forged request of a
// confused server can do: they set no header of their own, and what comes
// through a proxy tells so
// (https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token).
func (h *handler) judge(r *http.Request) *refusal {
	switch {
	case r.URL.IsAbs() || !h.isOurs(r):
		return &refusal{status: http.StatusMisdirectedRequest, code: "invalid_request", description: "the host is not a name of this listener"}
	case proxy.IsCrossSite(r):
		return &refusal{status: http.StatusForbidden, code: "access_denied", description: "a web page may not ask for tokens"}
	case strings.TrimSuffix(r.URL.Path, "/") != tokenPath: // MSAL for Node asks with the slash
		return &refusal{status: http.StatusNotFound, code: "not_found", description: "only " + tokenPath + " is answered here"}
	case r.Method != http.MethodGet:
		return &refusal{status: http.StatusMethodNotAllowed, code: "method_not_allowed", description: "use GET"}
	case len(r.Header["Metadata"]) != 1 || !strings.EqualFold(r.Header["Metadata"][0], "true"):
		return bad("bad_request_102", "Required metadata header not specified")
	case len(r.Header["X-Forwarded-For"]) > 0:
		return bad("invalid_request", "a request that came through a proxy is not answered")
	}
	return nil
}

func (h *handler) isOurs(r *http.Request) bool {
	names := make(map[string]bool)
	for _, name := range h.o.Names() {
		names[name] = true
	}
	return proxy.IsOurs(r, names)
}

// parse reads the query, every name of which may stand once.
func parse(raw string) (map[string]string, *refusal) {
	if len(raw) > maxQuery {
		return nil, bad("invalid_request", "the query is too long")
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, bad("invalid_request", "the query cannot be read")
	}
	query := make(map[string]string, len(values))
	for name, all := range values {
		if len(all) != 1 {
			return nil, bad("invalid_request", "a query parameter stands twice")
		}
		query[name] = all[0]
	}
	if version := query["api-version"]; version < leastVersion || len(version) != len(leastVersion) {
		return nil, bad("bad_request_101", "Required query variable 'api-version' is missing or older than "+leastVersion)
	}
	if query["resource"] == "" {
		return nil, bad("bad_request_101", "Required query variable 'resource' is missing")
	}
	return query, nil
}

// choose finds the token that a query asks for among those that its caller may
// have.
func (h *handler) choose(who *caller.Caller, query map[string]string) (cache.Key, *refusal) {
	found, no := find(query, h.o.Allowed())
	if no != nil {
		return cache.Key{}, no
	}
	found = slices.DeleteFunc(found, func(k cache.Key) bool { return !h.o.Permits(who, k) })
	switch len(found) {
	case 0:
		h.o.Logger.Info("a token was refused, for its routes are for other callers", zap.Stringer("caller", who))
		return cache.Key{}, &refusal{status: http.StatusForbidden, code: "access_denied",
			description: fmt.Sprintf("the caller is %s, and the routes of bearerd that have this token are for others", who)}
	case 1:
		return found[0], nil
	}
	for _, k := range found { // like IMDS, the system-assigned one first
		if k.Identity == (imds.Identity{}) {
			return k, nil
		}
	}
	return cache.Key{}, bad("invalid_request", "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request")
}

// find gives the allowed tokens that a query may mean, one at least. Clients
// write an audience with and without its closing slash.
func find(query map[string]string, allowed []cache.Key) ([]cache.Key, *refusal) {
	trimmed := strings.TrimSuffix(query["resource"], "/")
	var candidates []cache.Key
	for _, k := range allowed {
		if strings.TrimSuffix(k.Audience, "/") == trimmed {
			candidates = append(candidates, k)
		}
	}
	if len(candidates) == 0 {
		return nil, bad("invalid_resource", "AADSTS500011: no route of bearerd has this audience; ask for one that a route has, or add a route")
	}
	matches, no := selector(query)
	if no != nil {
		return nil, no
	}
	found := slices.DeleteFunc(candidates, func(k cache.Key) bool { return !matches(k.Identity) })
	if len(found) == 0 {
		return nil, bad("invalid_request", "Identity not found: no route of bearerd has it for this audience")
	}
	return found, nil
}

// selector gives the identities that a query means: the one whose id it names,
// else any.
func selector(query map[string]string) (func(imds.Identity) bool, *refusal) {
	var want imds.Identity
	ids := 0
	for name, at := range map[string]*string{"client_id": &want.ClientID, "object_id": &want.ObjectID, "msi_res_id": &want.ResourceID, "mi_res_id": &want.ResourceID} {
		if value, ok := query[name]; ok {
			*at = value
			ids++
		}
	}
	if ids > 1 {
		return nil, bad("invalid_request", "client_id, object_id and msi_res_id exclude one another")
	}
	return func(id imds.Identity) bool {
		return ids == 0 || strings.EqualFold(id.ClientID, want.ClientID) &&
			strings.EqualFold(id.ObjectID, want.ObjectID) && strings.EqualFold(id.ResourceID, want.ResourceID)
	}, nil
}

// refuse tells a caller why there is no token, by the status that IMDS would
// use, since clients retry by it.
func refuse(err error) *refusal {
	no := &refusal{status: http.StatusServiceUnavailable, code: "temporarily_unavailable", description: err.Error(), retryAfter: time.Second}
	var unavailable *cache.UnavailableError
	if errors.As(err, &unavailable) {
		no.retryAfter = max(unavailable.RetryAfter, time.Second)
	}
	var failed *imds.Error
	if !errors.As(err, &failed) {
		return no
	}
	switch failed.Class {
	case imds.Throttled:
		no.status, no.code = http.StatusTooManyRequests, "too_many_requests"
	case imds.Misconfigured, imds.NotAssigned:
		no.status, no.code, no.retryAfter = http.StatusBadRequest, failed.Code, 0
		if no.code == "" {
			no.code = "invalid_request"
		}
	case imds.Denied:
		no.status, no.code, no.retryAfter = http.StatusForbidden, "access_denied", 0
	}
	return no
}

func (no *refusal) write(w http.ResponseWriter) {
	if no.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(no.retryAfter.Seconds()))))
	}
	if no.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodGet)
	}
	write(w, no.status, map[string]string{"error": no.code, "error_description": no.description})
}

// tokenBody is an answer of IMDS's, with numbers as strings. What is said of
// the end is what bearerd goes by itself.
func (h *handler) tokenBody(resource string, t *imds.Token) map[string]string {
	left := t.Expires().Sub(h.o.Now().Round(0))
	body := map[string]string{
		"access_token": t.Secret(), "token_type": "Bearer", "resource": resource, "refresh_token": "",
		"expires_in": strconv.Itoa(int(left.Seconds())), "expires_on": strconv.FormatInt(t.Expires().Unix(), 10),
	}
	if claims, err := t.Claims(); err == nil {
		if !claims.NotBefore.IsZero() {
			body["not_before"] = strconv.FormatInt(claims.NotBefore.Unix(), 10)
		}
		if claims.AppID != "" {
			body["client_id"] = claims.AppID
		}
	}
	return body
}

func write(w http.ResponseWriter, status int, body map[string]string) {
	text, err := json.Marshal(body)
	if err != nil {
		panic("metadata: strings did not encode: " + err.Error())
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A caller that has gone away needs no answer.
	_, _ = w.Write(text)
}
