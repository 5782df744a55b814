package imdstest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/test/azuretest"
)

// claimsOf reads the token in an answer as a service does, without its verdict.
func claimsOf(t *testing.T, w *httptest.ResponseRecorder) azuretest.Claims {
	t.Helper()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 200 {
		t.Fatalf("got %d %s, %v", w.Code, w.Body, err)
	}
	parts := strings.Split(answer.AccessToken, ".")
	var c azuretest.Claims
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil || len(parts) != 3 {
		t.Fatalf("the token is no JWT: %v", err)
	}
	return c
}

func TestUnsignedTokensAreGoodForNothing(t *testing.T) {
	s, c := emulate(t, Options{Unsigned: true})
	token := mustGet(t, c)
	if claims, err := token.Claims(); err != nil || claims.Audience != vault {
		t.Errorf("got %+v, %v, want a JWT for the vault", claims, err)
	}
	if _, err := azuretest.NewVerifier(s.Tenant(), s.PublicKey(), nil).Verify("Bearer "+token.Secret(), vault); err == nil {
		t.Error("a service took a token without a signature")
	}
}

func TestServicesTakeTheTokens(t *testing.T) {
	s, c := emulate(t, Options{})
	services := azuretest.NewVerifier(s.Tenant(), s.PublicKey(), nil)
	for _, resource := range []string{vault, "https://storage.azure.com/", "https://management.azure.com/", "api://contoso"} {
		token, err := c.Token(t.Context(), imds.Identity{}, resource)
		if err != nil {
			t.Fatal(err)
		}
		claims, err := services.Verify("Bearer "+token.Secret(), resource)
		if err != nil || claims.Audience != resource {
			t.Errorf("%s: got %+v, %v", resource, claims, err)
		}
		if _, err := services.Verify("Bearer "+token.Secret(), "https://other.example"); err == nil {
			t.Errorf("%s: it is good for another service", resource)
		}
	}
	stranger := azuretest.NewVerifier(s.Tenant(), New(Options{}).PublicKey(), nil)
	if _, err := stranger.Verify("Bearer "+mustGet(t, c).Secret(), vault); err == nil {
		t.Error("it is good for another key")
	}
}

func TestTokenIsAJWTOfEntra(t *testing.T) {
	now := time.Date(2026, 11, 2, 12, 0, 0, 500, time.UTC)
	s, c := emulate(t, Options{Now: func() time.Time { return now }, Tenant: "tenant"})
	parts := strings.Split(mustGet(t, c).Secret(), ".")
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	if err := rsa.VerifyPKCS1v15(s.PublicKey(), crypto.SHA256, digest[:], signature); err != nil {
		t.Error(err)
	}
	var header, claims map[string]any
	for i, into := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	if header["alg"] != "RS256" || header["typ"] != "JWT" || header["kid"] == "" || header["kid"] != keyID(s.PublicKey()) {
		t.Errorf("the header is %v", header)
	}
	unix := float64(now.Unix())
	for name, want := range map[string]any{
		"iss": "https://sts.windows.net/tenant/", "aud": vault, "tid": "tenant", "nbf": unix - 300, "iat": unix - 300, "exp": unix + 86400,
		"appid": systemIdentity().ClientID, "oid": systemIdentity().ObjectID, "xms_mirid": systemIdentity().ResourceID,
	} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	if id, _ := claims["jti"].(string); len(id) < 20 {
		t.Errorf("jti is %q", id)
	}
}

func TestAnswerHasNumbersAsStrings(t *testing.T) {
	now := time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
	s, _ := emulate(t, Options{Now: func() time.Time { return now }})
	w := ask(s, nil)
	var got map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "access_token")
	want := map[string]string{
		"refresh_token": "", "token_type": "Bearer", "resource": vault, "expires_in": "86400", "ext_expires_in": "86400",
		"expires_on": strconv.FormatInt(now.Unix()+86400, 10), "not_before": strconv.FormatInt(now.Unix()-300, 10),
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s is %q, want %q", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	if w.Header().Get("Date") != now.Format(http.TimeFormat) || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		t.Errorf("the header is %v", w.Header())
	}
}

// A month of renewals: the token is the same until its last minutes.
func TestTokenIsKeptUntilNearItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := emulate(t, Options{})
		first := mustGet(t, c)
		time.Sleep(24*time.Hour - 6*time.Minute)
		if again := mustGet(t, c); !again.Equal(first) || !again.Expires().Equal(first.Expires()) {
			t.Errorf("another token 6 minutes before the end of the first")
		}
		time.Sleep(2 * time.Minute)
		if mustGet(t, c).Equal(first) {
			t.Error("the same token 4 minutes before its end")
		}
		for range 30 * 24 {
			time.Sleep(time.Hour)
			if left := time.Until(mustGet(t, c).Expires()); left < 5*time.Minute || left > 24*time.Hour {
				t.Fatalf("a token with %s left", left)
			}
		}
		if n := s.Stats().Minted; n < 31 || n > 34 {
			t.Errorf("%d tokens in 31 days", n)
		}
	})
}

func TestTokensDifferByIdentityAndResource(t *testing.T) {
	s, c := emulate(t, Options{Identities: []Identity{{ClientID: "a"}, {ClientID: "b"}}})
	seen := make(map[string]bool)
	for _, id := range []imds.Identity{{}, {ClientID: "a"}, {ClientID: "b"}} {
		for _, resource := range []string{vault, vault + "/"} {
			for range 2 {
				token, err := c.Token(t.Context(), id, resource)
				if err != nil {
					t.Fatal(err)
				}
				seen[token.Secret()] = true
			}
		}
	}
	if len(seen) != 6 || s.Stats().Minted != 6 {
		t.Errorf("%d tokens, %d made, want 6", len(seen), s.Stats().Minted)
	}
}

func TestForgetMakesAnother(t *testing.T) {
	s, c := emulate(t, Options{})
	first := mustGet(t, c)
	s.Forget()
	if mustGet(t, c).Equal(first) {
		t.Error("the same token")
	}
}

func TestFreshMakesAnotherEachTime(t *testing.T) {
	s, c := emulate(t, Options{Fresh: true})
	first := mustGet(t, c)
	second := mustGet(t, c)
	if second.Equal(first) {
		t.Error("the same token")
	}
	s.Script(Same())
	if !mustGet(t, c).Equal(second) {
		t.Error("another token, where the same was scripted")
	}
}

func TestCallsTogetherGetOneToken(t *testing.T) {
	s, _ := emulate(t, Options{})
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() { ask(s, func(*http.Request, url.Values) {}) })
	}
	calls.Wait()
	if stats := s.Stats(); stats.Minted != 1 || stats.Calls != 20 || stats.ByStatus[200] != 20 {
		t.Errorf("got %+v", stats)
	}
}
