package daemon

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
)

// Each user gets a route for what it called, and no route for what another did.
func TestLearnedRoutesNameTheirCallers(t *testing.T) {
	if os.Geteuid() != 0 { // nobody else is at hand
		return
	}
	file := filepath.Join(t.TempDir(), "learned.yaml")
	r := launchLearning(t, imdstest.Options{}, publicCloud+anyPort+vaultRoute, file)
	get := func(uid uint32, path string) int {
		t.Helper()
		return callAs(t, uid, appCall{URL: "http://" + r.Addresses()[0] + "/vault" + path + "?api-version=7.4"}).Status
	}
	if one, list := get(payrollUser, "/secrets/db"), get(reportsUser, "/secrets"); one != http.StatusOK || list != http.StatusOK {
		t.Fatalf("while learning they got %d and %d", one, list)
	}
	if err := r.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	learned, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`callers: {users: ["20001"]}`, `callers: {users: ["20002"]}`} {
		if !strings.Contains(string(learned), want) {
			t.Errorf("the file lacks %s:\n%s", want, learned)
		}
	}
	r = launch(t, imdstest.Options{}, publicCloud+anyPort+string(learned))
	for _, c := range []struct {
		uid  uint32
		path string
		want int
	}{
		{payrollUser, "/secrets/db", http.StatusOK}, {payrollUser, "/secrets", http.StatusForbidden},
		{reportsUser, "/secrets", http.StatusOK}, {reportsUser, "/secrets/db", http.StatusForbidden},
		{strangerUser, "/secrets/db", http.StatusForbidden},
	} {
		if got := get(c.uid, c.path); got != c.want {
			t.Errorf("user %d got %d for %s, want %d", c.uid, got, c.path, c.want)
		}
	}
}
