//go:build e2e && linux

package kubernetes

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// podAddress is where the kubelet and Prometheus would come to (RFC 5737).
const podAddress = "203.0.113.10"

const vaultHost = "payroll.vault.azure.net"

// pod is what a kubelet would make of a rendered one: folders in the place of
// its volumes, programs with their users and variables. The network, with its
// sysctl, is the tests' own.
type pod struct {
	object
	folders *strings.Replacer // paths of mounts to the volumes' folders
}

func newPod(t *testing.T, o object, configuration string) *pod {
	t.Helper()
	dir := filepath.Join(world.Dir, t.Name())
	var paths []string
	mounts, _ := at(named(o, "spec", "initContainers")["bearerd"], "volumeMounts").([]any)
	for _, m := range mounts {
		folder := filepath.Join(dir, text(m, "name"))
		mode := os.FileMode(0o777) // what an emptyDir has
		if at(m, "readOnly") == true {
			mode = 0o555
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if text(m, "name") == "bearerd-config" {
			if err := os.WriteFile(filepath.Join(folder, "bearerd.yaml"), []byte(configuration), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(folder, mode); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, text(m, "mountPath"), folder)
	}
	return &pod{o, strings.NewReplacer(paths...)}
}

// command gives a container's program, as its user and with the capabilities
// that are added to none.
func (p *pod) command(c object, fallback int, program ...string) []string {
	uid, ok := at(c, "securityContext", "runAsUser").(int)
	if !ok {
		uid = fallback
	}
	id, capabilities := fmt.Sprint(uid), "-all"
	added, _ := at(c, "securityContext", "capabilities", "add").([]any)
	for _, name := range added {
		capabilities += ",+" + strings.ToLower(name.(string))
	}
	argv := []string{"setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups", "--bounding-set=" + capabilities, "--no-new-privs"}
	for _, word := range program {
		argv = append(argv, p.folders.Replace(word))
	}
	return argv
}

func (p *pod) env(c object) []string {
	env := world.BaseEnv()
	for name, e := range named(c, "env") {
		if value, ok := e["value"].(string); ok {
			env = append(env, name+"="+p.folders.Replace(value))
		}
	}
	return env
}

func TestSidecarServesItsPod(t *testing.T) {
	imds := rig.StartIMDS(t, imdstest.Options{})
	cloud := imds.StartCloud(t, azuretest.Options{Hosts: []string{vaultHost}})
	rendered := kustomize(t, "examples/hosts")
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, cloud.CAPEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(roots), filepath.Dir(filepath.Dir(roots))} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The example's configuration, but for where Azure is.
	configuration := strings.Replace(configMap(t, rendered), "{source: workload}", "{source: imds}", 1) + fmt.Sprintf(
		"imds: {endpoint: %q}\nupstream: {ca_file: %s, connect_to: {%s: %q}}\nstate_dir: %s\n",
		imds.URL, roots, vaultHost, cloud.ConnectTo()[vaultHost], filepath.Join(world.Dir, t.Name(), "bearerd-state", "bearerd"))
	p := newPod(t, pods(t, rendered)["payroll"], configuration)
	sidecar, app := named(p.object, "spec", "initContainers")["bearerd"], named(p.object, "spec", "containers")["payroll"]
	for name, sysctl := range named(p.object, "spec", "securityContext", "sysctls") {
		if err := os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(text(sysctl, "value")), 0); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("ip", "address", "add", podAddress+"/32", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	argv := p.command(sidecar, 0, program(sidecar)...)
	process, err := rig.Launch(p.env(sidecar), "/", argv[0], argv[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.Stop)
	for _, probe := range []string{"startupProbe", "readinessProbe", "livenessProbe"} {
		url := fmt.Sprintf("http://%s:%v%s", podAddress, at(sidecar, probe, "httpGet", "port"), text(sidecar, probe, "httpGet", "path"))
		rig.Eventually(t, probe, func() error {
			select {
			case <-process.Done:
				t.Fatalf("bearerd ended (%v) and said:\n%s", process.Err, process.Out)
			default:
			}
			return rig.Answers(url, http.StatusOK)
		})
	}
	if err := rig.Answers("http://"+podAddress+":9180/metrics", http.StatusOK); err != nil {
		t.Error(err)
	}

	argv = p.command(app, 1000, "curl", "-sS", "--resolve", vaultHost+":443:"+text(at(p.object, "spec", "hostAliases").([]any)[0], "ip"),
		"-o", "/dev/null", "-w", "%{http_code}", "https://"+vaultHost+"/secrets?api-version=7.4")
	if out, err := rig.Try(t, p.env(app), "/", argv[0], argv[1:]...); err != nil || out != "200" {
		t.Errorf("the app's call: %v, %q\n%s", err, out, process.Out)
	}
	argv = p.command(app, 1000, "cat", filepath.Join(world.Dir, t.Name(), "bearerd-state", "bearerd", "authority.pem"))
	if out, err := rig.Try(t, p.env(app), "/", argv[0], argv[1:]...); err == nil {
		t.Errorf("another user reads the authority's key: %q", out)
	}

	if got := quit(t, podAddress); got != http.StatusForbidden {
		t.Errorf("an order by the pod's address is answered %d", got)
	}
	if got := quit(t, "127.0.0.1"); got != http.StatusAccepted {
		t.Errorf("an order by loopback is answered %d", got)
	}
	if code := process.Exited(t, 20*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// program is what a container of bearerd's image runs.
func program(c object) []string {
	argv := []string{world.Bin}
	for _, arg := range c["args"].([]any) {
		argv = append(argv, arg.(string))
	}
	return argv
}

// NET_ADMIN alone is enough for the rules, and they are those that the sidecar's
// configuration means.
func TestRedirectIsAppliedInItsPod(t *testing.T) {
	rendered := kustomize(t, "examples/nftables")
	dir := filepath.Join(world.Dir, t.Name())
	configuration := strings.Replace(configMap(t, rendered), "report_file: /var/lib/", "report_file: "+dir+"/bearerd-state/", 1)
	p := newPod(t, pods(t, rendered)["reports"], configuration)
	c := named(p.object, "spec", "initContainers")["bearerd-redirect"]
	argv := p.command(c, -1, program(c)...)
	t.Cleanup(func() { rig.Run(t, world.BaseEnv(), "/", "nft", "flush", "ruleset") })
	rig.Run(t, p.env(c), "/", argv[0], argv[1:]...)
	if rules := rig.Run(t, world.BaseEnv(), "/", "nft", "list", "table", "inet", "bearerd"); !strings.Contains(rules, "skuid 1000") || !strings.Contains(rules, "skuid 64180") {
		t.Errorf("the rules name other users:\n%s", rules)
	}
	report, err := os.ReadFile(filepath.Join(dir, "bearerd-state", "redirect.json"))
	if err != nil || !strings.Contains(string(report), `"in_place":true`) {
		t.Errorf("the report, which the sidecar reads: %v, %s", err, report)
	}
}

// configMap gives the bearerd.yaml of what is rendered.
func configMap(t *testing.T, rendered string) string {
	t.Helper()
	for _, o := range objects(t, rendered) {
		if text(o, "kind") == "ConfigMap" {
			return text(o, "data", "bearerd.yaml")
		}
	}
	t.Fatal("no ConfigMap is rendered")
	return ""
}

func quit(t *testing.T, address string) int {
	t.Helper()
	r, err := rig.Direct.Post("http://"+address+":9180/-/quit", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	return r.StatusCode
}
