package source_test

import (
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/source"
)

const (
	vault = "https://vault.azure.net"
	// canary is in every good answer, and must not be in anything printed. It
	// looks like no JWT, so that nothing hides it by its shape.
	canary     = "canary-0123456789"
	clientID   = "00000000-0000-0000-0000-000000000001"
	objectID   = "00000000-0000-0000-0000-000000000002"
	resourceID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/reports"
)

// goodBody is an answer with a token of a day.
func goodBody() string {
	return `{"access_token":"` + canary + `","expires_on":"` + strconv.FormatInt(time.Now().Add(24*time.Hour).Unix(), 10) + `","token_type":"Bearer","resource":"` + vault + `"}`
}

func good(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, goodBody()) }

// call is what an endpoint was sent.
type call struct {
	method, path string
	query, form  url.Values
	header       http.Header
}

// endpoint is a token endpoint that keeps what it is sent.
type endpoint struct {
	*httptest.Server

	// mu guards calls and answer.
	mu     sync.Mutex
	calls  []call
	answer http.HandlerFunc
}

func newEndpoint(t *testing.T, encrypted bool, answer http.HandlerFunc) *endpoint {
	t.Helper()
	e := &endpoint{answer: answer}
	e.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := call{method: r.Method, path: r.URL.Path, query: r.URL.Query(), header: r.Header}
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		c.form = r.PostForm
		e.mu.Lock()
		e.calls = append(e.calls, c)
		answer := e.answer
		e.mu.Unlock()
		answer(w, r)
	}))
	e.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	if encrypted {
		e.StartTLS()
	} else {
		e.Start()
	}
	t.Cleanup(e.Close)
	return e
}

// seen gives the calls so far.
func (e *endpoint) seen() []call {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.calls)
}

func (e *endpoint) script(answer http.HandlerFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = answer
}

// setenv sets pairs of names and values for the test.
func setenv(t *testing.T, pairs ...string) {
	t.Helper()
	for pair := range slices.Chunk(pairs, 2) {
		t.Setenv(pair[0], pair[1])
	}
}

// rig is a source and the endpoint that it asks.
type rig struct {
	*endpoint
	source.Source
	statuses []string // that the observer heard
}

// place starts an endpoint where the source of that name looks for it, all but
// Arc and the Azure CLI, and opens the source.
func place(t *testing.T, name string, answer http.HandlerFunc) *rig {
	t.Helper()
	encrypted := name == source.ServiceFabric || name == source.Workload
	r := &rig{endpoint: newEndpoint(t, encrypted, answer)}
	o := source.Options{Observe: func(status string, _ time.Duration) { r.statuses = append(r.statuses, status) }}
	switch name {
	case source.AppService:
		setenv(t, "IDENTITY_ENDPOINT", r.URL+"/msi/token", "IDENTITY_HEADER", "app-secret")
	case source.ServiceFabric:
		setenv(t, "IDENTITY_ENDPOINT", r.URL+"/metadata/identity/oauth2/token", "IDENTITY_HEADER", "fabric-secret", "IDENTITY_SERVER_THUMBPRINT", thumbprint(r.Certificate()))
	case source.AzureML:
		setenv(t, "MSI_ENDPOINT", r.URL+"/msi/token", "MSI_SECRET", "ml-secret", "DEFAULT_IDENTITY_CLIENT_ID", "the-default")
	case source.CloudShell:
		setenv(t, "MSI_ENDPOINT", r.URL+"/oauth2/token")
	case source.Workload:
		setenv(t, "AZURE_FEDERATED_TOKEN_FILE", tokenFile(t, "assertion-1"), "AZURE_TENANT_ID", tenant, "AZURE_CLIENT_ID", clientID, "AZURE_AUTHORITY_HOST", r.URL+"/")
		o.Entra = r.Client().Transport
		t.Cleanup(r.Client().CloseIdleConnections)
	}
	r.Source = open(t, name, o)
	return r
}

// asked are the sources that place knows.
func asked() []string {
	return []string{source.AppService, source.ServiceFabric, source.AzureML, source.CloudShell, source.Workload}
}

// thumbprint names a certificate as Service Fabric does.
func thumbprint(c *x509.Certificate) string {
	sum := sha1.Sum(c.Raw)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

func open(t *testing.T, name string, o source.Options) source.Source {
	t.Helper()
	s, err := source.Open(name, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fetch asks for a vault's token and has to get one.
func fetch(t *testing.T, s source.Source, id imds.Identity) *imds.Token {
	t.Helper()
	token, err := s.Token(t.Context(), id, vault)
	if err != nil {
		t.Fatal(err)
	}
	if token.Secret() != canary {
		t.Errorf("got the token %q", token.Secret())
	}
	return token
}

// refused asks for a vault's token, which has to fail with the class, and holds
// the error to what all errors promise.
func refused(t *testing.T, s source.Source, id imds.Identity, want imds.Class) *imds.Error {
	t.Helper()
	token, err := s.Token(t.Context(), id, vault)
	var failed *imds.Error
	if !errors.As(err, &failed) || token != nil {
		t.Fatalf("got token %v and error %v, want an *imds.Error", token, err)
	}
	if failed.Class != want {
		t.Errorf("got class %s, want %s: %v", failed.Class, want, err)
	}
	if failed.Audience != vault || failed.Identity != id {
		t.Errorf("the error is of %q for %v", failed.Audience, failed.Identity)
	}
	for _, text := range []string{failed.Error(), failed.Hint(), fmt.Sprintf("%+v", failed), fmt.Sprintf("%#v", failed), fmt.Sprint(failed.Err)} {
		for _, secret := range []string{canary, "app-secret", "fabric-secret", "ml-secret", "assertion-1", "arc-key"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s is in %q", secret, text)
			}
		}
	}
	if failed.Advice == "" || !strings.HasSuffix(failed.Error(), "; "+failed.Advice) {
		t.Errorf("%q does not end with what to do", failed)
	}
	if strings.Contains(failed.Error(), "from IMDS") {
		t.Errorf("%q blames IMDS", failed)
	}
	if strings.ContainsFunc(failed.Error(), func(r rune) bool { return r < ' ' }) {
		t.Errorf("%q has control characters", failed)
	}
	return failed
}
