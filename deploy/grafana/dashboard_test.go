package grafana

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/metrics"
)

const path = "bearerd.json"

var update = flag.Bool("update", false, "write "+path)

func parsed(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := Dashboard()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// The file that people import is what the metrics make.
func TestDashboard(t *testing.T) {
	want, err := Dashboard()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from the metrics; run: go test ./deploy/grafana -update", path)
	}
}

// Every metric has a panel of its own, under a row that is meant for it.
func TestEveryMetricIsShown(t *testing.T) {
	all := parsed(t)
	for _, m := range metrics.Descriptions() {
		shown := 0
		for _, p := range all.Panels {
			if p.Description == m.Help && len(p.Targets) > 0 && strings.Contains(p.Targets[0].Expr, m.Name) {
				shown++
			}
		}
		if shown != 1 {
			t.Errorf("%s has %d panels of its own", m.Name, shown)
		}
	}
}

// Grafana shows panels with one id, or in one place, over each other.
func TestPanelsHaveAPlaceOfTheirOwn(t *testing.T) {
	ids := make(map[int]string)
	taken := make(map[position]string) // each cell of the grid
	for _, p := range parsed(t).Panels {
		if ids[p.ID] != "" {
			t.Errorf("%q and %q are both number %d", p.Title, ids[p.ID], p.ID)
		}
		ids[p.ID] = p.Title
		if p.GridPos.X < 0 || p.GridPos.X+p.GridPos.W > fullWidth {
			t.Errorf("%q leaves the grid: %+v", p.Title, p.GridPos)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := position{X: p.GridPos.X + x, Y: p.GridPos.Y + y}
				if taken[cell] != "" {
					t.Fatalf("%q lies over %q", p.Title, taken[cell])
				}
				taken[cell] = p.Title
			}
		}
		if p.Type != "row" && (len(p.Targets) == 0 || p.FieldConfig == nil || p.Datasource == nil) {
			t.Errorf("%q shows nothing", p.Title)
		}
	}
}
