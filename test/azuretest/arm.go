package azuretest

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ARMAudience is whom Resource Manager's tokens are for.
const ARMAudience = "https://management.azure.com/"

// Subscription is the one subscription that ResourceManager knows.
const Subscription = "5c4d0f2e-6a5e-4b0f-9c55-2f6c1e6d7a10"

// ARMOptions configure a ResourceManager.
type ARMOptions struct {
	Tokens     *Verifier // required
	PageSize   int       // of lists; 0 means 2, so that short lists have pages too
	Groups     []string  // resource groups to begin with; nil means dev, prod, shared, staging, test
	Polls      int       // how often an operation is still running when asked; 0 means 1
	RetryAfter int       // seconds, with every answer of a running operation; 0 means 1
	Regional   string    // host where operations and lists go on, and nowhere else; empty: where they began
}

// ResourceManager is Azure Resource Manager (https://learn.microsoft.com/rest/api/resources/)
// as far as it takes to see paging, long-running operations and batches:
// subscriptions, resource groups, and resources of any type whose creation takes
// a while. It
// is an http.Handler and may be used concurrently.
type ResourceManager struct {
	o ARMOptions

	mu         sync.Mutex // guards the fields below
	groups     map[string]*group
	resources  map[string]map[string]any // by lower-case id
	operations map[string]*operation
}

type group struct {
	name, location string
	tags           map[string]string
}

// operation is a change that takes a while (https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations).
type operation struct {
	polls  int        // how often it is still to be found running
	finish func() any // does what was asked, once, and gives the result
	done   bool
	result any
}

// NewARM gives a ResourceManager.
func NewARM(o ARMOptions) *ResourceManager {
	if o.PageSize == 0 {
		o.PageSize = 2
	}
	if o.Groups == nil {
		o.Groups = []string{"dev", "prod", "shared", "staging", "test"}
	}
	if o.Polls == 0 {
		o.Polls = 1
	}
	if o.RetryAfter == 0 {
		o.RetryAfter = 1
	}
	m := &ResourceManager{o: o, groups: make(map[string]*group), resources: make(map[string]map[string]any), operations: make(map[string]*operation)}
	for _, name := range o.Groups {
		m.groups[strings.ToLower(name)] = &group{name: name, location: "westeurope"}
	}
	return m
}

// ServeHTTP implements http.Handler.
func (m *ResourceManager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Ms-Request-Id", newID(16))
	h.Set("X-Ms-Correlation-Request-Id", newID(16))
	claims, err := m.o.Tokens.Verify(r.Header.Get("Authorization"), ARMAudience)
	if err != nil {
		m.challenge(w, err)
		return
	}
	noteCaller(r, claims)
	if r.URL.Query().Get("api-version") == "" {
		writeError(w, http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
		return
	}
	status, answer, err := m.dispatch(w, r)
	var p *problem
	switch {
	case errors.As(err, &p):
		writeError(w, p.status, p.code, p.message)
	case answer == nil:
		w.WriteHeader(status)
	default:
		writeJSON(w, status, answer)
	}
}

// challenge answers with error="invalid_token", which Resource Manager, unlike
// Key Vault and Storage, always says.
func (m *ResourceManager) challenge(w http.ResponseWriter, err error) {
	code, message := "InvalidAuthenticationToken", "The access token is invalid: "+err.Error()+"."
	switch {
	case errors.Is(err, ErrMissing):
		code, message = "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."
	case errors.Is(err, ErrAudience):
		code, message = "InvalidAuthenticationTokenAudience", "The access token has been obtained for the wrong audience or resource. It should exactly match one of the allowed audiences '"+ARMAudience+"'."
	case errors.Is(err, ErrExpired):
		code, message = "ExpiredAuthenticationToken", "The access token expiry is earlier than the current time."
	}
	w.Header().Set("WWW-Authenticate", `Bearer authorization_uri="https://login.windows.net/`+m.o.Tokens.Tenant()+
		`", error="invalid_token", error_description="`+message+`"`)
	writeError(w, http.StatusUnauthorized, code, message)
}

// dispatch finds the operation. Resource Manager's paths are the same in any case.
func (m *ResourceManager) dispatch(w http.ResponseWriter, r *http.Request) (status int, answer any, err error) {
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	lower := strings.Split(strings.ToLower(strings.Trim(r.URL.Path, "/")), "/")
	if r.Method == http.MethodPost && len(lower) == 1 && lower[0] == "batch" {
		return m.serveBatch(r)
	}
	if lower[0] != "subscriptions" {
		return 0, nil, &problem{http.StatusNotFound, "NotFound", "There is nothing at " + r.URL.Path + "."}
	}
	p := pager{r: r, size: m.o.PageSize, host: m.goesOn(r)}
	if len(path) == 1 {
		return page(p, []any{m.subscription()})
	}
	if lower[1] != Subscription {
		return 0, nil, &problem{http.StatusNotFound, "SubscriptionNotFound", "The subscription '" + path[1] + "' could not be found."}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch rest := lower[2:]; {
	case len(rest) == 0 && r.Method == http.MethodGet:
		return http.StatusOK, m.subscription(), nil
	case rest[0] == "resourcegroups" && len(rest) == 1 && r.Method == http.MethodGet:
		return page(p, m.listGroups())
	case rest[0] == "resources" && len(rest) == 1 && r.Method == http.MethodGet:
		return page(p, m.listResources())
	case rest[0] == "resourcegroups" && len(rest) == 2:
		return m.serveGroup(w, r, path[3])
	case rest[0] == "resourcegroups" && len(rest) >= 6 && rest[2] == "providers":
		return m.serveResource(w, r, lower[3])
	case strings.HasPrefix(rest[0], "operation") && r.Host != m.goesOn(r):
		return 0, nil, operationNotFound(rest[0])
	case rest[0] == "operationstatuses" && len(rest) == 2:
		return m.operationStatus(w, rest[1])
	case rest[0] == "operationresults" && len(rest) == 2:
		return m.operationResult(w, r, rest[1])
	}
	return 0, nil, &problem{http.StatusMethodNotAllowed, "MethodNotAllowed", "There is no such operation here: " + r.Method + " " + r.URL.Path + "."}
}

func (m *ResourceManager) subscription() any {
	return map[string]any{
		"id": "/subscriptions/" + Subscription, "subscriptionId": Subscription, "tenantId": m.o.Tokens.Tenant(),
		"displayName": "emulated", "state": "Enabled",
	}
}

// startLocked begins an operation and names it in the answer, by absolute URLs.
// The operation finishes when it is looked at for the last time.
func (m *ResourceManager) startLocked(w http.ResponseWriter, r *http.Request, finish func() any) {
	id := newID(16)
	m.operations[id] = &operation{polls: m.o.Polls, finish: finish}
	base, query := "https://"+m.goesOn(r)+"/subscriptions/"+Subscription, "?api-version="+r.URL.Query().Get("api-version")
	w.Header().Set("Azure-AsyncOperation", base+"/operationStatuses/"+id+query)
	w.Header().Set("Location", base+"/operationresults/"+id+query)
	m.retryAfter(w)
}

// goesOn gives the host where what a request begins goes on.
func (m *ResourceManager) goesOn(r *http.Request) string { return cmp.Or(m.o.Regional, r.Host) }

func (m *ResourceManager) retryAfter(w http.ResponseWriter) {
	w.Header().Set("Retry-After", strconv.Itoa(m.o.RetryAfter))
}

// running counts one look at an operation, which is finished once it has been
// looked at often enough.
func (m *ResourceManager) running(w http.ResponseWriter, op *operation) bool {
	if op.polls > 0 {
		op.polls--
		m.retryAfter(w)
		return true
	}
	if !op.done {
		op.result, op.done = op.finish(), true
	}
	return false
}

func operationNotFound(id string) *problem {
	return &problem{http.StatusNotFound, "OperationNotFound", "The operation '" + id + "' could not be found."}
}

func (m *ResourceManager) operationStatus(w http.ResponseWriter, id string) (int, any, error) {
	op := m.operations[id]
	if op == nil {
		return 0, nil, operationNotFound(id)
	}
	status := "Succeeded"
	if m.running(w, op) {
		status = "InProgress"
	}
	return http.StatusOK, map[string]any{"name": id, "status": status, "startTime": time.Now().UTC().Format(time.RFC3339)}, nil
}

func (m *ResourceManager) operationResult(w http.ResponseWriter, r *http.Request, id string) (int, any, error) {
	op := m.operations[id]
	if op == nil {
		return 0, nil, operationNotFound(id)
	}
	if m.running(w, op) {
		w.Header().Set("Location", "https://"+r.Host+r.RequestURI)
		return http.StatusAccepted, nil, nil
	}
	return http.StatusOK, op.result, nil
}
