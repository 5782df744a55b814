// Package prometheus holds the rules for Prometheus; its tests hold them against
// the metrics and the runbooks. That each alert fires and clears is shown by
// promtool and by a real Prometheus, in test/e2e/monitoring.
package prometheus

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/bearerd/bearerd/metrics"
)

const runbooks = "https://github.com/bearerd/bearerd/blob/main/docs/operations.md#"

type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	text, err := os.ReadFile("bearerd.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct{ Rules []rule }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("no rules")
	}
	return all
}

// An alert on a metric that does not exist never fires, and nobody notices.
func TestRulesSelectMetricsThatExist(t *testing.T) {
	recorded := make(map[string]bool)
	for _, r := range rules(t) {
		if err := metrics.Check(r.Expr); err != nil {
			t.Errorf("%s%s: %v", r.Record, r.Alert, err)
		}
		for _, name := range regexp.MustCompile(`\w+:\w+:\w+`).FindAllString(r.Expr, -1) {
			if !recorded[name] {
				t.Errorf("%s%s: %s is not recorded before", r.Record, r.Alert, name)
			}
		}
		recorded[r.Record] = true
	}
}

// Whoever is woken finds a runbook: cause, how to see it, what to do.
func TestEachAlertHasARunbook(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, ok := strings.Cut(string(text), "\n## Runbooks\n")
	if !ok {
		t.Fatal("docs/operations.md has no runbooks")
	}
	page, _, _ = strings.Cut(page, "\n## ")
	sections := make(map[string]string) // by anchor
	for _, section := range strings.Split(page, "\n### ")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		sections[strings.ToLower(name)] = body
	}
	alerts := 0
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		alerts++
		if severity := r.Labels["severity"]; severity != "critical" && severity != "warning" {
			t.Errorf("%s has severity %q", r.Alert, severity)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s does not say what is wrong", r.Alert)
		}
		anchor, ok := strings.CutPrefix(r.Annotations["runbook_url"], runbooks)
		if !ok || anchor != strings.ToLower(r.Alert) {
			t.Errorf("%s leads to %s", r.Alert, r.Annotations["runbook_url"])
		}
		for _, part := range []string{"**Cause.**", "**See.**", "**Do.**"} {
			if !strings.Contains(sections[anchor], part) {
				t.Errorf("the runbook of %s lacks its %s", r.Alert, part)
			}
		}
	}
	if len(sections) != alerts {
		t.Errorf("there are %d runbooks for %d alerts", len(sections), alerts)
	}
}
