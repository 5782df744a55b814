package imdstest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
)

// grant is what a token is for.
type grant struct {
	identity machineIdentity
	resource string
}

// minted is a token that was made.
type minted struct {
	secret  string
	issued  time.Time
	expires time.Time
}

// choice is which token an answer holds.
type choice uint8

const (
	kept    choice = iota // the one that is kept, or another near its end
	same                  // the one that is kept, even past its end
	another               // one that was not given out before
	loose                 // such a one, which is not kept
	ended                 // one whose end was an hour ago, which is not kept
)

// obtain gives the token for a grant. It makes at most one at a time, so that
// calls that come together get the same.
func (s *Server) obtain(g grant, now time.Time, which choice) minted {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch t, ok := s.tokens[g]; {
	case which == ended:
		return s.mintLocked(g, now.Add(-s.o.Lifetime-time.Hour))
	case which == loose:
		return s.mintLocked(g, now)
	case ok && (which == same || which == kept && !s.o.Fresh && t.expires.Sub(now) > s.o.Renewal):
		return t
	}
	t := s.mintLocked(g, now)
	s.tokens[g] = t
	return t
}

// mintLocked makes a token as Entra does: a JWT signed by RS256 (RFC 7515), valid for
// a few minutes before it is issued, since clocks differ.
func (s *Server) mintLocked(g grant, now time.Time) minted {
	// An answer counts in seconds, and so does the token.
	t := minted{issued: now.Truncate(time.Second)}
	t.expires = t.issued.Add(s.o.Lifetime)
	issuer := "https://sts.windows.net/" + s.o.Tenant + "/"
	signed := encodePart(map[string]any{"alg": "RS256", "typ": "JWT", "kid": s.kid, "x5t": s.kid}) + "." + encodePart(map[string]any{
		"iss": issuer, "idp": issuer, "aud": g.resource,
		"nbf": t.issued.Add(-clockLeeway).Unix(), "iat": t.issued.Add(-clockLeeway).Unix(), "exp": t.expires.Unix(),
		"tid": s.o.Tenant, "oid": g.identity.ObjectID, "sub": g.identity.ObjectID, "appid": g.identity.ClientID, "appidacr": "2",
		"idtyp": "app", "xms_mirid": g.identity.ResourceID, "jti": rand.Text(), "ver": "1.0",
	})
	t.secret = signed + "." + base64.RawURLEncoding.EncodeToString(s.sign(signed))
	s.record.minted++
	return t
}

func (s *Server) sign(text string) []byte {
	if s.o.Unsigned {
		return nil
	}
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, s.o.Key, crypto.SHA256, digest[:])
	if err != nil {
		panic("imdstest: sign a token: " + err.Error()) // a key that New took signs
	}
	return signature
}

// clockLeeway is how long before it was made a token is valid already.
const clockLeeway = 5 * time.Minute

// fields are the answer that hands a token out. Numbers are strings.
func (t minted) fields(g grant, now time.Time) map[string]any {
	left := strconv.FormatInt(max(int64(t.expires.Sub(now)/time.Second), 0), 10)
	fields := map[string]any{
		"access_token": t.secret, "refresh_token": "", "token_type": "Bearer", "resource": g.resource,
		"expires_in": left, "ext_expires_in": left, "expires_on": unix(t.expires), "not_before": unix(t.issued.Add(-clockLeeway)),
	}
	if !g.identity.system {
		fields["client_id"] = g.identity.ClientID
		fields["msi_res_id"] = g.identity.ResourceID
	}
	return fields
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

func encodePart(value map[string]any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic("imdstest: " + err.Error()) // strings and numbers are always JSON
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// keyID names a key by its own content.
func keyID(key *rsa.PublicKey) string {
	sum := sha256.Sum256(x509.MarshalPKCS1PublicKey(key))
	return base64.RawURLEncoding.EncodeToString(sum[:20])
}
