//go:build e2e && linux

package monitoring

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

const deployed = "../../../deploy/"

// How much faster the tests' Prometheus is than one of users', and how often it
// scrapes and judges.
const (
	hurry    = 600
	interval = 250 * time.Millisecond
)

// prometheus is a running Prometheus that has the users' rules.
type prometheus struct {
	*rig.Process
	url string
	dir string
}

// startPrometheus starts one that scrapes nothing yet.
func startPrometheus(t *testing.T, args ...string) *prometheus {
	t.Helper()
	p := &prometheus{dir: t.TempDir()}
	rules, err := os.ReadFile(deployed + "prometheus/bearerd.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`
global: {scrape_interval: %v, scrape_timeout: %[1]v, evaluation_interval: %[1]v}
rule_files: [rules.yml]
scrape_configs:
  - job_name: bearerd
    file_sd_configs: [{files: ["targets/*.json"], refresh_interval: 1s}]
`, interval)
	for name, text := range map[string]string{"rules.yml": hurried(string(rules)), "prometheus.yml": config} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(p.dir, "targets"), 0o700); err != nil {
		t.Fatal(err)
	}
	address := rig.FreeAddress(t)
	p.url = "http://" + address
	args = append([]string{
		"--config.file=" + filepath.Join(p.dir, "prometheus.yml"), "--storage.tsdb.path=" + filepath.Join(p.dir, "data"),
		"--web.listen-address=" + address, "--log.level=warn",
	}, args...)
	if p.Process, err = rig.Launch(world.BaseEnv(), p.dir, "prometheus", args...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	rig.Eventually(t, "Prometheus is ready", func() error {
		select {
		case <-p.Done:
			t.Fatalf("Prometheus ended at once and said:\n%s", p.Out)
		default:
		}
		return rig.Answers(p.url+"/-/ready", http.StatusOK)
	})
	return p
}

// hurried shortens what the rules wait for and look back on. What is looked
// back on has to hold a few scrapes.
func hurried(rules string) string {
	rules = regexp.MustCompile(`\bfor: \w+`).ReplaceAllStringFunc(rules, func(found string) string {
		return "for: " + shorter(found[len("for: "):], 0)
	})
	return regexp.MustCompile(`\[\d+[mh]\]`).ReplaceAllStringFunc(rules, func(found string) string {
		return "[" + shorter(found[1:len(found)-1], 8*interval) + "]"
	})
}

func shorter(duration string, least time.Duration) string {
	d, err := time.ParseDuration(duration)
	if err != nil {
		panic(err)
	}
	return strconv.FormatInt(max(d/hurry, least).Milliseconds(), 10) + "ms"
}

// scrape has Prometheus scrape a bearerd from now on, and gives what it calls it.
func (p *prometheus) scrape(t *testing.T, d *rig.Daemon) (instance string) {
	t.Helper()
	instance = d.Admin[len("http://"):]
	text := fmt.Sprintf(`[{"targets": [%q]}]`, instance)
	temporary := filepath.Join(p.dir, instance)
	if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, filepath.Join(p.dir, "targets", instance+".json")); err != nil {
		t.Fatal(err)
	}
	p.until(t, fmt.Sprintf(`up{instance=%q} == 1`, instance), true, nothing)
	return instance
}

type series struct {
	Metric map[string]string
}

// query asks for an expression's series.
func (p *prometheus) query(expression string) ([]series, error) {
	var answer struct {
		Error string
		Data  struct{ Result []series }
	}
	err := p.get("/api/v1/query?query="+url.QueryEscape(expression), &answer)
	if err == nil && answer.Error != "" {
		err = fmt.Errorf("%s: %s", expression, answer.Error)
	}
	return answer.Data.Result, err
}

func (p *prometheus) get(path string, into any) error {
	resp, err := rig.Direct.Get(p.url + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

func nothing() {}

// until does something again and again until an expression has series, or has
// none.
func (p *prometheus) until(t *testing.T, expression string, there bool, do func()) {
	t.Helper()
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	var got []series
	for began := time.Now(); time.Since(began) < time.Minute; <-tick.C {
		do()
		var err error
		if got, err = p.query(expression); err != nil {
			t.Fatal(err)
		}
		if (len(got) > 0) == there {
			return
		}
	}
	t.Fatalf("%s: %v after a minute, want series: %t", expression, got, there)
}

// rule is what the tests need to know of one.
type rule struct {
	Alert, Expr string
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	text, err := os.ReadFile(deployed + "prometheus/bearerd.rules.yml")
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
	return all
}
