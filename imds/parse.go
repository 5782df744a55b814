package imds

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	// maxUnix is the year 9999, past which a number is no time.
	maxUnix = 253402300799
	// maxLife bounds how long an answer is believed. Entra's tokens live for 28
	// hours at most
	// (https://learn.microsoft.com/entra/identity/conditional-access/concept-continuous-access-evaluation).
	maxLife = 48 * time.Hour
	// maxDescription bounds what of an answer's own words reaches a log.
	maxDescription = 512
	// maxRetryAfter bounds what an answer can ask us to wait: beyond it, it is
	// more likely a broken clock than a wish.
	maxRetryAfter = 10 * time.Minute
)

// flexible is a JSON number or string, as IMDS and its relatives mix them. Any
// other value is as good as none.
type flexible string

// UnmarshalJSON implements json.Unmarshaler.
func (f *flexible) UnmarshalJSON(b []byte) error {
	*f = ""
	var text string
	if json.Unmarshal(b, &text) == nil { // null gives ""
		*f = flexible(strings.TrimSpace(text))
		return nil
	}
	var number json.Number
	if json.Unmarshal(b, &number) == nil {
		*f = flexible(number)
	}
	return nil
}

type answerBody struct {
	AccessToken string   `json:"access_token"`
	ExpiresIn   flexible `json:"expires_in"`
	ExpiresOn   flexible `json:"expires_on"`
	RefreshIn   flexible `json:"refresh_in"`
	TokenType   string   `json:"token_type"`

	Error            string `json:"error"`
	ErrorDescription string `json:"error_description"`
}

// parseToken reads the body of a 200. The error holds nothing of the body.
func parseToken(body []byte, now time.Time) (*Token, error) {
	var a answerBody
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, errors.New("the body is not the JSON of a token")
	}
	if a.AccessToken == "" {
		return nil, errors.New("the body has no access_token")
	}
	if a.TokenType != "" && !strings.EqualFold(a.TokenType, "Bearer") {
		return nil, errors.New("the token is not a bearer token")
	}
	for i := range len(a.AccessToken) {
		// RFC 6750, section 2.1. Anything else could end the header field.
		if c := a.AccessToken[i]; c <= ' ' || c >= 0x7f {
			return nil, errors.New("the token holds a byte that no header may carry")
		}
	}
	expires, ahead, err := parseExpiry(string(a.ExpiresOn), string(a.ExpiresIn), now)
	if err != nil {
		return nil, err
	}
	var refresh time.Time
	if seconds, ok := parseSeconds(string(a.RefreshIn)); ok && seconds > 0 {
		if at := now.Round(0).Add(seconds); at.Before(expires) {
			refresh = at
		}
	}
	token := NewToken(a.AccessToken, expires, refresh)
	token.ahead = ahead
	return token, nil
}

// parseExpiry gives the earlier of expires_on and now + expires_in. Where the
// former is past already while the latter is not, this machine's clock is
// ahead, by that much, and the elapsed time is what can be relied on.
func parseExpiry(on, in string, now time.Time) (expires time.Time, ahead time.Duration, err error) {
	at, haveAt := parseTime(on)
	left, haveLeft := parseSeconds(in)
	// The wall clock alone counts: the monotonic one may stand still while the
	// machine is suspended, and the token would outlive its end.
	wall := now.Round(0)
	if haveAt && at.After(wall.Add(maxLife)) {
		at = wall.Add(maxLife)
	}
	left = min(left, maxLife)
	switch {
	case !haveAt && !haveLeft:
		return time.Time{}, 0, errors.New("the token has no usable expiry")
	case haveLeft && left <= 0:
		return time.Time{}, 0, errors.New("the token has expired")
	case haveLeft && haveAt && !at.After(wall):
		// The monotonic clock is kept here, for the wall clock may be set right
		// while the token lives.
		return now.Add(left), wall.Add(left).Sub(at), nil
	case haveLeft && (!haveAt || wall.Add(left).Before(at)):
		return wall.Add(left), 0, nil
	case !at.After(wall):
		return time.Time{}, 0, fmt.Errorf("the token has expired by this machine's clock, %s ago", wall.Sub(at).Round(time.Second))
	}
	return at, 0, nil
}

// parseSeconds reads a number of seconds, false where it is none. Less than
// nothing is nothing.
func parseSeconds(text string) (time.Duration, bool) {
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(seconds) || seconds > maxUnix {
		return 0, false
	}
	// Bounded before the product, which would overflow.
	return time.Duration(min(max(seconds, 0), 1e9) * float64(time.Second)), true
}

// parseTime reads a Unix time or one of the dates that Azure's endpoints have
// been seen to send.
func parseTime(text string) (time.Time, bool) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		if seconds <= 0 || seconds > maxUnix || math.IsNaN(seconds) {
			return time.Time{}, false
		}
		return time.Unix(int64(seconds), 0), true
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "01/02/2006 15:04:05", "01/02/2006 15:04:05 -07:00"} {
		if t, err := time.Parse(layout, text); err == nil && t.Unix() > 0 && t.Unix() <= maxUnix {
			return t, true
		}
	}
	return time.Time{}, false
}

// parseRetryAfter reads how long an answer asks us to wait: seconds or a date
// (RFC 9110, section 10.2.3), and the millisecond fields of other Azure
// services. 0 where it does not ask, or asks for nonsense.
func parseRetryAfter(h http.Header, now time.Time) time.Duration {
	for _, name := range []string{"Retry-After-Ms", "X-Ms-Retry-After-Ms"} {
		if wait := parseCount(h.Get(name), time.Millisecond); wait > 0 {
			return wait
		}
	}
	text := strings.TrimSpace(h.Get("Retry-After"))
	if at, err := http.ParseTime(text); err == nil {
		// Both by the other's clock, where it tells its time.
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date
		}
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return parseCount(text, time.Second)
}

// parseCount reads a number of units to wait. More than it can hold is a wish
// for more than is granted.
func parseCount(text string, unit time.Duration) time.Duration {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	return min(max(time.Duration(n)*unit, 0), maxRetryAfter)
}

// jwt is what every JSON Web Token looks like: its first part is a JSON object
// in base64.
var jwt = regexp.MustCompile(`eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9._-]*`)

// Printable bounds foreign words and takes out what could forge a log line, and
// what looks like a token.
func Printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	text = jwt.ReplaceAllLiteralString(text, redacted)
	if len(text) > maxDescription {
		text = strings.ToValidUTF8(text[:maxDescription], "") + "..."
	}
	return strings.TrimSpace(text)
}
