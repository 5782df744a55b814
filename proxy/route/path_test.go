package route

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPathMatch(t *testing.T) {
	for _, test := range []struct {
		pattern, path string
		fold, want    bool
	}{
		{"/", "/", false, true},
		{"/", "/a", false, false},
		{"/secrets/*", "/secrets/payroll", false, true},
		{"/secrets/*", "/secrets/payroll/1", false, false},
		{"/secrets/*", "/secrets", false, false},
		{"/secrets/*", "/secrets/", false, false},
		{"/secrets/*", "/SECRETS/payroll", false, false},
		{"/secrets/*", "/SECRETS/payroll", true, true},
		{"/Secrets/Payroll", "/secrets/p%61yroll", true, true},
		{"/Secrets/Payroll", "/Secrets/P%61yroll", false, true},
		{"/secrets/payroll", "/secrets/payroll2", false, false},
		{"/secrets/payroll", "/secrets/payrol", false, false},
		{"/c/café", "/c/caf%C3%A9", false, true},
		{"/c/a b", "/c/a%20b", false, true},
		{"/c/a+b", "/c/a%2Bb", false, true},
		{"/a/", "/a/", false, true},
		{"/a/", "/a", false, false},
		{"/a", "/a/", false, false},
		{"/c/**", "/c/x", false, true},
		{"/c/**", "/c/x/y/z", false, true},
		{"/c/**", "/c/x/", false, true},
		{"/c/**", "/c", false, false}, // the container itself
		{"/c/**", "/c/", false, false},
		{"/**", "/a/b", false, true},
		{"/**", "/", false, false},
		{"/**/b", "/b", false, true},
		{"/**/b", "/a/a/b", false, true},
		{"/**/b", "/a/b/c", false, false},
		{"/a/**/b/*", "/a/b/b/b/x", false, true},
		{"/a/**/b/*", "/a/b/b/b/x/y", false, false},
		{"/**/a/**/b", "/x/a/y/a/z/b", false, true},
		{"/**/**", "/a", false, true},
		{"/subscriptions/*/resourceGroups/*/providers/**", "/subscriptions/s/resourcegroups/g/providers/Microsoft.Storage/x", true, true},
	} {
		p, err := parsePath(test.pattern, test.fold)
		if err != nil {
			t.Errorf("%s: %v", test.pattern, err)
			continue
		}
		if problem := pathProblem(test.path); problem != "" {
			t.Errorf("%s: %s", test.path, problem)
			continue
		}
		if got := p.match(test.path); got != test.want {
			t.Errorf("%s on %s, fold %v: %v", test.pattern, test.path, test.fold, got)
		}
	}
}

func TestPathProblem(t *testing.T) {
	for path, want := range map[string]string{
		"": "slash", "a": "slash",
		"/a%2fb": "escaped", "/a%2Fb": "escaped", "/a%5cb": "escaped", "/%2e%2e/a": "escaped", "/a%2Eb": "escaped", "/a%252fb": "escaped",
		"/a%": "percent", "/a%2": "percent", "/a%zz": "percent", "/a%u002f": "percent",
		`/a\b`: "backslash", "/a;b": "semicolon", "/a%3Bb": "semicolon", "/..;/a": "semicolon",
		"/a%00": "control", "/a%0d%0aX: y": "control", "/a\tb": "control", "/a%7f": "control",
		"/a%c0%af": "UTF-8", "/a\xff": "UTF-8", "/a%e0%80%af": "UTF-8", "/a%c3": "UTF-8", "/%c3/a": "UTF-8", "/a%ed%a0%80": "UTF-8",
		"/.": "dot", "/..": "dot", "/a/../b": "dot", "/a/./b": "dot", "/a/..": "dot",
		"//": "empty", "//a": "empty", "/a//b": "empty", "/a//": "empty",
		"/": "", "/a": "", "/a/": "", "/...": "", "/.a/a.": "", "/a%20b": "", "/%E2%82%AC": "", "/€": "", "/%f0%9f%92%a9": "", "/a:b@c!$&'()*+,=~": "", "/%ef%bf%bd": "",
	} {
		got := pathProblem(path)
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

func TestPathMatchDoesNotAllocate(t *testing.T) {
	p, err := parsePath("/a/**/b/**", true)
	if err != nil {
		t.Fatal(err)
	}
	const path = "/A/x/%62/y%20/z"
	if n := testing.AllocsPerRun(100, func() {
		if pathProblem(path) != "" || !p.match(path) {
			t.Error("no match")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// matchIndependently reads a pattern's words on unescaped segments by plain recursion.
func matchIndependently(pattern, segments []string, fold bool) bool {
	if len(pattern) == 0 {
		return len(segments) == 0
	}
	switch word := pattern[0]; {
	case word == "**" && len(pattern) == 1:
		return len(segments) > 0 && segments[0] != ""
	case word == "**":
		for n := 0; n <= len(segments); n++ {
			if matchIndependently(pattern[1:], segments[n:], fold) {
				return true
			}
		}
		return false
	case len(segments) == 0:
		return false
	case word == "*":
		return segments[0] != "" && matchIndependently(pattern[1:], segments[1:], fold)
	default:
		same := word == segments[0] || fold && asciiLower(word) == asciiLower(segments[0])
		return same && matchIndependently(pattern[1:], segments[1:], fold)
	}
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// FuzzPath: a path is judged only if unescaping it once gives the segments that
// it shows, and then matches as plain recursion over those segments says.
func FuzzPath(f *testing.F) {
	for _, seed := range [][2]string{
		{"/secrets/*", "/secrets/payroll"}, {"/a/**/b", "/a/x/%62"}, {"/c/**", "/c/%2e%2e/d"}, {"/**/a/**/b", "/a/a/b/a/b"},
		{"/é", "/%c3%a9"}, {"/", "/"}, {"/a/", "/a//"}, {"/a", "/a;x"}, {"/**/**/a", "/a/a/a"},
	} {
		f.Add(seed[0], seed[1], true)
		f.Add(seed[0], seed[1], false)
	}
	f.Fuzz(func(t *testing.T, pattern, path string, fold bool) {
		if len(pattern) > 64 || len(path) > 256 || strings.Count(pattern, "**") > 4 {
			return
		}
		p, err := parsePath(pattern, fold)
		if err != nil || pathProblem(path) != "" {
			return
		}
		unescaped, err := url.PathUnescape(path)
		if err != nil || !utf8.ValidString(unescaped) {
			t.Fatalf("%q is judged, and unescapes to %q, %v", path, unescaped, err)
		}
		if strings.Count(unescaped, "/") != strings.Count(path, "/") || strings.ContainsAny(unescaped, "\\;%\x00\r\n") {
			t.Fatalf("%q is judged, and unescapes to %q", path, unescaped)
		}
		segments := strings.Split(unescaped, "/")[1:]
		for i, s := range segments {
			if s == "." || s == ".." || s == "" && i < len(segments)-1 {
				t.Fatalf("%q is judged, and has the segment %q", path, s)
			}
		}
		words := strings.Split(pattern, "/")[1:]
		if path == "/" {
			segments = nil
		}
		if pattern == "/" {
			words = nil
		}
		if got, want := p.match(path), matchIndependently(words, segments, fold); got != want {
			t.Fatalf("%q on %q, fold %v: %v, independently %v", pattern, path, fold, got, want)
		}
	})
}
