package azure

import (
	"strings"
	"testing"
)

func TestTokenRejected(t *testing.T) {
	for _, test := range []struct {
		name       string
		challenges []string
		want       bool
	}{
		{"Key Vault", []string{`Bearer authorization="https://login.windows.net/t", resource="https://vault.azure.net"`}, true},
		{"Storage", []string{`Bearer authorization_uri=https://login.microsoftonline.com/t/oauth2/authorize resource_id=https://storage.azure.com`}, true},
		{"ARM", []string{`Bearer authorization_uri="https://login.windows.net/", error="invalid_token", error_description="The access token has expired, get another."`}, true},
		{"App Configuration", []string{`HMAC-SHA256, Bearer error="invalid_token", error_description="x"`}, true},
		{"scheme alone", []string{`Bearer`}, true},
		{"any case", []string{`BEARER ERROR="Invalid_Token"`}, true},
		{"unquoted error", []string{`Bearer error=invalid_token`}, true},
		{"spaces around the equals sign", []string{`Bearer realm = "x" , error = "invalid_token"`}, true},
		{"second value", []string{`Basic realm="x"`, `Bearer`}, true},
		{"behind a token68", []string{`Negotiate YIIabc==, Bearer realm="x"`}, true},
		{"quoted comma and scheme", []string{`Bearer realm="a, Basic b", error="invalid_token"`}, true},
		{"escaped quote", []string{`Bearer realm="a \" error=\"insufficient_claims", error="invalid_token"`}, true},
		{"error of another scheme", []string{`DPoP error="invalid_dpop_proof", Bearer realm=""`}, true},
		{"claims in a description", []string{`Bearer error="invalid_token", error_description="claims=1 error=insufficient_claims"`}, true},

		{"none", nil, false},
		{"empty", []string{"", " , ,"}, false},
		{"other schemes", []string{`Basic realm="Bearer"`, `Negotiate`, `HMAC-SHA256`}, false},
		{"a name that begins like it", []string{`BearerX error="invalid_token"`, `XBearer`}, false},
		{"a parameter without a scheme", []string{`error="invalid_token"`, `=Bearer`}, false},
		{"continuous access evaluation", []string{`Bearer realm="", error="insufficient_claims", claims="eyJhIjoxfQ=="`}, false},
		{"claims without an error", []string{`Bearer realm="", claims="eyJhIjoxfQ=="`}, false},
		{"claims beside a plain challenge", []string{`Bearer realm=""`, `Bearer error="insufficient_claims"`}, false},
		{"claims beside it in one value", []string{`Bearer error="invalid_token", PoP realm="", Bearer error="insufficient_claims"`}, false},
		{"scope", []string{`Bearer error="insufficient_scope"`}, false},
		{"malformed request", []string{`Bearer error="invalid_request"`}, false},
		{"too long", []string{`Bearer realm="` + strings.Repeat("x", 9000) + `"`}, false},
		{"too many", append(make([]string, 16), `Bearer`), false},
		{"an open quote", []string{`Bearer error="insufficient_claims`}, false},
	} {
		if got := TokenRejected(test.challenges); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// FuzzTokenRejected states what must hold for any text: no answer without a
// Bearer in it, a challenge for claims beside it always decides, and what a
// server quotes properly is never taken for syntax.
func FuzzTokenRejected(f *testing.F) {
	for _, seed := range []string{
		`Bearer authorization="https://login.windows.net/t", resource="https://vault.azure.net"`,
		`Bearer authorization_uri=https://login.microsoftonline.com/t/oauth2/authorize resource_id=https://storage.azure.com`,
		`Bearer error="insufficient_claims", claims="e30="`, `,=,"\`, `Basic a==, Bearer`, "Bearer\t=\"", `"Bearer"`,
	} {
		f.Add(seed)
	}
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	f.Fuzz(func(t *testing.T, text string) {
		if TokenRejected([]string{text}) && !strings.Contains(strings.ToLower(text), "bearer") {
			t.Fatalf("%q has no Bearer challenge", text)
		}
		if TokenRejected([]string{text, `Bearer error="insufficient_claims"`}) {
			t.Fatalf("%q outweighs a challenge for claims", text)
		}
		if len(text) > 1000 {
			return
		}
		if !TokenRejected([]string{`Bearer realm="` + quote.Replace(text) + `", error="invalid_token"`}) {
			t.Fatalf("%q, quoted, hides the error behind it", text)
		}
		if TokenRejected([]string{`Basic realm="` + quote.Replace(text) + `"`}) {
			t.Fatalf("%q, quoted, is taken for a challenge", text)
		}
	})
}
