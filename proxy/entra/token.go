package entra

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bearerd/bearerd/proxy/azure"
)

// lifetime of a placeholder. Clients renew theirs when 2 to 5 minutes are left;
// one that has ended is still replaced, so nothing hangs on it.
const lifetime = 15 * time.Minute

// refusal is an error in the shape of Entra's.
type refusal struct {
	code        string // of OAuth 2.0 (RFC 6749, section 5.2)
	number      int    // of Entra's own list (https://learn.microsoft.com/entra/identity-platform/reference-error-codes)
	description string
}

// token answers a login. The secret is not looked at: who may use the machine's
// identity is the routes' affair.
func (l *Logins) token(r *Request, p endpoint) Decision {
	form, err := url.ParseQuery(string(r.Form))
	if err != nil {
		return pass("its form cannot be read")
	}
	for _, name := range []string{"grant_type", "client_id", "resource", "scope"} {
		if len(form[name]) > 1 {
			return pass("its form says something twice")
		}
	}
	if form.Get("grant_type") != "client_credentials" {
		return pass("it is no login with a client secret or certificate")
	}
	client, ok := clientOf(r.Call, form.Get("client_id"))
	if !ok || !l.clients[strings.ToLower(client)] {
		return pass("entra.clients does not list the client")
	}
	audience, no := audienceOf(form, p.v2)
	if no == nil && !l.serves(audience) {
		no = &refusal{"invalid_resource", 500011, fmt.Sprintf("no route of bearerd has the audience %+q, for which a client of entra.clients logs in; add a route for the service, or ask for another", audience)}
	}
	if no != nil {
		return Decision{
			Action: Answer, Result: Refused, Status: http.StatusBadRequest, Code: CodeLogin, Body: no.body(r),
			Client: client, Audience: audience, Reason: "no route has what the client asks for",
		}
	}
	return Decision{
		Action: Answer, Result: Answered, Status: http.StatusOK, Body: grant(p, client, audience, r.Now),
		Client: client, Audience: audience, Reason: "a login of a listed client is answered with a placeholder",
	}
}

// clientOf gives the client's id, which may stand in Authorization instead of
// the form (RFC 6749, section 2.3.1). false: it is said in two ways.
func clientOf(c *azure.Call, inForm string) (string, bool) {
	value, count := c.Header.First("Authorization")
	if count == 0 {
		return inForm, true
	}
	scheme, rest, _ := strings.Cut(value, " ")
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
	if count > 1 || !strings.EqualFold(scheme, "Basic") || err != nil {
		return "", false
	}
	user, _, _ := strings.Cut(string(text), ":")
	user, err = url.QueryUnescape(user)
	return user, err == nil && (inForm == "" || strings.EqualFold(inForm, user))
}

// audienceOf gives whom a token is asked for: resource, or in version 2 the one
// scope that is no claim about a user.
func audienceOf(form url.Values, v2 bool) (string, *refusal) {
	audience := form.Get("resource")
	if v2 {
		var scopes []string
		for scope := range strings.FieldsSeq(form.Get("scope")) {
			switch scope {
			case "openid", "profile", "email", "offline_access":
			default:
				scopes = append(scopes, scope)
			}
		}
		if len(scopes) != 1 || !strings.HasSuffix(scopes[0], "/.default") {
			return "", &refusal{"invalid_scope", 1002012, "a client logs in for one scope that ends in /.default, such as https://vault.azure.net/.default"}
		}
		audience = strings.TrimSuffix(scopes[0], "/.default")
	}
	if audience == "" {
		return "", &refusal{"invalid_request", 900144, "the form must hold resource, such as https://vault.azure.net"}
	}
	if err := azure.CheckAudience(audience); err != nil {
		return "", &refusal{"invalid_resource", 500011, err.Error()}
	}
	return audience, nil
}

// serves reports whether a route's service takes tokens for an audience.
func (l *Logins) serves(audience string) bool {
	for _, r := range l.routes.Routes() {
		if r.Service.Takes(audience) {
			return true
		}
	}
	return false
}

// grant is the answer to a login. Version 1 writes numbers as text.
func grant(p endpoint, client, audience string, now time.Time) []byte {
	now = now.Truncate(time.Second)
	ends := now.Add(lifetime)
	seconds := int(lifetime / time.Second)
	placeholder := mint(p, client, audience, now, ends)
	if p.v2 {
		return encode(map[string]any{"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": placeholder})
	}
	text := strconv.Itoa(seconds)
	return encode(map[string]string{
		"token_type": "Bearer", "expires_in": text, "ext_expires_in": text, "resource": audience, "access_token": placeholder,
		"not_before": strconv.FormatInt(now.Unix(), 10), "expires_on": strconv.FormatInt(ends.Unix(), 10),
	})
}

// mint makes a placeholder: what clients decode as an access token, with an
// issuer that nobody trusts, and in the signature's place random bytes, so that
// no key, found or guessed, fits.
func mint(p endpoint, client, audience string, now, ends time.Time) string {
	version := "1.0"
	if p.v2 {
		version = "2.0"
	}
	signature := make([]byte, 32)
	_, _ = rand.Read(signature) // never fails
	e := base64.RawURLEncoding
	return e.EncodeToString(encode(map[string]string{"alg": "HS256", "typ": "JWT"})) + "." + e.EncodeToString(encode(map[string]any{
		"iss": azure.PlaceholderIssuer + p.tenant + "/", "aud": audience, "tid": p.tenant,
		"appid": client, "azp": client, "sub": client, "idtyp": "app", "ver": version, "uti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": ends.Unix(),
	})) + "." + e.EncodeToString(signature)
}

// body writes the refusal as Entra would.
func (no *refusal) body(r *Request) []byte {
	correlation, count := r.Call.Header.First("Client-Request-Id")
	if count != 1 || !isID(correlation) {
		correlation = newID()
	}
	trace, at := newID(), r.Now.UTC().Format("2006-01-02 15:04:05Z")
	return encode(map[string]any{
		"error": no.code,
		"error_description": fmt.Sprintf("AADSTS%d: %s: %s. Trace ID: %s Correlation ID: %s Timestamp: %s",
			no.number, CodeLogin, no.description, trace, correlation, at),
		"error_codes": []int{no.number}, "timestamp": at, "trace_id": trace, "correlation_id": correlation,
	})
}

// isID reports whether text is a GUID.
func isID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i := range len(text) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (text[i] == '-') || !dash && strings.IndexByte("0123456789abcdefABCDEF", text[i]) < 0 {
			return false
		}
	}
	return true
}

func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
