package metrics

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	selector = regexp.MustCompile(`(?:^|[^\w:])(` + namespace + `_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)`)
)

// Check looks whether what an expression of PromQL selects is there: each metric
// of bearerd's, with the labels that it is selected by. Rules and dashboards
// would else go on about a metric that has got another name, and be silent.
func Check(expression string) error {
	all := Descriptions()
	for _, found := range selector.FindAllStringSubmatch(expression, -1) {
		name, matchers := found[1], found[2]
		i := slices.IndexFunc(all, func(d Description) bool { return slices.Contains(d.series(), name) })
		if i < 0 {
			return fmt.Errorf("there is no metric %s", name)
		}
		labels := []string{"job", "instance", "pod", "le"}
		for _, l := range all[i].Labels {
			labels = append(labels, l.Name)
		}
		for _, m := range matcher.FindAllStringSubmatch(matchers, -1) {
			if !slices.Contains(labels, m[1]) {
				return fmt.Errorf("%s has no label %s, but %s", name, m[1], strings.Join(labels, ", "))
			}
		}
	}
	return nil
}

// series are the names under which a scrape brings the metric. A native
// histogram has the one of the metric alone.
func (d Description) series() []string {
	if d.Kind == KindHistogram {
		return []string{d.Name, d.Name + "_bucket", d.Name + "_sum", d.Name + "_count"}
	}
	return []string{d.Name}
}
