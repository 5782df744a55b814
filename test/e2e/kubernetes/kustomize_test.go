//go:build e2e && linux

package kubernetes

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

const deploy = "../../../deploy/kubernetes"

// object is one of Kubernetes' objects, as YAML has it.
type object = map[string]any

// at follows keys, and gives nil where they lead nowhere.
func at(v any, keys ...string) any {
	for _, k := range keys {
		m, _ := v.(object)
		v = m[k]
	}
	return v
}

func text(v any, keys ...string) string {
	s, _ := at(v, keys...).(string)
	return s
}

// named gives those entries of a list by their names.
func named(v any, keys ...string) map[string]object {
	all := make(map[string]object)
	list, _ := at(v, keys...).([]any)
	for _, e := range list {
		all[text(e, "name")] = e.(object)
	}
	return all
}

// names gives their names, in order.
func names(v any, keys ...string) (all []string) {
	list, _ := at(v, keys...).([]any)
	for _, e := range list {
		all = append(all, text(e, "name"))
	}
	return all
}

func kustomize(t *testing.T, dir string) string {
	t.Helper()
	return api.kubectl(t, "", "kustomize", filepath.Join(deploy, dir))
}

func objects(t *testing.T, manifest string) (all []object) {
	t.Helper()
	for d := yaml.NewDecoder(strings.NewReader(manifest)); ; {
		var o object
		if d.Decode(&o) != nil {
			break
		}
		all = append(all, o)
	}
	if len(all) == 0 {
		t.Fatalf("no objects in %q", manifest)
	}
	return all
}

func manifest(t *testing.T, o object) string {
	t.Helper()
	out, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// template gives the pods of a workload, and whether it has any.
func template(o object) (object, bool) {
	for _, path := range [][]string{{"spec", "template"}, {"spec", "jobTemplate", "spec", "template"}} {
		if pod, ok := at(o, path...).(object); ok {
			return pod, true
		}
	}
	return nil, false
}

// pods gives the pod of each workload that kustomize has rendered, by its name.
func pods(t *testing.T, rendered string) map[string]object {
	t.Helper()
	all := make(map[string]object)
	for _, o := range objects(t, rendered) {
		if p, ok := template(o); ok {
			p["apiVersion"], p["kind"] = "v1", "Pod"
			p["metadata"].(object)["name"] = text(o, "metadata", "name")
			all[text(o, "metadata", "name")] = p
		}
	}
	return all
}

var strictly = []string{"--server-side", "--dry-run=server", "--validate=strict", "--filename", "-"}

func TestAPIServerTakesWhatIsRendered(t *testing.T) {
	api.namespace(t, "payroll", "restricted", "payroll")
	api.namespace(t, "reports", "privileged", "reports")
	api.kubectl(t, "", "apply", "--server-side", "--filename", filepath.Join(api.bin, "podmonitors.yaml"))
	api.kubectl(t, "", "wait", "--for=condition=Established", "--timeout=30s", "crd/podmonitors.monitoring.coreos.com")
	for dir, want := range map[string][]string{
		"examples/hosts":    {"ServiceAccount", "ConfigMap", "Deployment", "CronJob", "NetworkPolicy"},
		"examples/nftables": {"ServiceAccount", "ConfigMap", "StatefulSet", "Job"},
		"examples/policy":   {"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"},
		"monitoring":        {"PodMonitor"},
		"policy":            {"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"},
	} {
		t.Run(dir, func(t *testing.T) {
			rendered := kustomize(t, dir)
			var kinds []string
			for _, o := range objects(t, rendered) {
				kinds = append(kinds, text(o, "kind"))
			}
			slices.Sort(kinds)
			slices.Sort(want)
			if !slices.Equal(kinds, want) {
				t.Errorf("rendered %q, want %q", kinds, want)
			}
			api.kubectl(t, rendered, append([]string{"apply"}, strictly...)...)
		})
	}
	t.Run("and sees mistakes", func(t *testing.T) {
		for dir, field := range map[string]string{"examples/hosts": "failureThreshold:", "monitoring": "podMetricsEndpoints:"} {
			wrong := strings.Replace(kustomize(t, dir), field, "no"+field, 1)
			if _, err := api.try(wrong, append([]string{"apply"}, strictly...)...); err == nil || !strings.Contains(err.Error(), "no"+strings.TrimSuffix(field, ":")) {
				t.Errorf("a field that does not exist, in %s: %v", dir, err)
			}
		}
	})
}

// Hosts entries take no privilege; the other steering's init container does, and
// is no pod for such a namespace.
func TestPodSecurityLevels(t *testing.T) {
	api.namespace(t, "strict", "restricted", "payroll", "reports")
	api.namespace(t, "free", "privileged", "reports")
	create := func(pod object, namespace string) error {
		_, err := api.try(manifest(t, pod), "create", "--namespace", namespace, "--dry-run=server", "--validate=strict", "--filename", "-")
		return err
	}
	for name, pod := range pods(t, kustomize(t, "examples/hosts")) {
		delete(pod["metadata"].(object), "namespace")
		if err := create(pod, "strict"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, pod := range pods(t, kustomize(t, "examples/nftables")) {
		if err := create(pod, "free"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := create(pod, "strict"); err == nil || !strings.Contains(err.Error(), `"bearerd-redirect"`) || strings.Contains(err.Error(), `"bearerd" `) {
			t.Errorf("%s in a restricted namespace: %v", name, err)
		}
	}
}

func TestSidecarStandsBeforeTheAppsOwn(t *testing.T) {
	for dir, want := range map[string]map[string][]string{
		"examples/hosts":    {"payroll": {"bearerd"}, "payroll-report": {"bearerd"}},
		"examples/nftables": {"reports": {"bearerd-redirect", "bearerd", "migrate"}, "reports-import": {"bearerd-redirect", "bearerd"}},
	} {
		all := pods(t, kustomize(t, dir))
		if len(all) != len(want) {
			t.Errorf("%s: %d pods, want %d", dir, len(all), len(want))
		}
		for name, pod := range all {
			if got := names(pod, "spec", "initContainers"); !slices.Equal(got, want[name]) {
				t.Errorf("%s/%s: init containers %q, want %q", dir, name, got, want[name])
			}
			if got := text(named(pod, "spec", "initContainers")["bearerd"], "restartPolicy"); got != "Always" {
				t.Errorf("%s/%s: restartPolicy %q keeps the app from starting", dir, name, got)
			}
			checkShared(t, pod)
		}
	}
}

// checkShared looks for what a container of the app's must not have.
func checkShared(t *testing.T, pod object) {
	t.Helper()
	all := named(pod, "spec", "containers")
	for name, c := range named(pod, "spec", "initContainers") {
		all[name] = c
	}
	for name, c := range all {
		if strings.HasPrefix(name, "bearerd") {
			continue
		}
		for mount := range named(c, "volumeMounts") {
			if strings.HasPrefix(mount, "bearerd-") && mount != "bearerd-trust" {
				t.Errorf("%s of %s sees %s", name, text(pod, "metadata", "name"), mount)
			}
		}
	}
}

// A workload without the label stays as it is.
func TestWithoutTheLabelNothingChanges(t *testing.T) {
	dir := t.TempDir()
	component, err := filepath.Abs(filepath.Join(deploy, "hosts"))
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(dir, component)
	if err != nil {
		t.Fatal(err)
	}
	workload, err := os.ReadFile(filepath.Join(deploy, "examples/hosts/workload.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"kustomization.yaml": "resources: [workload.yaml]\ncomponents: [" + relative + "]\n",
		"workload.yaml":      strings.ReplaceAll(string(workload), "  labels: {bearerd/inject: \"true\"}\n", ""),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := api.kubectl(t, "", "kustomize", dir); strings.Contains(got, "bearerd") {
		t.Errorf("rendered:\n%s", got)
	}
}

// What the ConfigMaps hold is a configuration, and hosts entries lead to what it
// routes.
func TestConfigurationIsTaken(t *testing.T) {
	for _, dir := range []string{"examples/hosts", "examples/nftables"} {
		rendered := kustomize(t, dir)
		file := filepath.Join(t.TempDir(), "bearerd.yaml")
		if err := os.WriteFile(file, []byte(text(configMap(t, rendered), "bearerd.yaml")), 0o600); err != nil {
			t.Fatal(err)
		}
		rig.Run(t, world.BaseEnv(), "", world.Bin, "check", "--config", file)
		for _, pod := range pods(t, rendered) {
			checkHosts(t, file, pod)
		}
	}
}

func checkHosts(t *testing.T, file string, pod object) {
	t.Helper()
	aliases, _ := at(pod, "spec", "hostAliases").([]any)
	for _, a := range aliases {
		for _, host := range at(a, "hostnames").([]any) {
			if out, err := rig.Try(t, world.BaseEnv(), "", world.Bin, "explain", "--config", file, "https://"+host.(string)+"/"); err != nil || !strings.Contains(out, "route") {
				t.Errorf("%s: %v\n%s", host, err, out)
			}
		}
	}
}
