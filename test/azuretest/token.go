package azuretest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// Why a token is refused. The services tell these apart in their answers.
var (
	ErrMissing   = errors.New("no bearer token")
	ErrMalformed = errors.New("the token is not well formed")
	ErrSignature = errors.New("the token's signature is not the issuer's")
	ErrIssuer    = errors.New("the token has another issuer")
	ErrAudience  = errors.New("the token is for another audience")
	ErrNotYet    = errors.New("the token is not valid yet")
	ErrExpired   = errors.New("the token has expired")
	ErrRevoked   = errors.New("the token was revoked")
)

// Claims are what the fakes read of a token.
type Claims struct {
	Issuer     string `json:"iss"`
	Audience   string `json:"aud"`
	NotBefore  int64  `json:"nbf"`
	Expires    int64  `json:"exp"`
	Tenant     string `json:"tid"`
	ObjectID   string `json:"oid"`
	ClientID   string `json:"appid"`
	ResourceID string `json:"xms_mirid"`
}

// Verifier judges bearer tokens as a service does that trusts one issuer. It
// may be used concurrently.
type Verifier struct {
	tenant string
	key    *rsa.PublicKey
	now    func() time.Time

	mu      sync.Mutex // guards the fields below
	seen    map[[sha256.Size]byte]bool
	revoked map[[sha256.Size]byte]bool
}

// NewVerifier gives a Verifier of tokens that the tenant's issuer signed with
// the key. now is the clock; nil means time.Now.
func NewVerifier(tenant string, key *rsa.PublicKey, now func() time.Time) *Verifier {
	if now == nil {
		now = time.Now
	}
	return &Verifier{
		tenant: tenant, key: key, now: now,
		seen: make(map[[sha256.Size]byte]bool), revoked: make(map[[sha256.Size]byte]bool),
	}
}

// Tenant is the tenant whose tokens are taken.
func (v *Verifier) Tenant() string { return v.tenant }

// Revoke has every token that was accepted until now refused from now on, as
// after a sign-out or a change of role, and gives their number.
func (v *Verifier) Revoke() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := len(v.seen)
	for sum := range v.seen {
		v.revoked[sum] = true
	}
	clear(v.seen)
	return n
}

// Verify judges an Authorization value for a service that answers to the
// audiences. The error wraps one of the reasons above and never holds the
// token. Times are taken to the second, without the leeway that Azure grants,
// so that a token at its very end shows.
func (v *Verifier) Verify(authorization string, audiences ...string) (Claims, error) {
	token, ok := strings.CutPrefix(authorization, "Bearer ")
	if !ok || token == "" {
		return Claims{}, ErrMissing
	}
	c, err := v.parse(token)
	if err != nil {
		return Claims{}, err
	}
	now := v.now().Unix()
	switch {
	case c.Issuer != "https://sts.windows.net/"+v.tenant+"/":
		return c, ErrIssuer
	case !slices.ContainsFunc(audiences, func(a string) bool { return sameAudience(a, c.Audience) }):
		return c, ErrAudience
	case c.NotBefore == 0 || c.NotBefore > now:
		return c, ErrNotYet
	case c.Expires <= now:
		return c, ErrExpired
	}
	sum := sha256.Sum256([]byte(token))
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.revoked[sum] {
		return c, ErrRevoked
	}
	v.seen[sum] = true
	return c, nil
}

// parse reads a JWT that is signed with RS256 (RFC 7515, section 5.2) and no
// other algorithm, so that "none" or a key taken for a secret cannot pass.
func (v *Verifier) parse(token string) (Claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Claims{}, ErrMalformed
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	if err := decodePart(parts[0], &header); err != nil || header.Algorithm != "RS256" {
		return Claims{}, ErrMalformed
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return Claims{}, ErrMalformed
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(v.key, crypto.SHA256, digest[:], signature) != nil {
		return Claims{}, ErrSignature
	}
	var c Claims
	if err := decodePart(parts[1], &c); err != nil {
		return Claims{}, ErrMalformed
	}
	return c, nil
}

func decodePart(part string, into any) error {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// sameAudience compares audiences as the services do, which take them with and
// without a slash at the end.
func sameAudience(a, b string) bool {
	return strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/")
}
