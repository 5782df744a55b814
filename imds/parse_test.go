package imds

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// noon is the time by this machine's clock in what follows.
var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

func TestExpiry(t *testing.T) {
	const hour = time.Hour
	day := strconv.FormatInt(noon.Add(24*hour).Unix(), 10)
	tests := []struct {
		name  string
		body  string // the fields besides the token
		want  time.Duration
		ahead time.Duration
	}{
		{"strings", `"expires_in":"86400","expires_on":"` + day + `"`, 24 * hour, 0},
		{"numbers", `"expires_in":86400,"expires_on":` + day, 24 * hour, 0},
		{"broken numbers", `"expires_in":3600.9,"expires_on":"` + day + `.5"`, hour + 900*time.Millisecond, 0},
		{"spaces", `"expires_in":" 3600 "`, hour, 0},
		{"a number with an exponent", `"expires_in":3.6e3`, hour, 0},
		{"expires_in alone", `"expires_in":"3600"`, hour, 0},
		{"expires_on alone", `"expires_on":"` + day + `"`, 24 * hour, 0},
		{"an empty expires_in", `"expires_in":"","expires_on":"` + day + `"`, 24 * hour, 0},
		{"no number for expires_in", `"expires_in":null,"expires_on":"` + day + `"`, 24 * hour, 0},
		{"an object for expires_in", `"expires_in":{"a":1},"expires_on":"` + day + `"`, 24 * hour, 0},
		{"an empty expires_on", `"expires_in":"3600","expires_on":""`, hour, 0},
		{"nonsense for expires_on", `"expires_in":"3600","expires_on":"NaN"`, hour, 0},
		{"milliseconds for expires_on", `"expires_in":"3600","expires_on":"1793707200000"`, hour, 0},
		{"a date, RFC 3339", `"expires_on":"2026-11-02T13:00:00Z"`, hour, 0},
		{"a date, RFC 3339 with a zone", `"expires_on":"2026-11-02T15:00:00+02:00"`, hour, 0},
		{"a date with dashes", `"expires_on":"2026-11-02 13:00:00"`, hour, 0},
		{"a date with slashes, month first", `"expires_on":"11/02/2026 13:00:00"`, hour, 0},
		{"a date with slashes and a zone", `"expires_on":"11/02/2026 13:00:00 +00:00"`, hour, 0},
		{"the earlier of the two", `"expires_in":"7200","expires_on":"2026-11-02T13:00:00Z"`, hour, 0},
		{"the other earlier of the two", `"expires_in":"3600","expires_on":"2026-11-02T14:00:00Z"`, hour, 0},
		{"this clock three hours behind", `"expires_in":"86400","expires_on":"2026-11-03T15:00:00Z"`, 24 * hour, 0},
		{"this clock an hour ahead", `"expires_in":"86400","expires_on":"2026-11-03T11:00:00Z"`, 23 * hour, 0},
		{"this clock a day and an hour ahead", `"expires_in":"86400","expires_on":"2026-11-02T11:00:00Z"`, 24 * hour, 25 * hour},
		{"this clock years ahead", `"expires_in":"3600","expires_on":"2016-11-02T12:00:00Z"`, hour, 87648*hour + hour},
		{"no end in sight", `"expires_in":"99999999999"`, 48 * hour, 0},
		{"no end in sight, by date", `"expires_on":"253402300799"`, 48 * hour, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token, err := parseToken([]byte(`{"access_token":"a.b.c","token_type":"bearer",`+tt.body+`}`), noon)
			if err != nil {
				t.Fatal(err)
			}
			if got := token.Expires().Sub(noon); got != tt.want {
				t.Errorf("it lives for %s, want %s", got, tt.want)
			}
			if token.ClockAhead() != tt.ahead {
				t.Errorf("the clock is %s ahead, want %s", token.ClockAhead(), tt.ahead)
			}
			if token.Secret() != "a.b.c" {
				t.Errorf("got another token")
			}
		})
	}
}

func TestRefresh(t *testing.T) {
	for body, want := range map[string]time.Duration{
		`"refresh_in":"43200"`: 12 * time.Hour,
		`"refresh_in":43200`:   12 * time.Hour,
		`"refresh_in":"0"`:     0,
		`"refresh_in":"-5"`:    0,
		`"refresh_in":"soon"`:  0,
		`"refresh_in":""`:      0,
		`"refresh_in":"86400"`: 0, // at the end is too late
		`"refresh_in":"90000"`: 0,
		`"resource":"x"`:       0,
	} {
		token, err := parseToken([]byte(`{"access_token":"t","expires_in":"86400",`+body+`}`), noon)
		if err != nil {
			t.Fatal(err)
		}
		var got time.Duration
		if !token.Refresh().IsZero() {
			got = token.Refresh().Sub(noon)
		}
		if got != want {
			t.Errorf("%s: refreshed after %s, want %s", body, got, want)
		}
	}
}

// A machine that was suspended for hours must not take its token for valid
// because its monotonic clock stood still. A wall clock that is known to be
// wrong will be set right, and must not lengthen a token.
func TestExpiryFollowsTheClockThatCanBeTrusted(t *testing.T) {
	now := time.Now()
	if !monotonic(now) {
		t.Fatal("the clock has no monotonic reading")
	}
	soon, past := strconv.FormatInt(now.Add(time.Hour).Unix(), 10), strconv.FormatInt(now.Add(-time.Hour).Unix(), 10)
	for body, want := range map[string]bool{
		`"expires_in":"86400"`:                             false,
		`"expires_on":"` + soon + `"`:                      false,
		`"expires_in":"86400","expires_on":"` + soon + `"`: false,
		`"expires_in":"86400","expires_on":"` + past + `"`: true,
	} {
		token, err := parseToken([]byte(`{"access_token":"t",`+body+`}`), now)
		if err != nil {
			t.Fatal(err)
		}
		if got := monotonic(token.Expires()); got != want {
			t.Errorf("%s: monotonic: %t, want %t", body, got, want)
		}
	}
}

func monotonic(t time.Time) bool { return strings.Contains(t.String(), " m=") }

func TestParseRetryAfter(t *testing.T) {
	field := func(pairs ...string) http.Header {
		h := make(http.Header)
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	date := func(d time.Duration) string { return noon.Add(d).Format(http.TimeFormat) }
	tests := []struct {
		name string
		h    http.Header
		want time.Duration
	}{
		{"absent", field(), 0},
		{"seconds", field("Retry-After", "30"), 30 * time.Second},
		{"spaces", field("Retry-After", " 30 "), 30 * time.Second},
		{"none", field("Retry-After", "0"), 0},
		{"negative", field("Retry-After", "-30"), 0},
		{"a day", field("Retry-After", "86400"), 10 * time.Minute},
		{"absurd", field("Retry-After", "99999999999999999999"), 10 * time.Minute},
		{"absurd and negative", field("Retry-After", "-99999999999999999999"), 0},
		{"words", field("Retry-After", "soon"), 0},
		{"a date", field("Retry-After", date(time.Minute)), time.Minute},
		{"a date that is past", field("Retry-After", date(-time.Minute)), 0},
		{"a date far away", field("Retry-After", date(87600*time.Hour)), 10 * time.Minute},
		{"a date of RFC 850", field("Retry-After", noon.Add(time.Minute).Format(time.RFC850)), time.Minute},
		{"a date by a clock that is ahead", field("Retry-After", date(3*time.Hour+time.Minute), "Date", date(3*time.Hour)), time.Minute},
		{"a date by a clock that is behind", field("Retry-After", date(-3*time.Hour+time.Minute), "Date", date(-3*time.Hour)), time.Minute},
		{"a date, and nonsense for today's", field("Retry-After", date(time.Minute), "Date", "today"), time.Minute},
		{"milliseconds", field("Retry-After-Ms", "1500"), 1500 * time.Millisecond},
		{"Azure's milliseconds", field("X-Ms-Retry-After-Ms", "1500"), 1500 * time.Millisecond},
		{"milliseconds before seconds", field("X-Ms-Retry-After-Ms", "1500", "Retry-After", "30"), 1500 * time.Millisecond},
		{"nonsense for milliseconds", field("Retry-After-Ms", "x", "Retry-After", "30"), 30 * time.Second},
		{"absurd milliseconds", field("Retry-After-Ms", "99999999999"), 10 * time.Minute},
	}
	for _, tt := range tests {
		if got := parseRetryAfter(tt.h, noon); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// A token comes out only if it is alive and fit for a header, and no error says
// what it is.
func FuzzParseToken(f *testing.F) {
	f.Add("token.0123456789", `"86400"`, `"1793707200"`, `"43200"`, int64(1793620800))
	f.Add("token.0123456789", `86400`, `1793707200`, `43200`, int64(1793620800))
	f.Add("token.0123456789", `""`, `"11/02/2026 13:00:00"`, `null`, int64(1793620800))
	f.Add("token.0123456789", `"1e300"`, `"-1"`, `"Inf"`, int64(0))
	f.Add("token.0123456789\r\n", `{}`, `[]`, `true`, int64(253402300799))
	f.Add("", `1e-12`, `"2026-11-02T13:00:00Z"`, `"x"`, int64(-1))
	f.Fuzz(func(t *testing.T, secret, in, on, refresh string, unix int64) {
		if unix < 0 || unix > maxUnix {
			return // no machine's clock
		}
		now := time.Unix(unix, 0)
		quoted, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{
			secret,
			fmt.Sprintf(`{"access_token":%s,"expires_in":%s,"expires_on":%s,"refresh_in":%s}`, quoted, in, on, refresh),
			fmt.Sprintf(`{"expires_in":%s,"expires_on":%s,"access_token":%s`, in, on, quoted),
		} {
			token, err := parseToken([]byte(body), now)
			if err != nil {
				// Shorter ones are in any text.
				if token != nil || len(secret) > 12 && strings.Contains(err.Error(), secret) {
					t.Fatalf("got token %v and error %q", token, err)
				}
				continue
			}
			if life := token.Expires().Sub(now); life <= 0 || life > maxLife {
				t.Fatalf("the token lives for %s", life)
			}
			if r := token.Refresh(); !r.IsZero() && (!r.After(now) || !r.Before(token.Expires())) {
				t.Fatalf("it is refreshed after %s of %s", r.Sub(now), token.Expires().Sub(now))
			}
			if token.Secret() == "" || strings.ContainsFunc(token.Secret(), func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
				t.Fatalf("the token is %q", token.Secret())
			}
			if _, err := token.Claims(); err != nil && len(secret) > 12 && strings.Contains(err.Error(), secret) {
				t.Fatalf("the token is in %q", err)
			}
		}
	})
}

// A wait is never negative or longer than is granted, and a longer wish never
// gives a shorter wait.
func FuzzParseRetryAfter(f *testing.F) {
	f.Add("30", "", "")
	f.Add("Mon, 02 Nov 2026 12:00:30 GMT", "", "Mon, 02 Nov 2026 12:00:00 GMT")
	f.Add("-1", "1500", "")
	f.Add("99999999999999999999", "x", "yesterday")
	f.Fuzz(func(t *testing.T, seconds, ms, date string) {
		h := http.Header{"Retry-After": {seconds}, "Retry-After-Ms": {ms}, "Date": {date}}
		if got := parseRetryAfter(h, noon); got < 0 || got > maxRetryAfter {
			t.Fatalf("got %s", got)
		}
		delete(h, "Retry-After-Ms")
		got := parseRetryAfter(h, noon)
		if n, err := strconv.ParseUint(seconds, 10, 64); err == nil && n < 1<<62 {
			h.Set("Retry-After", strconv.FormatUint(n+1, 10))
			if longer := parseRetryAfter(h, noon); longer < got || longer == 0 {
				t.Fatalf("%d seconds give %s, one more gives %s", n, got, longer)
			}
		}
	})
}

// Any JSON value is read without an error, and a number means the same with
// and without quotes.
func FuzzFlexible(f *testing.F) {
	for _, seed := range []string{`"86400"`, `86400`, `1e3`, `-0.5`, `""`, `null`, `true`, `{}`, `[1]`, `" 7 "`, `"\ud800"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var got flexible = "left over"
		err := json.Unmarshal([]byte(text), &got)
		if json.Valid([]byte(text)) != (err == nil) {
			t.Fatalf("%q: got %v", text, err)
		}
		if err != nil {
			return
		}
		if !utf8.ValidString(string(got)) || got == "left over" && !strings.Contains(text, "left over") {
			t.Fatalf("%q gives %q", text, got)
		}
		var number json.Number
		if json.Unmarshal([]byte(text), &number) == nil && number != "" && text[0] != '"' {
			var quoted flexible
			if err := json.Unmarshal([]byte(`"`+number.String()+`"`), &quoted); err != nil || quoted != got {
				t.Fatalf("%q gives %q, in quotes %q, %v", text, got, quoted, err)
			}
		}
	})
}
