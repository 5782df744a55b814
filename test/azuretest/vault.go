package azuretest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
)

// VaultAudience is whom Key Vault's tokens are for.
const VaultAudience = "https://vault.azure.net"

// VaultOptions configure a Vault.
type VaultOptions struct {
	Tokens   *Verifier // required
	PageSize int       // of lists; 0 means 2, so that short lists have pages too
}

// Vault is Key Vault's secrets API (https://learn.microsoft.com/rest/api/keyvault/secrets/),
// soft delete and backup included. Each host that it is asked under is a vault
// of its own. It is an http.Handler and may be used concurrently.
type Vault struct {
	o VaultOptions

	mu     sync.Mutex // guards vaults and all that they hold
	vaults map[string]*secretStore
}

// NewVault gives empty vaults.
func NewVault(o VaultOptions) *Vault {
	if o.PageSize == 0 {
		o.PageSize = 2
	}
	return &Vault{o: o, vaults: make(map[string]*secretStore)}
}

// SetSecret stores a secret's next version under the host's vault.
func (v *Vault) SetSecret(host, name, value string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.storeLocked(host).set(strings.ToLower(name), secretInput{Value: &value})
}

func (v *Vault) storeLocked(host string) *secretStore {
	host = strings.ToLower(host)
	s := v.vaults[host]
	if s == nil {
		s = &secretStore{base: "https://" + host, live: make(map[string]*secret), deleted: make(map[string]*secret)}
		v.vaults[host] = s
	}
	return s
}

// problem is a refusal in Key Vault's terms.
type problem struct {
	status        int
	code, message string
}

func (p *problem) Error() string { return p.message }

func badParameter(message string) *problem {
	return &problem{http.StatusBadRequest, "BadParameter", message}
}

// ServeHTTP implements http.Handler.
func (v *Vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Ms-Request-Id", newID(16))
	w.Header().Set("X-Ms-Keyvault-Service-Version", "1.9.0.0")
	claims, err := v.o.Tokens.Verify(r.Header.Get("Authorization"), VaultAudience)
	if err != nil {
		v.challenge(w, err)
		return
	}
	noteCaller(r, claims)
	status, answer, err := v.dispatch(w, r)
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

// challenge answers as azure-protocol says that Key Vault does: clients cut the
// tenant and the audience out of the header, and people know the code.
func (v *Vault) challenge(w http.ResponseWriter, err error) {
	w.Header().Set("WWW-Authenticate", `Bearer authorization="https://login.windows.net/`+v.o.Tokens.Tenant()+`", resource="`+VaultAudience+`"`)
	message := "AKV10000: Request is missing a Bearer or PoP token."
	switch {
	case errors.Is(err, ErrAudience):
		message = "AKV10022: Invalid audience. Expected " + VaultAudience + "."
	case !errors.Is(err, ErrMissing):
		message = "Error validating token: " + err.Error() + "."
	}
	writeError(w, http.StatusUnauthorized, "Unauthorized", message)
}

// dispatch finds the operation. Key Vault takes names in any case, and empty
// path segments, which its clients send where a version is absent.
func (v *Vault) dispatch(w http.ResponseWriter, r *http.Request) (status int, answer any, err error) {
	if r.URL.Query().Get("api-version") == "" {
		return 0, nil, badParameter("api-version must be specified")
	}
	var path []string
	for segment := range strings.SplitSeq(r.URL.Path, "/") {
		if segment != "" {
			path = append(path, strings.ToLower(segment))
		}
	}
	path = append(path, "", "", "")
	collection, name, action := path[0], path[1], path[2]
	var input secretInput
	if needsBody := r.Method == http.MethodPut || r.Method == http.MethodPatch || name == "restore"; needsBody {
		if err := readJSON(w, r, &input); err != nil {
			return 0, nil, badParameter("The request body is missing or invalid: " + jsonFault(err))
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.storeLocked(r.Host)
	p := pager{r: r, size: v.o.PageSize}
	switch op := r.Method + " " + collection; {
	case op == "GET secrets" && name == "":
		return page(p, s.list(s.live))
	case op == "GET secrets" && action == "versions":
		versions, err := s.versions(name)
		if err != nil {
			return 0, nil, err
		}
		return page(p, versions)
	case op == "GET secrets":
		answer, err = s.get(name, action)
	case op == "PUT secrets" && name != "" && action == "":
		answer, err = s.put(name, input)
	case op == "PATCH secrets" && action != "":
		answer, err = s.patch(name, action, input)
	case op == "DELETE secrets" && action == "":
		answer, err = s.remove(name)
	case op == "POST secrets" && action == "backup":
		answer, err = s.backup(name)
	case op == "POST secrets" && name == "restore":
		answer, err = s.restore(input)
	case op == "GET deletedsecrets" && name == "":
		return page(p, s.list(s.deleted))
	case op == "GET deletedsecrets":
		answer, err = s.getDeleted(name)
	case op == "POST deletedsecrets" && action == "recover":
		answer, err = s.recover(name)
	case op == "DELETE deletedsecrets":
		return http.StatusNoContent, nil, s.purge(name)
	default:
		return 0, nil, &problem{http.StatusMethodNotAllowed, "BadRequest", "no such operation here: " + r.Method + " " + r.URL.Path}
	}
	return http.StatusOK, answer, err
}

// jsonFault says what is wrong with a body without saying what is in it.
func jsonFault(err error) string {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return "not JSON"
	}
	return err.Error()
}

// backupBlob is opaque to clients, as Key Vault's is.
func backupBlob(s *secret) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // secret is a plain struct
	}
	return base64.RawURLEncoding.EncodeToString(text)
}
