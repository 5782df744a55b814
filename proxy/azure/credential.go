package azure

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Credential tells what a call brings along of its own to be authorised by.
type Credential uint8

// The kinds of credentials.
const (
	// None: no Authorization and no shared access signature.
	None Credential = iota
	// Dead: an Authorization that is not worth keeping: the signature of a
	// shared key, Basic, a dummy, an expired or malformed token.
	Dead
	// Foreign: a live token for another service of the cloud.
	Foreign
	// Placeholder: a token of bearerd's own, by which an app that logs in with a
	// secret stands for the machine; see PlaceholderIssuer.
	Placeholder
	// SAS: a shared access signature. In the query it cannot be taken out, and
	// together with a bearer token the service refuses it.
	SAS
	// Live: a well-formed token that has not expired.
	Live
)

// String names the kind for people.
func (c Credential) String() string {
	return [...]string{
		None: "no credential", Dead: "a dead credential", Foreign: "a token for another service",
		Placeholder: "a placeholder", SAS: "a shared access signature", Live: "a live token",
	}[c]
}

// Kind is the word for it in metrics.
func (c Credential) Kind() string {
	return [...]string{None: "none", Dead: "dead", Foreign: "foreign", Placeholder: "placeholder", SAS: "sas", Live: "token"}[c]
}

// PlaceholderIssuer begins the issuer of every placeholder. The name resolves
// nowhere (RFC 2606, section 2), so that no service can be led to trust it.
const PlaceholderIssuer = "https://bearerd.invalid/"

// CredentialOf tells what a call to the service brings along at the time now.
// One in the query counts before any Authorization, since it cannot be taken out
// and a token beside it is a conflict. Signatures are not checked: whoever forges
// a live token merely has a call of his own refused by the service, and whoever
// forges a placeholder gets what a call without a credential gets.
//
// It does not allocate where the call brings nothing.
func (s *Service) CredentialOf(c *Call, now time.Time) Credential {
	if own := s.QueryCredential(c, now); own != None {
		return own
	}
	first, count := c.first("Authorization")
	switch count {
	case 0:
		return None
	case 1:
		return s.credentialIn(first, now)
	}
	best := Dead
	for name, value := range c.Header.Each {
		if name == "Authorization" {
			best = max(best, s.credentialIn(value, now))
		}
	}
	return best
}

// QueryCredential tells what a call's query brings along: SAS where the service
// takes signatures there and it has sig beside what tells the signature's
// version, expiry or permissions
// (https://learn.microsoft.com/rest/api/storageservices/delegate-access-with-shared-access-signature),
// Live for a live access_token (RFC 6750, section 2.3), else None.
func (s *Service) QueryCredential(c *Call, now time.Time) Credential {
	var signed, scoped, live bool
	for name, value := range params(c.Query) {
		switch {
		case readsAs(name, "sig"):
			signed = true
		case readsAs(name, "sv"), readsAs(name, "se"), readsAs(name, "sp"):
			scoped = true
		case readsAs(name, "access_token"):
			live = live || judgeToken(value, now).kind == Live
		}
	}
	switch {
	case signed && scoped && s.takesSignatures(c.Host):
		return SAS
	case live:
		return Live
	}
	return None
}

// takesSignatures reports whether a signature in the query authorises a call.
// Elsewhere sig is a parameter like any other. Beside Storage it is Logic Apps
// that takes one, and refuses a token beside it
// (https://learn.microsoft.com/azure/logic-apps/logic-apps-securing-a-logic-app).
func (s *Service) takesSignatures(host string) bool {
	return s.kind == storageKind || strings.HasSuffix(host, ".logic.azure.com")
}

func (s *Service) credentialIn(authorization string, now time.Time) Credential {
	authorization = strings.Trim(authorization, " \t")
	end := strings.IndexAny(authorization, " \t")
	if end < 0 {
		return Dead
	}
	scheme, rest := authorization[:end], strings.TrimLeft(authorization[end:], " \t")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		token := judgeToken(rest, now)
		if token.kind == Live && s.isForeign(token.audience) {
			return Foreign
		}
		return token.kind
	case strings.EqualFold(scheme, "PoP"):
		// A proof of possession wraps the token whose expiry counts, so being
		// well-formed is all that can be asked of it.
		if _, ok := readClaims(rest); ok {
			return Live
		}
	case strings.EqualFold(scheme, "SharedAccessSignature"):
		// Service Bus and Event Hubs take it here; se is in Unix seconds.
		if isLiveSignature(rest, now) {
			return SAS
		}
	}
	return Dead
}

// IsSharedKey reports whether a call is signed with the key of a storage account
// (https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key).
func (c *Call) IsSharedKey() bool {
	value, _ := c.first("Authorization")
	scheme, _, _ := strings.Cut(strings.TrimLeft(value, " \t"), " ")
	return strings.EqualFold(scheme, "SharedKey") || strings.EqualFold(scheme, "SharedKeyLite")
}

// tokenVerdict is what a token is, and whom it is for where it says so.
type tokenVerdict struct {
	kind     Credential
	audience string
}

// judgeToken tells a live token, a JWT that has not expired, and a placeholder
// from what is dead. An encrypted token (JWE, five parts) hides its expiry and
// counts as live: a call with a user's token must never become the machine's.
func judgeToken(token string, now time.Time) tokenVerdict {
	if strings.Count(token, ".") == 4 {
		head, _, _ := strings.Cut(token, ".")
		var header struct{ Enc string }
		if decodePart(head, &header) && header.Enc != "" {
			return tokenVerdict{kind: Live}
		}
		return tokenVerdict{kind: Dead}
	}
	claims, ok := readClaims(token)
	switch {
	case ok && strings.HasPrefix(claims.issuer, PlaceholderIssuer):
		return tokenVerdict{Placeholder, claims.audience}
	case ok && claims.expiry > float64(now.Unix()):
		// Entra's tokens always expire; one that does not is a dummy.
		return tokenVerdict{Live, claims.audience}
	}
	return tokenVerdict{kind: Dead}
}

// PlaceholderAudience gives whom the placeholder in a call's only Authorization
// is for, and false where there is none.
func PlaceholderAudience(c *Call) (audience string, ok bool) {
	value, count := c.first("Authorization")
	scheme, rest, _ := strings.Cut(strings.Trim(value, " \t"), " ")
	if count != 1 || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	token := judgeToken(strings.TrimLeft(rest, " \t"), time.Time{})
	return token.audience, token.kind == Placeholder
}

// tokenClaims are what is read of a JWT. What alg says does not matter, for
// nothing is verified here.
type tokenClaims struct {
	expiry           float64 // 0: none
	issuer, audience string  // empty: none, or not text
}

// readClaims reads a signed JWT's claims.
func readClaims(token string) (claims tokenClaims, ok bool) {
	head, rest, _ := strings.Cut(token, ".")
	body, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(signature, ".") {
		return claims, false
	}
	var header map[string]any
	var said struct {
		Exp      float64 `json:"exp"`
		Iss, Aud any
	}
	if !decodePart(head, &header) || !decodePart(body, &said) {
		return claims, false
	}
	claims.expiry = said.Exp
	claims.issuer, _ = said.Iss.(string)
	claims.audience, _ = said.Aud.(string)
	return claims, true
}

// decodePart reads one base64url part of a JWT (RFC 7515, section 2), which
// some write with padding.
func decodePart(part string, v any) bool {
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(part, "="))
	return err == nil && len(text) > 0 && text[0] == '{' && json.Unmarshal(text, v) == nil
}

func isLiveSignature(params string, now time.Time) bool {
	q := queryView(params)
	_, signed := q.value("sig")
	expiry, _ := q.value("se")
	seconds, err := strconv.ParseInt(expiry, 10, 64)
	return signed > 0 && err == nil && seconds > now.Unix()
}
