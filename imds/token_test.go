package imds

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	yaml "go.yaml.in/yaml/v3"
)

const secret = "c2VjcmV0.dG9rZW4.Y2FuYXJ5"

// holders are values that hold a token in all the ways that a program may.
func holders(t *Token) map[string]any {
	type exported struct {
		Token *Token
		Other int
	}
	type unexported struct {
		token *Token
		other int
	}
	type embedded struct{ *Token }
	type copied struct{ Token Token }
	type hidden struct{ token Token }
	return map[string]any{
		"a pointer":                  t,
		"a copy":                     *t,
		"a pointer to a pointer":     &t,
		"an exported field":          exported{t, 1},
		"a pointer to a struct":      &exported{t, 1},
		"an unexported field":        unexported{t, 1},
		"a pointer to an unexported": &unexported{t, 1},
		"an embedded pointer":        embedded{t},
		"a copy in a field":          copied{*t},
		"a copy in a hidden field":   hidden{*t},
		"a pointer to such a struct": &hidden{*t},
		"a list":                     []*Token{t},
		"a list of copies":           []Token{*t},
		"a map":                      map[string]*Token{"a": t},
		"an interface in a struct":   struct{ Any any }{t},
		"an error":                   fmt.Errorf("use %v: %w", t, errors.New("no")),
	}
}

// forms are what a secret looks like when it is printed, in every base.
func forms() []string {
	return []string{
		secret, strings.Trim(fmt.Sprintf("%q", secret), `"`), fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprintf("% x", secret),
		strings.Trim(fmt.Sprint([]byte(secret)), "[]"), strings.ReplaceAll(strings.Trim(fmt.Sprintf("%#v", []byte(secret)), "[]byte{}"), " ", ""),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte("Bearer " + secret))[:40],
	}
}

func mustNotShow(t *testing.T, how, text string) {
	t.Helper()
	for _, form := range forms() {
		if strings.Contains(text, form) {
			t.Errorf("%s shows the token: %s", how, text)
			return
		}
	}
}

func TestTokenIsNotPrinted(t *testing.T) {
	token := NewToken(secret, noon, noon)
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%+q", "%x", "%X", "% x", "%#x", "%d", "%o", "%b", "%c", "%U", "%e", "%t", "%p", "%T", "%10.3v", "%w", "%!"}
	for name, value := range holders(token) {
		for _, verb := range verbs {
			mustNotShow(t, name+" by "+verb, fmt.Sprintf(verb, value))
		}
		mustNotShow(t, name+" by Sprint", fmt.Sprint(value)+fmt.Sprintln(value)+string(fmt.Append(nil, value)))
	}
	// It says that there was one, too.
	for _, text := range []string{token.String(), token.GoString(), fmt.Sprint(token), fmt.Sprintf("%d", *token), fmt.Sprintf("%#v", []any{token})} {
		if !strings.Contains(text, "[token]") {
			t.Errorf("got %q", text)
		}
	}
	if got := fmt.Sprint((*Token)(nil)); got != "<nil>" {
		t.Errorf("no token is printed as %q", got)
	}
}

func TestTokenIsNotEncoded(t *testing.T) {
	token := NewToken(secret, noon, noon)
	for name, value := range holders(token) {
		text, err := json.Marshal(value)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		mustNotShow(t, name+" in JSON", string(text))
		text, err = yaml.Marshal(value)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		mustNotShow(t, name+" in YAML", string(text))
		// What XML and gob cannot encode they do not show either.
		text, err = xml.Marshal(value)
		mustNotShow(t, name+" in XML", fmt.Sprint(string(text), err))
		var b bytes.Buffer
		err = gob.NewEncoder(&b).Encode(value)
		mustNotShow(t, name+" in gob", fmt.Sprint(b.String(), err))
	}
	text, err := token.MarshalText()
	if err != nil || string(text) != "[token]" {
		t.Errorf("got %q, %v", text, err)
	}
	text, err = json.Marshal(map[string]any{"t": token, "none": (*Token)(nil)})
	if err != nil || string(text) != `{"none":null,"t":"[token]"}` {
		t.Errorf("got %s, %v", text, err)
	}
}

func TestTokenIsNotLogged(t *testing.T) {
	token := NewToken(secret, noon, noon)
	var b bytes.Buffer
	logs := map[string]*zap.Logger{}
	config := zap.NewProductionEncoderConfig()
	logs["JSON"] = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(config), zapcore.AddSync(&b), zap.DebugLevel))
	logs["console"] = zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(config), zapcore.AddSync(&b), zap.DebugLevel))
	for encoding, log := range logs {
		b.Reset()
		fields := []zap.Field{
			zap.Any("any", token), zap.Stringer("stringer", token), zap.Reflect("reflect", token), zap.Object("object", token),
			zap.Inline(token), zap.Any("copy", *token), zap.Stringer("copied stringer", *token), zap.Reflect("reflected copy", *token),
			zap.Objects("objects", []*Token{token}), zap.Stringers("stringers", []*Token{token}),
			zap.Error(fmt.Errorf("use %v", token)), zap.Error(&Error{Err: fmt.Errorf("use %+v", *token)}),
			zap.Any("none", (*Token)(nil)), zap.Object("no object", (*Token)(nil)),
		}
		for name, value := range holders(token) {
			fields = append(fields, zap.Any(name, value))
		}
		log.Info("all", fields...)
		log.Sugar().Infow("sugar", "token", token, "copy", *token)
		log.Sugar().Infof("%v %+v %#v", token, *token, holders(token))
		mustNotShow(t, "zap's "+encoding, b.String())
		if n := strings.Count(b.String(), "[token]"); n < 10 {
			t.Errorf("zap's %s has only %d marks: %s", encoding, n, b.String())
		}
		if strings.Contains(b.String(), "PANIC") {
			t.Errorf("zap's %s met a panic: %s", encoding, b.String())
		}
	}
	b.Reset()
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		for name, value := range holders(token) {
			slog.New(h).Info("all", name, value)
		}
	}
	mustNotShow(t, "slog", b.String())
}

func TestTokenAuthorises(t *testing.T) {
	token := NewToken(secret, noon, time.Time{})
	h := http.Header{"Authorization": {"Basic one", "Basic two"}}
	token.SetAuthHeader(h)
	if got := h["Authorization"]; len(got) != 1 || got[0] != "Bearer "+secret {
		t.Errorf("got %d values", len(got))
	}
	if got := string(token.AppendAuthorization([]byte("Authorization: "))); got != "Authorization: Bearer "+secret {
		t.Errorf("got %q", got)
	}
	if token.Secret() != secret || !token.Expires().Equal(noon) || !token.Refresh().IsZero() || token.ClockAhead() != 0 {
		t.Error("it is not what it was made of")
	}
	// A field that is added must not reach the requests that share the values.
	h.Add("Authorization", "Basic three")
	other := make(http.Header)
	token.SetAuthHeader(other)
	if len(other["Authorization"]) != 1 {
		t.Error("an addition is seen by another request")
	}
}

func TestAuthorisingAllocatesNothing(t *testing.T) {
	token := NewToken(secret, noon, noon)
	h := http.Header{"Authorization": nil}
	line := make([]byte, 0, 256)
	other := NewToken(secret, noon, noon)
	for name, f := range map[string]func(){
		"SetAuthHeader":       func() { token.SetAuthHeader(h) },
		"AppendAuthorization": func() { line = token.AppendAuthorization(line[:0]) },
		"Equal":               func() { token.Equal(other) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func TestTokensAreCompared(t *testing.T) {
	token := NewToken(secret, noon, noon)
	if !token.Equal(token) || !token.Equal(NewToken(secret, noon.Add(1), time.Time{})) {
		t.Error("the same token is another")
	}
	if token.Equal(NewToken(secret+"x", noon, noon)) || token.Equal(nil) || (*Token)(nil).Equal(token) {
		t.Error("another token is the same")
	}
	if !(*Token)(nil).Equal(nil) {
		t.Error("none is not none")
	}
}

func TestClaims(t *testing.T) {
	jwt := func(payload string) string {
		return "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2lnbmF0dXJl"
	}
	got, err := NewToken(jwt(`{"aud":"https://vault.azure.net","iss":"https://sts.windows.net/t/","tid":"t","oid":"o","appid":"a",
		"xms_mirid":"/subscriptions/s\u001b[2J","iat":1793620800,"nbf":1793620800.5,"exp":1793707200,"unknown":[1]}`), noon, noon).Claims()
	if err != nil {
		t.Fatal(err)
	}
	want := Claims{
		Audience: "https://vault.azure.net", Issuer: "https://sts.windows.net/t/", TenantID: "t", ObjectID: "o", AppID: "a",
		ResourceID: "/subscriptions/s [2J", // what steers a terminal is taken out
		IssuedAt:   time.Unix(1793620800, 0), NotBefore: time.Unix(1793620800, 0), Expires: time.Unix(1793707200, 0),
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for name, secret := range map[string]string{
		"opaque": "canary", "no base64": "a.canary!.c", "no JSON": "a." + base64.RawURLEncoding.EncodeToString([]byte("canary")) + ".c",
		"several audiences": jwt(`{"aud":["canary"]}`), "a date of words": jwt(`{"exp":"canary"}`),
	} {
		c, err := NewToken(secret, noon, noon).Claims()
		if err == nil || c != (Claims{}) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %+v, %v", name, c, err)
		}
	}
	c, err := NewToken(jwt(`{"exp":1e300,"nbf":-5}`), noon, noon).Claims()
	if err != nil || !c.Expires.IsZero() || !c.NotBefore.IsZero() {
		t.Errorf("times that are none: got %+v, %v", c, err)
	}
}

func BenchmarkSetAuthHeader(b *testing.B) {
	token := NewToken(secret, noon, noon)
	h := make(http.Header, 1)
	b.ReportAllocs()
	for b.Loop() {
		token.SetAuthHeader(h)
	}
}

// It is read once, for it stands in the record of each call.
func TestObjectIDIsTheTokensClaim(t *testing.T) {
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"oid":"00000000-0000-0000-0000-00000000000a"}`))
	token := NewToken("e30."+claims+".sig", time.Now().Add(time.Hour), time.Time{})
	if got := token.ObjectID(); got != "00000000-0000-0000-0000-00000000000a" {
		t.Errorf("got %q", got)
	}
	if n := testing.AllocsPerRun(100, func() { token.ObjectID() }); n != 0 {
		t.Errorf("it allocates %v times", n)
	}
	if got := NewToken("opaque", time.Now().Add(time.Hour), time.Time{}).ObjectID(); got != "" {
		t.Errorf("an opaque token has %q", got)
	}
}
