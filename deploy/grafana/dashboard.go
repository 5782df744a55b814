// Package grafana makes the dashboard of bearerd: a few panels that tell how it
// stands, and one for each metric that there is, so that none is forgotten and
// none is named that does not exist.
package grafana

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/bearerd/bearerd/metrics"
)

const datasource = "${datasource}"

// chosen selects what the dashboard's variables say.
const chosen = `instance=~"$instance"`

type panel struct {
	ID          int        `json:"id"`
	Type        string     `json:"type"`
	Title       string     `json:"title"`
	Description string     `json:"description,omitempty"`
	GridPos     position   `json:"gridPos"`
	Datasource  *source    `json:"datasource,omitempty"`
	Targets     []target   `json:"targets,omitempty"`
	FieldConfig *fieldConf `json:"fieldConfig,omitempty"`
	Options     *options   `json:"options,omitempty"`
}

type position struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

type source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type target struct {
	RefID        string  `json:"refId"`
	Datasource   *source `json:"datasource"`
	Expr         string  `json:"expr"`
	LegendFormat string  `json:"legendFormat"`
	Exemplar     bool    `json:"exemplar,omitempty"`
}

type fieldConf struct {
	Defaults  fieldDefaults `json:"defaults"`
	Overrides []any         `json:"overrides"`
}

type fieldDefaults struct {
	Unit string `json:"unit"`
	Min  *int   `json:"min,omitempty"`
}

type options struct {
	Legend   map[string]any `json:"legend,omitempty"`
	TextMode string         `json:"textMode,omitempty"` // of a stat
}

type variable struct {
	Name       string  `json:"name"`
	Label      string  `json:"label"`
	Type       string  `json:"type"`
	Query      string  `json:"query"`
	Datasource *source `json:"datasource,omitempty"`
	Multi      bool    `json:"multi"`
	IncludeAll bool    `json:"includeAll"`
	AllValue   string  `json:"allValue,omitempty"`
	Refresh    int     `json:"refresh"` // 2: whenever the time range changes
}

type dashboard struct {
	UID           string                `json:"uid"`
	Title         string                `json:"title"`
	Description   string                `json:"description"`
	Tags          []string              `json:"tags"`
	SchemaVersion int                   `json:"schemaVersion"`
	Editable      bool                  `json:"editable"`
	Refresh       string                `json:"refresh"`
	Time          map[string]string     `json:"time"`
	Templating    map[string][]variable `json:"templating"`
	Panels        []panel               `json:"panels"`
}

// Dashboard gives the dashboard as JSON. It fails where a panel names what is
// not there.
func Dashboard() ([]byte, error) {
	prometheus := &source{Type: "prometheus", UID: datasource}
	d := dashboard{
		UID: "bearerd", Title: "bearerd", Tags: []string{"bearerd"}, SchemaVersion: 38, Editable: true,
		Description: "Made from the metrics of bearerd: go test ./deploy/grafana -update",
		Refresh:     "30s", Time: map[string]string{"from": "now-6h", "to": "now"},
		Templating: map[string][]variable{"list": {
			{Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus"},
			{Name: "instance", Label: "Instance", Type: "query", Datasource: prometheus, Query: "label_values(bearerd_build_info, instance)", Multi: true, IncludeAll: true, AllValue: ".*", Refresh: 2},
			{Name: "route", Label: "Route", Type: "query", Datasource: prometheus, Query: "label_values(bearerd_sent_bytes_total, route)", Multi: true, IncludeAll: true, AllValue: ".*", Refresh: 2},
		}},
	}
	l := layout{prometheus: prometheus}
	l.row("Overview")
	for _, p := range overview() {
		l.add(p)
	}
	left := metrics.Descriptions()
	for _, g := range groups() {
		l.row(g.title)
		left = slices.DeleteFunc(left, func(m metrics.Description) bool {
			if !g.takes(m.Name) {
				return false
			}
			l.add(panelOf(m))
			return true
		})
	}
	for _, p := range l.panels {
		for _, t := range p.Targets {
			if err := metrics.Check(t.Expr); err != nil {
				return nil, fmt.Errorf("panel %q: %w", p.Title, err)
			}
		}
	}
	for _, v := range d.Templating["list"] {
		if err := metrics.Check(v.Query); err != nil {
			return nil, fmt.Errorf("variable %s: %w", v.Name, err)
		}
	}
	d.Panels = l.panels
	text, err := json.MarshalIndent(d, "", "  ")
	return append(text, '\n'), err
}

// layout places panels from left to right and top to bottom, three in a row.
type layout struct {
	prometheus *source
	panels     []panel
	x, y       int
}

const (
	fullWidth   = 24
	panelWidth  = 8
	panelHeight = 7
)

func (l *layout) row(title string) {
	l.wrap()
	l.place(panel{Type: "row", Title: title}, fullWidth, 1)
	l.x, l.y = 0, l.y+1
}

// wrap goes to the start of the next line, unless there already.
func (l *layout) wrap() {
	if l.x > 0 {
		l.x, l.y = 0, l.y+panelHeight
	}
}

func (l *layout) add(p panel) {
	if l.x+panelWidth > fullWidth {
		l.wrap()
	}
	p.Datasource = l.prometheus
	for i := range p.Targets {
		p.Targets[i].RefID, p.Targets[i].Datasource = string(rune('A'+i)), l.prometheus
	}
	l.place(p, panelWidth, panelHeight)
	l.x += panelWidth
}

func (l *layout) place(p panel, w, h int) {
	p.ID = len(l.panels) + 1
	p.GridPos = position{H: h, W: w, X: l.x, Y: l.y}
	l.panels = append(l.panels, p)
}

// group is a row of panels: the metrics whose names begin so, and that no group
// before has.
type group struct {
	title    string
	prefixes []string
}

func (g group) takes(name string) bool {
	name = strings.TrimPrefix(name, "bearerd_")
	return slices.ContainsFunc(g.prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// groups end with one that takes what the others leave.
func groups() []group {
	return []group{
		{"Tokens", []string{"token_", "identity_", "logins_", "metadata_"}},
		{"IMDS", []string{"imds_"}},
		{"Calls", []string{"request", "received_", "sent_", "operations_", "errors_", "upstream_", "replays_", "caller_", "own_"}},
		{"Connections", []string{"connections_", "tunnel", "transparent_"}},
		{"Certificates and rules", []string{"authority_", "listener_", "redirect_"}},
		{"The process, and all else", []string{""}},
	}
}
