package authority

import (
	"slices"
	"strings"
	"testing"
)

func TestRootDescribesItself(t *testing.T) {
	root, err := Init(t.Context(), Options{Dir: stateDir(t), Permit: []string{"b.example", "a.example"}, Wildcards: []string{"c.example"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := root.Permitted(); !slices.Equal(got, []string{"a.example", "b.example", "c.example"}) {
		t.Errorf("Permitted gives %q", got)
	}
	root.Permitted()[0] = "changed"
	if err := root.Covers("a.example", "x.c.example"); err != nil {
		t.Error(err)
	}
	err = root.Covers("x.example", "a.example", "y.example", "x.example")
	if err == nil || !strings.Contains(err.Error(), "x.example, y.example (it is limited to a.example, b.example, c.example)") {
		t.Errorf("Covers gives %v; want both names, once, and the limits", err)
	}
	if got := root.Fingerprint(); len(got) != 95 || strings.Trim(got, "0123456789ABCDEF:") != "" {
		t.Errorf("Fingerprint gives %q", got)
	}
	if !root.Expires().Equal(root.keys.intermediate().NotAfter) {
		t.Errorf("Expires gives %v", root.Expires())
	}
	if want := string(encodeCertificates(root.keys.root())); string(root.RootPEM()) != want {
		t.Errorf("RootPEM gives %q, want %q", root.RootPEM(), want)
	}
}
