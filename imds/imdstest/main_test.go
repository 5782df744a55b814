package imdstest

import (
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/bearerd/bearerd/imds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const vault = "https://vault.azure.net"

// sharedKey is made once, since that takes longer than all else.
var sharedKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// emulate makes a Server with the shared key, and a client that asks it without
// a network.
func emulate(t *testing.T, o Options) (*Server, *imds.Client) {
	t.Helper()
	o.Key = sharedKey()
	s := New(o)
	c, err := imds.New(imds.Options{Transport: s, Now: o.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// listen makes a client that asks the Server by a listener on loopback.
func listen(t *testing.T, s *Server) *imds.Client {
	t.Helper()
	l := httptest.NewServer(s)
	t.Cleanup(l.Close)
	c, err := imds.New(imds.Options{Endpoint: l.URL, Now: s.o.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// mustGet gets a token for a vault.
func mustGet(t *testing.T, c *imds.Client) *imds.Token {
	t.Helper()
	token, err := c.Token(t.Context(), imds.Identity{}, vault)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// ask makes a good request for a vault's token that edit has changed, and gives
// the answer.
func ask(s *Server, edit func(r *http.Request, query url.Values)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "http://imds.test"+tokenPath, nil)
	r.Header.Set("Metadata", "true")
	query := url.Values{"api-version": {"2018-02-01"}, "resource": {vault}}
	if edit != nil {
		edit(r, query)
	}
	if r.URL.RawQuery == "" {
		r.URL.RawQuery = query.Encode()
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// says reports whether an answer has the status and the words.
func says(w *httptest.ResponseRecorder, status int, words string) bool {
	return w.Code == status && strings.Contains(w.Body.String(), words)
}
