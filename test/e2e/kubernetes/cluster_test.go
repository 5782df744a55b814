//go:build e2e && linux

package kubernetes

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

var (
	world *rig.Rig // TestMain makes both
	api   *cluster
)

func TestMain(m *testing.M) {
	bin, err := build() // which may need the machine's network
	code := 1
	if err == nil {
		code, err = rig.InOwnNetwork(func() (int, error) { return runTests(m, bin) })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubernetes:", err)
		code = 1
	}
	os.Exit(code)
}

// build gives the folder of kubectl and kube-apiserver.
func build() (bin string, err error) {
	cmd := exec.Command("bash", "build.sh")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build.sh: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

func runTests(m *testing.M, bin string) (code int, err error) {
	if world, err = rig.New(".."); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	if api, err = startCluster(world.Dir, bin); err != nil {
		return 1, err
	}
	defer api.stop()
	return m.Run(), nil
}

// cluster is an API server and its store. No controller runs.
type cluster struct {
	bin        string // the folder of kubectl and kube-apiserver
	url, token string
	ca         string // the API server's certificate
	processes  []*rig.Process
}

// startCluster starts an API server that takes one token's orders.
func startCluster(dir, bin string) (c *cluster, err error) {
	addresses, err := unused(3)
	if err != nil {
		return nil, err
	}
	c = &cluster{bin: bin, url: "https://" + addresses[2], token: "the-tests-own"}
	defer func() {
		if err != nil {
			c.stop()
		}
	}()
	store, peer := "http://"+addresses[0], "http://"+addresses[1]
	if err := c.launch("etcd", "--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync", "--logger", "zap", "--log-level", "error",
		"--listen-client-urls", store, "--advertise-client-urls", store,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer); err != nil {
		return nil, err
	}
	tokens, key, certs := filepath.Join(dir, "tokens.csv"), filepath.Join(dir, "accounts.key"), filepath.Join(dir, "apiserver")
	if err := os.WriteFile(tokens, []byte(c.token+",tests,tests,system:masters\n"), 0o600); err != nil {
		return nil, err
	}
	if out, err := exec.Command("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("openssl: %w\n%s", err, out)
	}
	_, port, _ := net.SplitHostPort(addresses[2])
	if err := c.launch(filepath.Join(c.bin, "kube-apiserver"), "--etcd-servers", store, "--bind-address", "127.0.0.1", "--advertise-address", podAddress, "--secure-port", port,
		"--cert-dir", certs, "--token-auth-file", tokens, "--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.0.0.0/24",
		"--service-account-issuer", "https://kubernetes.invalid", "--service-account-key-file", key, "--service-account-signing-key-file", key); err != nil {
		return nil, err
	}
	c.ca = filepath.Join(certs, "apiserver.crt")
	return c, c.ready(time.Minute)
}

func (c *cluster) launch(name string, args ...string) error {
	p, err := rig.Launch(world.BaseEnv(), world.Dir, name, args...)
	if err == nil {
		c.processes = append(c.processes, p)
	}
	return err
}

// stop ends the processes, the first last.
func (c *cluster) stop() {
	for i := len(c.processes) - 1; i >= 0; i-- {
		c.processes[i].Stop()
	}
}

// ready waits for the API server to say that it is.
func (c *cluster) ready(within time.Duration) error {
	server := c.processes[len(c.processes)-1]
	deadline, tick := time.After(within), time.NewTicker(100*time.Millisecond)
	defer tick.Stop()
	for {
		err := c.asked()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-server.Done:
			return fmt.Errorf("kube-apiserver ended and said:\n%s", server.Out)
		case <-deadline:
			return fmt.Errorf("kube-apiserver is not ready: %w; it said:\n%s", err, server.Out)
		}
	}
}

func (c *cluster) asked() error {
	text, err := os.ReadFile(c.ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	r, err := client.Get(c.url + "/readyz")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return errors.New(r.Status)
	}
	return nil
}

// try runs kubectl and gives its output and, on failure, what it complains of.
func (c *cluster) try(input string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(c.bin, "kubectl"), append([]string{"--kubeconfig", "/dev/null", "--server", c.url, "--certificate-authority", c.ca, "--token", c.token}, args...)...)
	cmd.Env, cmd.Stdin = world.BaseEnv(), strings.NewReader(input)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, &complaint)
	}
	return out.String(), nil
}

// kubectl is try where nothing is meant to fail.
func (c *cluster) kubectl(t *testing.T, input string, args ...string) string {
	t.Helper()
	out, err := c.try(input, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// namespace makes one with the accounts that pods name, at a Pod Security level.
func (c *cluster) namespace(t *testing.T, name, level string, accounts ...string) {
	t.Helper()
	text := fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s\n  labels: {pod-security.kubernetes.io/enforce: %s}\n", name, level)
	for _, account := range append(accounts, "default") {
		text += fmt.Sprintf("---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: %s, namespace: %s}\nautomountServiceAccountToken: false\n", account, name)
	}
	c.kubectl(t, text, "apply", "--server-side", "--filename", "-")
}

// unused gives addresses of loopback that nobody listens on.
func unused(n int) (addresses []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // after all have theirs
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}
