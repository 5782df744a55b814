package azuretest

import (
	"encoding/xml"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"
)

// StorageAudience is whom Storage's tokens are for.
const StorageAudience = "https://storage.azure.com/"

// minStorageVersion is the first version of the protocol that takes bearer
// tokens (https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory).
const minStorageVersion = "2017-11-09"

// BlobsOptions configure Blobs.
type BlobsOptions struct {
	Tokens   *Verifier // required
	PageSize int       // of lists; 0 means 2, so that short lists have pages too
}

// Blobs is Blob storage's API (https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api)
// as far as block blobs need it. Each host that it is asked under is an account
// of its own. It is an http.Handler and may be used concurrently.
//
// Containers whose names begin with "sink" keep no content, so that a blob can
// have any size: they take nothing but a Pattern, which they verify, and give
// it back from thin air.
type Blobs struct {
	o BlobsOptions

	mu       sync.Mutex // guards the fields below and all that they hold
	accounts map[string]map[string]*container
	sas      map[string]bool
}

// NewBlobs gives empty accounts.
func NewBlobs(o BlobsOptions) *Blobs {
	if o.PageSize == 0 {
		o.PageSize = 2
	}
	return &Blobs{o: o, accounts: make(map[string]map[string]*container), sas: make(map[string]bool)}
}

// AllowSAS has a call without Authorization pass whose raw query has sig=
// followed by exactly the escaped signature. It stands for a shared access
// signature that the account's owner has made.
func (b *Blobs) AllowSAS(escapedSignature string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sas["sig="+escapedSignature] = true
}

// SetPattern stores a blob of the Pattern in a container, which is made if it
// is missing.
func (b *Blobs) SetPattern(host, containerName, name string, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.makeLocked(host, containerName)
	c.blobs[name] = newBlob("application/octet-stream", nil, NewPattern(size))
}

// SetBlob stores a blob of text in a container, which is made if it is missing.
func (b *Blobs) SetBlob(host, containerName, name, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.makeLocked(host, containerName).blobs[name] = newBlob("text/plain", nil, keptContent{[]byte(text)}.open())
}

// Size gives a stored blob's length, or -1.
func (b *Blobs) Size(host, containerName, name string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.accounts[strings.ToLower(host)][containerName]; c != nil && c.blobs[name] != nil {
		return c.blobs[name].content.Size()
	}
	return -1
}

func (b *Blobs) makeLocked(host, name string) *container {
	host = strings.ToLower(host)
	if b.accounts[host] == nil {
		b.accounts[host] = make(map[string]*container)
	}
	c := b.accounts[host][name]
	if c == nil {
		c = &container{name: name, modified: time.Now(), blobs: make(map[string]*blob), pending: make(map[string]map[string]*section)}
		b.accounts[host][name] = c
	}
	return c
}

// storageError is a refusal in Storage's terms.
type storageError struct {
	status                int
	code, message, detail string
}

func (e *storageError) Error() string { return e.code + ": " + e.message }

func (e *storageError) write(w http.ResponseWriter) {
	body := struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
		Detail  string `xml:"AuthenticationErrorDetail,omitempty"`
	}{
		Code: e.code, Detail: e.detail,
		Message: e.message + "\nRequestId:" + w.Header().Get("X-Ms-Request-Id") + "\nTime:" + time.Now().UTC().Format(time.RFC3339Nano),
	}
	w.Header().Set("X-Ms-Error-Code", e.code)
	writeXML(w, e.status, body)
}

func writeXML(w http.ResponseWriter, status int, value any) {
	text, err := xml.Marshal(value)
	if err != nil {
		panic(err) // every value is a struct of this package
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(xml.Header))
	_, _ = w.Write(text)
}

// ServeHTTP implements http.Handler.
func (b *Blobs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Ms-Request-Id", newID(16))
	if id := r.Header.Get("X-Ms-Client-Request-Id"); id != "" {
		h.Set("X-Ms-Client-Request-Id", id)
	}
	if version := r.Header.Get("X-Ms-Version"); version != "" {
		h.Set("X-Ms-Version", version)
	}
	err := b.authorize(w, r)
	if err == nil {
		err = b.serve(w, r)
	}
	var refused *storageError
	switch {
	case errors.As(err, &refused):
		refused.write(w)
	case err != nil: // the body could not be read
		panic(http.ErrAbortHandler)
	}
}

// authorize judges a call as Storage does: the version of the protocol decides
// whether a bearer token counts at all, and a call may have one credential.
func (b *Blobs) authorize(w http.ResponseWriter, r *http.Request) error {
	authorization := r.Header.Get("Authorization")
	scheme, _, _ := strings.Cut(authorization, " ")
	signed := b.isSigned(r.URL.RawQuery)
	switch {
	case signed && authorization != "":
		return &storageError{http.StatusForbidden, "AuthenticationFailed", "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature.", "A token and a signature at once."}
	case signed:
		return nil
	case authorization == "":
		b.challenge(w)
		return &storageError{http.StatusUnauthorized, "NoAuthenticationInformation", "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.", ""}
	case scheme != "Bearer":
		return &storageError{http.StatusForbidden, "AuthenticationFailed", "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature.", "No account key matches."}
	case r.Header.Get("X-Ms-Version") < minStorageVersion:
		return &storageError{http.StatusForbidden, "AuthenticationFailed", "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature.", "Authentication scheme Bearer is not supported in this version."}
	}
	account, _, _ := strings.Cut(r.Host, ".")
	claims, err := b.o.Tokens.Verify(authorization, StorageAudience, "https://"+account+".blob.core.windows.net")
	if err != nil {
		b.challenge(w)
		return &storageError{http.StatusUnauthorized, "InvalidAuthenticationInfo", "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.", authenticationDetail(err)}
	}
	noteCaller(r, claims)
	return nil
}

// challenge is unquoted and has no comma, as azure-protocol says of Storage.
func (b *Blobs) challenge(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", "Bearer authorization_uri=https://login.microsoftonline.com/"+b.o.Tokens.Tenant()+
		"/oauth2/authorize resource_id="+strings.TrimSuffix(StorageAudience, "/"))
}

func authenticationDetail(err error) string {
	switch {
	case errors.Is(err, ErrAudience):
		return "Audience validation failed. Audience did not match."
	case errors.Is(err, ErrIssuer):
		return "Issuer validation failed. Issuer did not match."
	case errors.Is(err, ErrExpired), errors.Is(err, ErrNotYet):
		return "Lifetime validation failed. " + err.Error() + "."
	}
	return "Signature validation failed. " + err.Error() + "."
}

func (b *Blobs) isSigned(rawQuery string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for field := range strings.SplitSeq(rawQuery, "&") {
		if b.sas[field] {
			return true
		}
	}
	return false
}
