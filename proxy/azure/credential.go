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
	// SAS: a shared access signature. In the query it cannot be taken out, and
	// together with a bearer token the service refuses it.
	SAS
	// Live: a well-formed token that has not expired.
	Live
)

// String names the kind for people.
func (c Credential) String() string {
	return [...]string{
		None: "no credential", Dead: "a dead credential", SAS: "a shared access signature", Live: "a live token",
	}[c]
}

// CredentialOf tells what a call brings along at the time now. One in the query
// counts before any Authorization, since it cannot be taken out and a token
// beside it is a conflict. Signatures are not checked: whoever forges a live
// token merely has a call of his own refused by the service.
//
// It does not allocate where the call brings nothing.
func CredentialOf(c *Call, now time.Time) Credential {
	if own := QueryCredential(c.Query, now); own != None {
		return own
	}
	first, count := c.first("Authorization")
	switch count {
	case 0:
		return None
	case 1:
		return credentialIn(first, now)
	}
	best := Dead
	for name, value := range c.Header.Each {
		if name == "Authorization" {
			best = max(best, credentialIn(value, now))
		}
	}
	return best
}

// QueryCredential tells what a raw query brings along: SAS where it has sig
// beside what tells the signature's version, expiry or permissions
// (https://learn.microsoft.com/rest/api/storageservices/delegate-access-with-shared-access-signature),
// Live for a live access_token (RFC 6750, section 2.3), else None.
func QueryCredential(query string, now time.Time) Credential {
	var signed, scoped, live bool
	for name, value := range params(query) {
		switch {
		case readsAs(name, "sig"):
			signed = true
		case readsAs(name, "sv"), readsAs(name, "se"), readsAs(name, "sp"):
			scoped = true
		case readsAs(name, "access_token"):
			live = live || isLiveToken(value, now)
		}
	}
	switch {
	case signed && scoped:
		return SAS
	case live:
		return Live
	}
	return None
}

func credentialIn(authorization string, now time.Time) Credential {
	authorization = strings.Trim(authorization, " \t")
	end := strings.IndexAny(authorization, " \t")
	if end < 0 {
		return Dead
	}
	scheme, rest := authorization[:end], strings.TrimLeft(authorization[end:], " \t")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		if isLiveToken(rest, now) {
			return Live
		}
	case strings.EqualFold(scheme, "PoP"):
		// A proof of possession wraps the token whose expiry counts, so being
		// well-formed is all that can be asked of it.
		if _, ok := tokenClaims(rest); ok {
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

// isLiveToken reports whether a token is a JWT that has not expired. An
// encrypted one (JWE, five parts) hides its expiry and counts as live: a call
// with a user's token must never become the machine's.
func isLiveToken(token string, now time.Time) bool {
	if strings.Count(token, ".") == 4 {
		head, _, _ := strings.Cut(token, ".")
		var header struct{ Enc string }
		return decodePart(head, &header) && header.Enc != ""
	}
	expiry, ok := tokenClaims(token)
	// Entra's tokens always expire; one that does not is a dummy.
	return ok && expiry > float64(now.Unix())
}

// tokenClaims reads a signed JWT's expiry, 0 where it has none. What alg says
// does not matter, for nothing is verified here.
func tokenClaims(token string) (expiry float64, ok bool) {
	head, rest, _ := strings.Cut(token, ".")
	body, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(signature, ".") {
		return 0, false
	}
	var header map[string]any
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if !decodePart(head, &header) || !decodePart(body, &claims) {
		return 0, false
	}
	return claims.Exp, true
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
