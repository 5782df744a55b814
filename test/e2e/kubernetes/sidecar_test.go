//go:build e2e && linux

package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
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
	config  object            // the ConfigMap's data
	folders *strings.Replacer // paths of mounts to the volumes' folders
}

// serviceAccountToken is what the kubelet projects.
const serviceAccountToken = "the-token-of-the-service-account"

func newPod(t *testing.T, o, config object) *pod {
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
		var err error
		switch text(m, "name") {
		case "bearerd-config":
			err = os.WriteFile(filepath.Join(folder, "bearerd.yaml"), []byte(text(config, "bearerd.yaml")), 0o644)
		case "bearerd-token":
			err = os.WriteFile(filepath.Join(folder, "token"), []byte(serviceAccountToken), 0o644)
		}
		if err := errors.Join(err, os.Chmod(folder, mode)); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, text(m, "mountPath"), folder)
	}
	return &pod{o, config, strings.NewReplacer(paths...)}
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
		value, ok := e["value"].(string)
		if !ok {
			value, ok = p.config[text(e, "valueFrom", "configMapKeyRef", "key")].(string)
		}
		if ok {
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
	// The example's ConfigMap, but for where Azure is.
	config := configMap(t, rendered)
	config["AZURE_AUTHORITY_HOST"] = startEntra(t, imds, text(config, "AZURE_CLIENT_ID"))
	config["bearerd.yaml"] = text(config, "bearerd.yaml") + fmt.Sprintf("imds: {endpoint: %q}\nupstream: {ca_file: %s, connect_to: {%s: %q}}\nstate_dir: %s\n",
		"http://"+rig.FreeAddress(t), roots, vaultHost, cloud.ConnectTo()[vaultHost], filepath.Join(world.Dir, t.Name(), "bearerd-state", "bearerd"))
	p := newPod(t, pods(t, rendered)["payroll"], config)
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
	process, err := rig.Launch(append(p.env(sidecar), "SSL_CERT_FILE="+world.CAFile), "/", argv[0], argv[1:]...) // Entra's issuer among the system's roots
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
	config := configMap(t, rendered)
	config["bearerd.yaml"] = strings.Replace(text(config, "bearerd.yaml"), "report_file: /var/lib/", "report_file: "+dir+"/bearerd-state/", 1)
	p := newPod(t, pods(t, rendered)["reports"], config)
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

// startEntra starts what exchanges the service account's token for one that the
// fake services take, and gives its URL.
func startEntra(t *testing.T, imds *rig.IMDS, clientID string) string {
	t.Helper()
	exchange := func(w http.ResponseWriter, r *http.Request) {
		if got := r.PostFormValue("client_assertion"); got != serviceAccountToken || r.PostFormValue("client_id") != clientID {
			t.Errorf("Entra was asked by %q for %q", got, r.PostFormValue("client_id"))
		}
		q := url.Values{"api-version": {"2018-02-01"}, "resource": {strings.TrimSuffix(strings.Fields(r.PostFormValue("scope"))[0], "/.default")}}
		inner := httptest.NewRequest(http.MethodGet, "http://169.254.169.254/metadata/identity/oauth2/token?"+q.Encode(), nil)
		inner.Header.Set("Metadata", "true")
		answer := httptest.NewRecorder()
		imds.ServeHTTP(answer, inner)
		var token struct {
			Text string `json:"access_token"`
		}
		if err := json.Unmarshal(answer.Body.Bytes(), &token); err != nil || token.Text == "" {
			t.Errorf("no token to give: %v, %s", err, answer.Body)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3600,"access_token":%q}`, token.Text)
	}
	address := world.CA.ServeTLS(t, http.HandlerFunc(exchange), "localhost")
	return "https://localhost" + address[strings.LastIndex(address, ":"):] + "/"
}

// configMap gives the data of the one that is rendered.
func configMap(t *testing.T, rendered string) object {
	t.Helper()
	for _, o := range objects(t, rendered) {
		if text(o, "kind") == "ConfigMap" {
			return o["data"].(object)
		}
	}
	t.Fatal("no ConfigMap is rendered")
	return nil
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
