package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A feature that is asked for and missing would be a restriction that does not
// hold.
func TestWhatThisVersionLacksIsRefused(t *testing.T) {
	compareErrors(t, "testdata/later.yaml")
}

// One file for each rule, with the message that the operator sees.
func TestInvalid(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid-*.yaml")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) { compareErrors(t, file) })
	}
}

// compareErrors loads a file with mistakes, whose messages stand in a file
// beside it.
func compareErrors(t *testing.T, file string) {
	t.Helper()
	_, err := Load(file, true)
	if err == nil {
		t.Fatalf("%s was taken", file)
	}
	got := strings.ReplaceAll(err.Error(), "testdata"+string(filepath.Separator), "testdata/") + "\n"
	expected := strings.TrimSuffix(file, ".yaml") + ".err"
	if *update {
		if err := os.WriteFile(expected, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(expected)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for line := range strings.Lines(got) {
		if !strings.Contains(line, "; ") {
			t.Errorf("it does not say what to do: %s", line)
		}
	}
}

func TestMistakesAreTyped(t *testing.T) {
	_, err := Parse("b.yaml", []byte("unmatched: drop\nroutes:\n  - service: arm\n    paths: [x]\n"))
	all := split[*Mistake](err)
	if len(all) != 2 { // in the order of the file
		t.Fatalf("%d mistakes: %v", len(all), err)
	}
	m := all[1]
	if m.File != "b.yaml" || m.Line != 4 || m.Column != 13 || m.Key != "routes[0].paths[0]" {
		t.Errorf("%+v", m)
	}
}

func TestMistakesAreBounded(t *testing.T) {
	_, err := Parse("b.yaml", []byte("names: ["+strings.Repeat("1,", 10_000)+"]"))
	if got := len(split[*Mistake](err)); got != maxMistakes {
		t.Errorf("%d mistakes", got)
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("testdata/fuzz.yaml", text)
		if err != nil {
			mistakes := split[*Mistake](err)
			if len(mistakes) == 0 || len(mistakes) > maxMistakes {
				t.Fatalf("%d mistakes in %v", len(mistakes), err)
			}
			for _, m := range mistakes {
				if m.Line < 1 || m.Column < 1 || m.Line > 1+strings.Count(string(text), "\n")+strings.Count(string(text), "\r") && !strings.ContainsAny(string(text), "\u0085\u2028\u2029") {
					t.Errorf("%+v is no place in the file", m)
				}
			}
			return
		}
		// What was accepted can be served.
		if _, err := c.Compile(c.LikelyCloud()); err != nil {
			t.Errorf("accepted, and: %v", err)
		}
		for _, l := range c.Listen {
			if !l.Address.IsLocal() && !l.InsecureAllowNetwork && (l.TLS.ClientCA == "" || !l.TLS.IsServed()) {
				t.Errorf("%s is open to the network", l.Address)
			}
		}
		c.Warnings()
	})
}
