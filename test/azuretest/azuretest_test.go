package azuretest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testTenant = "11111111-2222-3333-4444-555555555555"

// issuer mints tokens, good and bad.
type issuer struct{ key *rsa.PrivateKey }

func newIssuer(t *testing.T) issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return issuer{key}
}

// claims are those of a token that is good for an hour.
func claims(audience string) map[string]any {
	now := time.Now()
	return map[string]any{
		"iss": "https://sts.windows.net/" + testTenant + "/", "aud": audience, "oid": "the-object",
		"nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(), "jti": newID(4),
	}
}

func (i issuer) sign(t *testing.T, claims map[string]any) string {
	t.Helper()
	return i.signAs(t, `{"alg":"RS256","typ":"JWT"}`, claims)
}

func (i issuer) signAs(t *testing.T, header string, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, i.key, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// world is a Cloud with a client that brings the token it is told to.
type world struct {
	*Cloud
	t      *testing.T
	issuer issuer
	client *http.Client
}

func newWorld(t *testing.T, o Options) *world {
	t.Helper()
	w := &world{t: t, issuer: newIssuer(t)}
	o.Tenant, o.Key = testTenant, &w.issuer.key.PublicKey
	var err error
	if w.Cloud, err = Start(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	transport := w.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	w.client = &http.Client{Transport: transport, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return w
}

func (w *world) token(audience string) string {
	w.t.Helper()
	return w.issuer.sign(w.t, claims(audience))
}

// answer is a response whose body has been read.
type answer struct {
	*http.Response
	body string
}

// call makes a call with a token for the audience, or with none for "".
// Fields come as "Name: value".
func (w *world) call(audience, method, url, body string, fields ...string) answer {
	w.t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if audience != "" {
		r.Header.Set("Authorization", "Bearer "+w.token(audience))
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Add(name, value)
	}
	return w.do(r)
}

func (w *world) do(r *http.Request) answer {
	w.t.Helper()
	response, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{response, string(text)}
}

// want requires a status and, in the body, all of the texts.
func (a answer) want(t *testing.T, status int, texts ...string) {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s %s: got %d, want %d\n%s", a.Request.Method, a.Request.URL, a.StatusCode, status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Fatalf("%s %s: got %s\nwithout %q", a.Request.Method, a.Request.URL, a.body, text)
		}
	}
}

func (a answer) json(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
}
