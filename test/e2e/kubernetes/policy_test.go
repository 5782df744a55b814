//go:build e2e && linux

package kubernetes

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

const injectable = `
apiVersion: v1
kind: Pod
metadata:
  name: app
  labels: {bearerd/inject: "true"}
  annotations: {bearerd/hosts: "payroll.vault.azure.net, payroll.blob.core.windows.net"}
spec:
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
    - {name: app, image: app, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}
`

// injected is the namespace that the example binds the policy to.
const injected = "payroll"

// installPolicy installs the policy until the test ends.
func installPolicy(t *testing.T) {
	t.Helper()
	api.namespace(t, injected, "restricted", "payroll")
	policy := kustomize(t, "examples/policy")
	api.kubectl(t, policy, "apply", "--server-side", "--validate=strict", "--filename", "-")
	t.Cleanup(func() { api.kubectl(t, policy, "delete", "--filename", "-") })
	probe := strings.Replace(injectable, "name: app\n", "name: probe\n", 1)
	rig.Eventually(t, "the policy is in force", func() error {
		out, err := api.try(probe, "create", "--namespace", injected, "--dry-run=server", "--filename", "-", "--output", "yaml")
		if err == nil && !strings.Contains(out, "bearerd-trust") {
			err = errors.New("nothing is injected")
		}
		return err
	})
}

// created makes a pod and gives what the API server has made of it.
func created(t *testing.T, namespace, manifest string, more ...string) object {
	t.Helper()
	out := api.kubectl(t, manifest, append([]string{"create", "--namespace", namespace, "--validate=strict", "--filename", "-", "--output", "yaml"}, more...)...)
	var pod object
	if err := yaml.Unmarshal([]byte(out), &pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

func TestPolicyInjects(t *testing.T) {
	installPolicy(t)

	t.Run("a plain pod", func(t *testing.T) {
		pod := created(t, injected, injectable)
		if got := names(pod, "spec", "initContainers"); !slices.Equal(got, []string{"bearerd"}) {
			t.Errorf("init containers %q", got)
		}
		want := []any{object{"ip": "127.0.0.1", "hostnames": []any{"payroll.vault.azure.net", "payroll.blob.core.windows.net"}}}
		if got := at(pod, "spec", "hostAliases"); !reflect.DeepEqual(got, want) {
			t.Errorf("hosts entries %v, want %v", got, want)
		}
		checkShared(t, pod)
		// Written to, and made again from what was read, it stays as it is.
		api.kubectl(t, "", "label", "--namespace", injected, "pod/app", "more=labels")
		again := object{"apiVersion": "v1", "kind": "Pod", "spec": pod["spec"], "metadata": object{
			"name": "again", "labels": at(pod, "metadata", "labels"), "annotations": at(pod, "metadata", "annotations")}}
		if got := created(t, injected, manifest(t, again)); !reflect.DeepEqual(got["spec"], pod["spec"]) {
			t.Errorf("injected twice:\n%s\nonce:\n%s", manifest(t, got), manifest(t, pod))
		}
	})
	t.Run("a pod with much of its own", func(t *testing.T) {
		pod := created(t, injected, `
apiVersion: v1
kind: Pod
metadata:
  name: own
  labels: {bearerd/inject: "true"}
  annotations: {bearerd/hosts: payroll.vault.azure.net, bearerd/config: another}
spec:
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}, sysctls: [{name: net.ipv4.tcp_syncookies, value: "1"}]}
  hostAliases: [{ip: 127.0.0.1, hostnames: [own.example]}, {ip: 203.0.113.1, hostnames: [other.example]}]
  initContainers:
    - {name: migrate, image: app, securityContext: &safe {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}
    - {name: proxy, image: app, restartPolicy: Always, securityContext: *safe}
  containers:
    - name: app
      image: app
      env: [{name: SSL_CERT_FILE, value: /own.pem}, {name: MORE, value: "1"}]
      volumeMounts: [{name: own, mountPath: /own}]
      securityContext: *safe
    - {name: second, image: app, securityContext: *safe}
  volumes: [{name: own, emptyDir: {}}]
`)
		if got, want := names(pod, "spec", "initContainers"), []string{"bearerd", "migrate", "proxy"}; !slices.Equal(got, want) {
			t.Errorf("init containers %q, want %q", got, want)
		}
		env := named(named(pod, "spec", "containers")["app"], "env")
		if text(env["SSL_CERT_FILE"], "value") != "/own.pem" || text(env["MORE"], "value") != "1" || text(env["NODE_EXTRA_CA_CERTS"], "value") != "/run/bearerd/root.pem" {
			t.Errorf("variables of app: %v", env)
		}
		for _, c := range []object{named(pod, "spec", "containers")["second"], named(pod, "spec", "initContainers")["migrate"], named(pod, "spec", "initContainers")["proxy"]} {
			if got := text(named(c, "env")["SSL_CERT_FILE"], "value"); got != "/run/bearerd/bundle.pem" {
				t.Errorf("%s trusts %q", text(c, "name"), got)
			}
		}
		if got, want := names(pod, "spec", "securityContext", "sysctls"), []string{"net.ipv4.tcp_syncookies", "net.ipv4.ip_unprivileged_port_start"}; !slices.Equal(got, want) {
			t.Errorf("sysctls %q, want %q", got, want)
		}
		want := []any{
			object{"ip": "203.0.113.1", "hostnames": []any{"other.example"}},
			object{"ip": "127.0.0.1", "hostnames": []any{"own.example", "payroll.vault.azure.net"}},
		}
		if got := at(pod, "spec", "hostAliases"); !reflect.DeepEqual(got, want) {
			t.Errorf("hosts entries %v, want %v", got, want)
		}
		if got := text(named(pod, "spec", "volumes")["bearerd-config"], "configMap", "name"); got != "another" {
			t.Errorf("the configuration is of %q", got)
		}
		checkShared(t, pod)
	})
	t.Run("a pod without the label", func(t *testing.T) {
		pod := created(t, injected, strings.Replace(strings.Replace(injectable, "  labels: {bearerd/inject: \"true\"}\n", "", 1), "name: app\n", "name: unlabelled\n", 1))
		if got := pod["spec"].(object); strings.Contains(manifest(t, got), "bearerd") {
			t.Errorf("made into:\n%s", manifest(t, got))
		}
	})
	t.Run("a pod of another namespace", func(t *testing.T) {
		api.namespace(t, "elsewhere", "restricted")
		pod := created(t, "elsewhere", injectable)
		if got := pod["spec"].(object); strings.Contains(manifest(t, got), "bearerd") {
			t.Errorf("made into:\n%s", manifest(t, got))
		}
	})
	t.Run("a pod without hosts", func(t *testing.T) {
		_, err := api.try(strings.Replace(injectable, "bearerd/hosts", "bearerd/host", 1), "create", "--namespace", injected, "--dry-run=server", "--filename", "-")
		if err == nil || !strings.Contains(err.Error(), "bearerd/hosts") {
			t.Errorf("got %v", err)
		}
	})
}

// Both ways lead to the same pod, so that neither is left behind.
func TestPolicyAndComponentAgree(t *testing.T) {
	installPolicy(t)
	for name, rendered := range pods(t, kustomize(t, "examples/hosts")) {
		delete(rendered["metadata"].(object), "namespace")
		delete(rendered["metadata"].(object), "annotations")
		byComponent := created(t, injected, manifest(t, rendered), "--dry-run=server")

		plain := rendered["spec"].(object)
		config := text(named(byComponent, "spec", "volumes")["bearerd-config"], "configMap", "name")
		var hosts []string
		for _, host := range at(plain["hostAliases"].([]any)[0], "hostnames").([]any) {
			hosts = append(hosts, host.(string))
		}
		rendered["metadata"].(object)["annotations"] = object{"bearerd/hosts": strings.Join(hosts, ","), "bearerd/config": config}
		delete(plain, "hostAliases")
		delete(plain, "initContainers")
		delete(plain, "volumes")
		delete(plain["securityContext"].(object), "sysctls")
		for _, c := range named(plain, "containers") {
			delete(c, "env")
			delete(c, "volumeMounts")
		}
		byPolicy := created(t, injected, manifest(t, rendered), "--dry-run=server")
		for _, part := range []string{"initContainers", "containers", "volumes"} {
			got, want := unordered(byPolicy, part), unordered(byComponent, part)
			for _, n := range slices.Sorted(maps.Keys(want)) {
				if !reflect.DeepEqual(got[n], want[n]) {
					t.Errorf("%s: the policy injects\n%s\nthe component\n%s", name, manifest(t, got[n]), manifest(t, want[n]))
				}
			}
			if len(got) != len(want) {
				t.Errorf("%s: %s %v, want %v", name, part, slices.Collect(maps.Keys(got)), slices.Collect(maps.Keys(want)))
			}
		}
		for _, part := range []string{"hostAliases", "securityContext"} {
			if got, want := at(byPolicy, "spec", part), at(byComponent, "spec", part); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s %v, want %v", name, part, got, want)
			}
		}
	}
}

// unordered gives a part of a pod by names, with variables in the order of
// theirs, which is the one thing that may differ.
func unordered(pod object, part string) map[string]object {
	all := named(pod, "spec", part)
	for _, o := range all {
		if env, ok := o["env"].([]any); ok {
			slices.SortFunc(env, func(a, b any) int { return strings.Compare(text(a, "name"), text(b, "name")) })
		}
	}
	return all
}
