package proxy

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func mapForTest(link string) (string, bool) {
	return strings.CutPrefix(link, "https://up")
}

func TestTopLevelNextLinkIsMapped(t *testing.T) {
	const key = `"nextLink"`
	tests := []struct{ name, in, want string }{
		{"last", `{"value":[1],"nextLink":"https://up/p?a=1"}`, `{"value":[1],"nextLink":"/p?a=1"}`},
		{"first", `{ "nextLink" : "https://up/p" , "value" : [] }`, `{ "nextLink" : "/p" , "value" : [] }`},
		{"escaped value", `{"nextLink":"https:\/\/up\/p\u003fx"}`, `{"nextLink":"/p?x"}`},
		{"escaped key", `{"next\u004cink":"https://up/p"}`, `{"next\u004cink":"/p"}`},
		{"null", `{"nextLink":null,"a":"https://up/p"}`, `{"nextLink":null,"a":"https://up/p"}`},
		{"of another place", `{"nextLink":"https://elsewhere/p"}`, `{"nextLink":"https://elsewhere/p"}`},
		{"in data", `{"value":{"nextLink":"https://up/p"}}`, `{"value":{"nextLink":"https://up/p"}}`},
		{"in an array of objects", `[{"nextLink":"https://up/p"}]`, `[{"nextLink":"https://up/p"}]`},
		{"as a value", `{"value":"nextLink","x":"https://up/p"}`, `{"value":"nextLink","x":"https://up/p"}`},
		{"in a string with brackets", `{"v":"}{[\"","nextLink":"https://up/p"}`, `{"v":"}{[\"","nextLink":"/p"}`},
		{"after an object", `{"v":{"a":[{}]},"nextLink":"https://up/p"}`, `{"v":{"a":[{}]},"nextLink":"/p"}`},
		{"array value", `{"nextLink":["https://up/p"]}`, `{"nextLink":["https://up/p"]}`},
		{"cut off", `{"nextLink":"https://up/p`, `{"nextLink":"https://up/p`},
		{"no JSON", "\"]}{:,\x00" + key, "\"]}{:,\x00" + key},
		{"too long", `{"nextLink":"https://up/` + strings.Repeat("a", maxLink) + `"}`, `{"nextLink":"https://up/` + strings.Repeat("a", maxLink) + `"}`},
		{"empty", ``, ``},
		{"query", `{"nextLink":"https://up/p?a=1&b=<2>"}`, `{"nextLink":"/p?a=1&b=<2>"}`},
		{"in a second document", `{} {"nextLink":"https://up/p"}`, `{} {"nextLink":"https://up/p"}`},
		{"after a stray bracket", `}{{"nextLink":"https://up/p"}}`, `}{{"nextLink":"https://up/p"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for how, src := range map[string]io.Reader{
				"whole":     strings.NewReader(tt.in),
				"by bytes":  iotest.OneByteReader(strings.NewReader(tt.in)),
				"data+EOF":  iotest.DataErrReader(strings.NewReader(tt.in)),
				"by halves": iotest.HalfReader(strings.NewReader(tt.in)),
			} {
				if got := readAll(t, newLinkReader(io.NopCloser(src), mapForTest)); got != tt.want {
					t.Errorf("%s: got %q, want %q", how, got, tt.want)
				}
			}
		})
	}
}

func TestBrokenListIsBrokenForTheCallerToo(t *testing.T) {
	src := io.MultiReader(strings.NewReader(`{"nextLink":"https://u`), iotest.ErrReader(io.ErrUnexpectedEOF))
	got, err := io.ReadAll(newLinkReader(io.NopCloser(src), mapForTest))
	if err != io.ErrUnexpectedEOF || string(got) != `{"nextLink":"https://u` {
		t.Errorf("got %q and %v", got, err)
	}
}
