package proxy

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated reference instead of comparing it")

// TestErrorReference keeps docs/errors.md equal to what the code answers.
func TestErrorReference(t *testing.T) {
	var b strings.Builder
	if err := Reference(&b); err != nil {
		t.Fatal(err)
	}
	const file = "../docs/errors.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Errorf("%s differs from the code; run go test ./proxy -run TestErrorReference -update", file)
	}
}

// TestEveryCodeIsDocumented reads the sources, so that a new code cannot be forgotten.
func TestEveryCodeIsDocumented(t *testing.T) {
	documented := Codes()
	for _, file := range []string{"errors.go", "route/decide.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`Code\w+\s+(?:Code )?= "(Bearerd\w+)"`).FindAllSubmatch(source, -1)
		if len(names) == 0 {
			t.Errorf("%s names no code; has the pattern gone stale?", file)
		}
		for _, name := range names {
			if !slices.ContainsFunc(documented, func(c CodeInfo) bool { return string(c.Code) == string(name[1]) }) {
				t.Errorf("%s is answered but not documented", name[1])
			}
		}
	}
}

// TestEveryErrorHasACauseAndACure holds the page to what it is for: whoever looks
// an error up learns what happened and what to do next.
func TestEveryErrorHasACauseAndACure(t *testing.T) {
	for _, c := range Codes() {
		if c.Status < 400 || c.Status > 599 {
			t.Errorf("%s has the status %d", c.Code, c.Status)
		}
		for _, text := range []string{c.Cause, c.Cure} {
			if len(strings.Fields(text)) < 3 || !strings.HasSuffix(text, ".") || strings.ContainsAny(text, "|\n") {
				t.Errorf("%s: %q is no sentence of a table", c.Code, text)
			}
		}
	}
}
