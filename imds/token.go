package imds

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap/zapcore"
)

// redacted stands wherever a token would be printed.
const redacted = "[token]"

// Token is a bearer token. It is immutable, used by pointer, and safe for
// concurrent use. However it is formatted, encoded or logged, the secret does
// not appear.
type Token struct {
	// What a function closes over is out of reach for reflection. Package fmt
	// reads unexported fields past the methods below, and follows a pointer in
	// them where the verb does not fit.
	held    func() *held
	expires time.Time
	refresh time.Time
	ahead   time.Duration
}

// held is what must not be shown.
type held struct {
	secret string
	header []string      // the Authorization field's values, shared by all requests
	oid    func() string // see ObjectID
}

// NewToken makes a token that is valid until expires. refresh is when its
// source wants it to be renewed; zero if the source did not say.
func NewToken(secret string, expires, refresh time.Time) *Token {
	h := &held{secret: secret, header: []string{"Bearer " + secret}}
	t := &Token{held: func() *held { return h }, expires: expires, refresh: refresh}
	h.oid = sync.OnceValue(func() string {
		claims, _ := t.Claims() // an opaque token tells none
		return claims.ObjectID
	})
	return t
}

// Expires is when the token ends.
func (t *Token) Expires() time.Time { return t.expires }

// Refresh is when the source wants the token to be renewed; zero if it did not
// say.
func (t *Token) Refresh() time.Time { return t.refresh }

// ClockAhead is by how much this machine's clock was ahead when the token came,
// where that made it look expired; 0 where it did not.
func (t *Token) ClockAhead() time.Duration { return t.ahead }

// SetAuthHeader authorises a header section. It allocates nothing: the values
// are shared, so nobody may change them in place.
func (t *Token) SetAuthHeader(h http.Header) { h["Authorization"] = t.held().header }

// AppendAuthorization appends the value of an Authorization field to dst.
func (t *Token) AppendAuthorization(dst []byte) []byte { return append(dst, t.held().header[0]...) }

// Equal reports whether both are the same token.
func (t *Token) Equal(u *Token) bool {
	if t == nil || u == nil {
		return t == u
	}
	return subtle.ConstantTimeCompare([]byte(t.held().secret), []byte(u.held().secret)) == 1
}

// Secret gives the token itself, to somebody who asked for it in so many words.
func (t *Token) Secret() string { return t.held().secret }

// The methods that redact take a Token by value, so that copies have them too.

// String implements fmt.Stringer.
func (Token) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Token) GoString() string { return redacted }

// Format implements fmt.Formatter, for the verbs that look past String.
func (Token) Format(s fmt.State, _ rune) {
	// There is nobody to tell of a failed print.
	_, _ = io.WriteString(s, redacted)
}

// MarshalText implements encoding.TextMarshaler, for JSON and YAML as well.
func (Token) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (t *Token) MarshalLogObject(e zapcore.ObjectEncoder) error {
	if t != nil { // zap calls it for nil as well
		e.AddTime("expires", t.expires)
	}
	return nil
}

// Claims are what a token says about itself. They are read without
// verification, to show them to people, and must decide nothing.
type Claims struct {
	Audience   string
	Issuer     string
	TenantID   string // tid
	ObjectID   string // oid, of the identity's service principal
	AppID      string // appid, the client id
	ResourceID string // xms_mirid, of the identity or the machine
	IssuedAt   time.Time
	NotBefore  time.Time
	Expires    time.Time
}

// UserAssigned reports whether the resource is a user-assigned identity, rather
// than the machine that has a system-assigned one.
func (c Claims) UserAssigned() bool {
	return strings.Contains(strings.ToLower(c.ResourceID), "/userassignedidentities/")
}

// Claims reads the token's claims. The error tells nothing of its content.
func (t *Token) Claims() (Claims, error) {
	parts := strings.Split(t.held().secret, ".")
	if len(parts) != 3 {
		return Claims{}, errors.New("the token is opaque")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Claims{}, errors.New("the token's claims are not base64")
	}
	var c struct {
		Audience   string  `json:"aud"`
		Issuer     string  `json:"iss"`
		TenantID   string  `json:"tid"`
		ObjectID   string  `json:"oid"`
		AppID      string  `json:"appid"`
		ResourceID string  `json:"xms_mirid"`
		IssuedAt   float64 `json:"iat"`
		NotBefore  float64 `json:"nbf"`
		Expires    float64 `json:"exp"`
	}
	if err := json.NewDecoder(bytes.NewReader(payload)).Decode(&c); err != nil {
		return Claims{}, errors.New("the token's claims are not the JSON that was expected")
	}
	return Claims{
		Audience: Printable(c.Audience), Issuer: Printable(c.Issuer), TenantID: Printable(c.TenantID),
		ObjectID: Printable(c.ObjectID), AppID: Printable(c.AppID), ResourceID: Printable(c.ResourceID),
		IssuedAt: numericDate(c.IssuedAt), NotBefore: numericDate(c.NotBefore), Expires: numericDate(c.Expires),
	}, nil
}

// ObjectID gives the claim oid, for records of what was done with the token;
// empty where it tells none. It is read once for each token.
func (t *Token) ObjectID() string { return t.held().oid() }

func numericDate(seconds float64) time.Time {
	if seconds <= 0 || seconds > maxUnix {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}
