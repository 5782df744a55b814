package grafana

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bearerd/bearerd/metrics"
)

// overview is what to look at first.
func overview() []panel {
	return []panel{
		graph("Alerts that fire", "The rules are in deploy/prometheus; each alert has its runbook in docs/operations.md.", "none",
			target{Expr: `count by (alertname, instance) (ALERTS{alertname=~"Bearerd.*", alertstate="firing", ` + chosen + `})`, LegendFormat: "{{alertname}} {{instance}}"}),
		graph("Tokens: time left", "A token of IMDS lives for a day, and is refreshed after half of that.", "s",
			target{Expr: `(bearerd_token_expiry_timestamp_seconds{` + chosen + `} > 0) - time()`, LegendFormat: "{{audience}} {{identity}} {{instance}}"}),
		graph("Calls by status", "", "reqps",
			target{Expr: `sum by (code) (rate(bearerd_requests_total{` + chosen + `, route=~"$route"}[$__rate_interval]))`, LegendFormat: "{{code}}"}),
		graph("Calls that fail, by route", "The share that is answered 5xx, by the service or by bearerd.", "percentunit",
			target{Expr: `sum by (route) (rate(bearerd_requests_total{code="5xx", ` + chosen + `, route=~"$route"}[$__rate_interval])) / sum by (route) (rate(bearerd_requests_total{` + chosen + `, route=~"$route"}[$__rate_interval]))`, LegendFormat: "{{route}}"}),
		graph("Answers of bearerd's own", "By the header Bearerd-Error; docs/errors.md has cause and cure.", "reqps",
			target{Expr: `sum by (code) (rate(bearerd_errors_total{` + chosen + `}[$__rate_interval]))`, LegendFormat: "{{code}}"}),
		graph("Calls to IMDS", "429 is throttling, which concerns the whole machine.", "reqps",
			target{Expr: `sum by (code) (rate(bearerd_imds_requests_total{` + chosen + `}[$__rate_interval])) > 0`, LegendFormat: "{{code}}"}),
	}
}

// panelOf is the panel of one metric, by its kind and its unit.
func panelOf(m metrics.Description) panel {
	title := strings.ReplaceAll(strings.TrimPrefix(m.Name, "bearerd_"), "_", " ")
	selects := m.Name + "{" + matchers(m) + "}"
	legend := legendOf(m)
	switch {
	case m.Kind == metrics.KindHistogram:
		var targets []target
		for _, q := range []string{"0.5", "0.9", "0.99"} {
			targets = append(targets, target{
				Expr:         fmt.Sprintf("histogram_quantile(%s, sum by (%s) (rate(%s_bucket{%s}[$__rate_interval])))", q, strings.Join(append(labels(m), "le"), ", "), m.Name, matchers(m)),
				LegendFormat: q + " " + legend, Exemplar: true,
			})
		}
		return graph(title, m.Help, unitOf(m), targets...)
	case m.Kind == metrics.KindCounter:
		return graph(title, m.Help, unitOf(m), target{
			Expr:         fmt.Sprintf("sum by (%s) (rate(%s[$__rate_interval]))", strings.Join(labels(m), ", "), selects),
			LegendFormat: legend,
		})
	case strings.HasSuffix(m.Name, "_timestamp_seconds"):
		p := graph(title, m.Help, "dateTimeFromNow", target{Expr: "(" + selects + " > 0) * 1000", LegendFormat: legend})
		p.Type, p.Options = "stat", &options{TextMode: "value_and_name"}
		return p
	}
	return graph(title, m.Help, unitOf(m), target{Expr: selects, LegendFormat: legend})
}

func graph(title, description, unit string, targets ...target) panel {
	f := &fieldConf{Defaults: fieldDefaults{Unit: unit}, Overrides: []any{}}
	if unit != "dateTimeFromNow" && unit != "s" {
		f.Defaults.Min = new(int)
	}
	return panel{
		Type: "timeseries", Title: title, Description: description, Targets: targets, FieldConfig: f,
		Options: &options{Legend: map[string]any{"displayMode": "list", "placement": "bottom"}},
	}
}

// labels are what a panel tells apart.
func labels(m metrics.Description) []string {
	names := []string{"instance"}
	for _, l := range m.Labels {
		names = append(names, l.Name)
	}
	return names
}

func matchers(m metrics.Description) string {
	if slices.ContainsFunc(m.Labels, func(l metrics.Label) bool { return l.Name == "route" }) {
		return chosen + `, route=~"$route"`
	}
	return chosen
}

func legendOf(m metrics.Description) string {
	var parts []string
	for _, name := range labels(m) {
		parts = append(parts, "{{"+name+"}}")
	}
	slices.Reverse(parts)
	return strings.Join(parts, " ")
}

// unitOf is Grafana's word for the metric's unit; of a counter, for its rate.
func unitOf(m metrics.Description) string {
	name, counts := strings.CutSuffix(m.Name, "_total")
	switch {
	case strings.HasSuffix(name, "_bytes") && counts:
		return "Bps"
	case strings.HasSuffix(name, "_seconds") && counts:
		return "percentunit" // seconds of a second
	case strings.HasSuffix(name, "_seconds"):
		return "s"
	case counts:
		return "cps"
	}
	return "short"
}
