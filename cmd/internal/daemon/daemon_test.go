package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bearerd/bearerd/cmd/internal/admin"
	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
)

// running is a daemon in front of an emulated Azure.
type running struct {
	*Daemon
	t      *testing.T
	imds   *imdstest.Server
	cloud  *azuretest.Cloud
	client *http.Client
	log    *lockedBuffer

	mu   sync.Mutex // guards what follows
	text string     // the configuration that a reload reads
	file string     // its name; empty: there is none
}

// lockedBuffer is a log that tests read.
type lockedBuffer struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// frame is what every configuration of these tests begins with.
func (r *running) frame() string {
	dir := r.t.TempDir()
	caFile := filepath.Join(dir, "azure.pem")
	if err := os.WriteFile(caFile, r.cloud.CAPEM(), 0o600); err != nil {
		r.t.Fatal(err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "admin: {address: \"127.0.0.1:0\"}\nstate_dir: %s/state\nimds: {endpoint: %s}\n", dir, r.cloud.IMDSEndpoint())
	fmt.Fprintf(&text, "log: {access: all}\nupstream:\n  ca_file: %s\n  connect_to:\n", caFile)
	for host, address := range r.cloud.ConnectTo() {
		fmt.Fprintf(&text, "    %s: %q\n", host, address)
	}
	return text.String()
}

const (
	publicCloud = "cloud: public\n"
	anyPort     = "listen: [{address: \"127.0.0.1:0\"}]\n"
	vaultRoute  = "routes: [{service: keyvault, hosts: [payroll.vault.azure.net], gateway: vault, required: true}]\n"
)

// launch starts a daemon by frame and more.
func launch(t *testing.T, o imdstest.Options, more string) *running {
	t.Helper()
	return launchUnder(t, Supervisor{}, o, more)
}

func launchUnder(t *testing.T, by Supervisor, o imdstest.Options, more string) *running {
	t.Helper()
	return launchWith(t, Options{Supervisor: by}, o, more)
}

// launchLearning starts one that learns what applications need, into a file.
func launchLearning(t *testing.T, o imdstest.Options, more, file string) *running {
	t.Helper()
	return launchWith(t, Options{Learn: file}, o, more)
}

func launchWith(t *testing.T, with Options, o imdstest.Options, more string) *running {
	t.Helper()
	r := &running{t: t, imds: imdstest.New(o), log: &lockedBuffer{}, file: "bearerd.yaml"}
	var err error
	r.cloud, err = azuretest.Start(azuretest.Options{Tenant: r.imds.Tenant(), Key: r.imds.PublicKey(), IMDS: r.imds})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.cloud.Close() })
	r.cloud.Vault.SetSecret(azuretest.VaultHost, "db", "x")
	transport := &http.Transport{}
	r.client = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	r.text = r.frame() + more
	with.Config, with.Version, with.Log = r.parse(), "test", r.log
	with.Reload = func() (*Config, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return Parse(r.file, []byte(r.text))
	}
	r.Daemon, err = Start(t.Context(), with)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *running) parse() *Config {
	r.t.Helper()
	c, err := Parse("bearerd.yaml", []byte(r.text))
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// edit changes the configuration that the next reload reads.
func (r *running) edit(old, text string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !strings.Contains(r.text, old) {
		r.t.Fatalf("the configuration has no %q:\n%s", old, r.text)
	}
	r.text = strings.Replace(r.text, old, text, 1)
}

// get gives an answer's status and body.
func (r *running) get(url string) (int, string) {
	r.t.Helper()
	answer, err := r.client.Get(url)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// secret asks for the secret by base URL and gives the status.
func (r *running) secret() int {
	r.t.Helper()
	status, _ := r.get("http://" + r.Addresses()[0] + "/vault/secrets/db?api-version=7.4")
	return status
}

func (r *running) shown() (s admin.Status) {
	r.t.Helper()
	_, body := r.get("http://" + r.AdminAddress() + "/status")
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// until waits for a condition that another goroutine brings about.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("not so in time: ", what)
		}
	}
}

func TestStartServesAndShutdownEnds(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+anyPort+vaultRoute)
	if status := r.secret(); status != http.StatusOK {
		t.Errorf("got %d, want 200", status)
	}
	until(t, "the required token is there", func() bool {
		status, _ := r.get("http://" + r.AdminAddress() + "/readyz")
		return status == http.StatusOK
	})
	if s := r.shown(); len(s.Tokens) != 1 || !s.Tokens[0].Usable || s.Cloud != "public" || s.Config.Path != "bearerd.yaml" {
		t.Errorf("/status says %+v", s)
	}
	_, page := r.get("http://" + r.AdminAddress() + "/metrics")
	for _, want := range []string{
		`bearerd_requests_total{code="2xx",method="GET",route="keyvault"} 1`,
		`bearerd_imds_requests_total{code="200"} 1`,
		`bearerd_token_state{audience="https://vault.azure.net",identity="system-assigned",state="fresh"} 1`,
		`bearerd_token_refreshes_total{result="success"} 1`,
		`bearerd_connections_accepted_total{listener="127.0.0.1:0"} `,
		`bearerd_token_expiry_timestamp_seconds{audience="https://vault.azure.net",identity="system-assigned"} 1.`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", r.Addresses()[0]); err == nil {
		conn.Close()
		t.Error("the listener still accepts")
	}
}

// token_wait: 0s means not at all, and no default.
func TestNobodyWaitsWhereTokenWaitIsZero(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+anyPort+strings.Replace(vaultRoute, ", required: true", "", 1))
	r.edit("imds: {", "imds: {token_wait: 0s, ")
	c, err := Parse("bearerd.yaml", []byte(r.text))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.Daemon, err = Start(t.Context(), Options{Config: c, Log: io.Discard}); err != nil {
		t.Fatal(err)
	}
	r.imds.Script(imdstest.Slow(3 * time.Second))
	began := time.Now()
	if status := r.secret(); status != http.StatusServiceUnavailable || time.Since(began) > 2*time.Second {
		t.Errorf("got %d after %v, want 503 at once", status, time.Since(began))
	}
}

// A required token that is not there keeps readiness back, and nothing else.
func TestReadinessNamesTheMissingToken(t *testing.T) {
	r := launch(t, imdstest.Options{NoSystem: true}, publicCloud+anyPort+vaultRoute)
	until(t, "the first attempt has failed", func() bool {
		status, body := r.get("http://" + r.AdminAddress() + "/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "https://vault.azure.net") && strings.Contains(body, "az vm identity assign")
	})
	_, page := r.get("http://" + r.AdminAddress() + "/metrics")
	for _, want := range []string{
		`bearerd_token_state{audience="https://vault.azure.net",identity="system-assigned",state="absent"} 1`,
		`bearerd_token_failing{audience="https://vault.azure.net",class="not_assigned",identity="system-assigned"} 1`,
		`bearerd_token_next_attempt_timestamp_seconds{audience="https://vault.azure.net",identity="system-assigned"} 1.`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	for _, probe := range []string{"/livez", "/startupz"} {
		if status, body := r.get("http://" + r.AdminAddress() + probe); status != http.StatusOK {
			t.Errorf("%s is %d %s", probe, status, body)
		}
	}
}

func TestCloudIsTheOneThatIMDSNames(t *testing.T) {
	r := launch(t, imdstest.Options{Environment: "AzureUSGovernmentCloud"}, anyPort)
	until(t, "the cloud is known", func() bool { return r.shown().Cloud == "usgov" })
	s := r.shown()
	if len(s.Routes) != 3 || s.Routes[2].Audience != "https://management.usgovcloudapi.net/" {
		t.Errorf("the routes are %+v, want the government cloud's", s.Routes)
	}
	// The authority that was made before the cloud was known serves it.
	if err := r.Root().Covers("payroll.vault.usgovcloudapi.net"); err != nil {
		t.Error(err)
	}
}

func TestCloudThatNobodyKnowsLeavesThePublicOne(t *testing.T) {
	r := launch(t, imdstest.Options{Environment: "AzureMoonCloud"}, anyPort)
	until(t, "it is logged", func() bool { return strings.Contains(r.log.String(), "AzureMoonCloud") })
	if cloud := r.shown().Cloud; cloud != "public" {
		t.Errorf("the cloud is %s", cloud)
	}
}

func TestUnixSocketServesBaseURLs(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	r := launch(t, imdstest.Options{}, publicCloud+"listen: [{address: \"unix:"+socket+"\"}]\n"+vaultRoute)
	transport := &http.Transport{DialContext: dialSocket(socket)}
	t.Cleanup(transport.CloseIdleConnections)
	r.client = &http.Client{Transport: transport}
	if status, body := r.get("http://localhost/vault/secrets/db?api-version=7.4"); status != http.StatusOK {
		t.Errorf("got %d %s", status, body)
	}
}

// However it is spelled, no tunnel leads to our own listeners or to IMDS.
func TestOwnListenersAndIMDSAreNoTarget(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+anyPort+vaultRoute)
	imds := strings.TrimPrefix(r.cloud.IMDSEndpoint(), "http://")
	for _, target := range []string{r.AdminAddress(), r.Addresses()[0], imds, "localhost:" + port(r.AdminAddress()), "[::ffff:127.0.0.1]:" + port(imds)} {
		conn, err := net.Dial("tcp", r.Addresses()[0])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
		line := make([]byte, len("HTTP/1.1 403"))
		if _, err := io.ReadFull(conn, line); err != nil || string(line) != "HTTP/1.1 403" {
			t.Errorf("CONNECT %s got %q (%v), want 403", target, line, err)
		}
		conn.Close()
	}
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}

// Apps that ask IMDS by themselves share the cache, for the routes' tokens only.
func TestListenerInIMDSsMode(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+"listen: [{address: \"127.0.0.1:0\"}, {address: \"127.0.0.1:0\", mode: imds}]\n"+vaultRoute)
	client, err := imds.New(imds.Options{Endpoint: "http://" + r.Addresses()[1]})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Token(t.Context(), imds.Identity{}, "https://vault.azure.net"); err != nil {
		t.Error(err)
	}
	if _, err := client.Token(t.Context(), imds.Identity{}, "https://management.azure.com/"); err == nil {
		t.Error("an audience without a route got a token")
	}
	if status := r.secret(); status != http.StatusOK || len(r.imds.Calls()) != 1 {
		t.Errorf("got %d and %d calls to IMDS, want 200 with the one token", status, len(r.imds.Calls()))
	}
	if _, page := r.get("http://" + r.AdminAddress() + "/metrics"); !strings.Contains(page, `bearerd_metadata_requests_total{code="200"} 1`) {
		t.Error("/metrics does not count the call")
	}
}

// Two routes, two sources: the vault's token is App Service's, ARM's is IMDS's.
func TestTokensComeFromEachRoutesSource(t *testing.T) {
	var asked atomic.Int64
	var machine *imdstest.Server
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("X-IDENTITY-HEADER") != "the header" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		// The tokens are made by the same issuer, which the vault trusts.
		again := r.Clone(r.Context())
		again.URL.Path = "/metadata/identity/oauth2/token"
		again.URL.RawQuery = url.Values{"api-version": {"2018-02-01"}, "resource": {r.URL.Query().Get("resource")}}.Encode()
		again.Header = http.Header{"Metadata": {"true"}}
		machine.ServeHTTP(w, again)
	}))
	t.Cleanup(endpoint.Close)
	t.Setenv("IDENTITY_ENDPOINT", endpoint.URL+"/token")
	t.Setenv("IDENTITY_HEADER", "the header")
	r := launch(t, imdstest.Options{}, publicCloud+anyPort+
		"routes:\n  - {service: keyvault, hosts: [payroll.vault.azure.net], gateway: vault, identity: {source: appservice}}\n  - {service: arm, gateway: arm}\n")
	machine = r.imds
	if status := r.secret(); status != http.StatusOK || asked.Load() != 1 {
		t.Errorf("got %d and %d calls to the endpoint, want 200 after one", status, asked.Load())
	}
	if status, body := r.get("http://" + r.Addresses()[0] + "/arm/subscriptions/" + azuretest.Subscription + "?api-version=2022-12-01"); status != http.StatusOK || asked.Load() != 1 {
		t.Errorf("got %d %s and %d calls to the endpoint, want 200 by IMDS", status, body, asked.Load())
	}
}

func TestQuitEndsTheDaemon(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+anyPort+vaultRoute)
	answer, err := r.client.Post("http://"+r.AdminAddress()+"/-/quit", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusAccepted {
		t.Errorf("got %s", answer.Status)
	}
	<-r.Done()
}

func TestStartThatFailsLeavesNothing(t *testing.T) {
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	address := strings.TrimPrefix(taken.URL, "http://")
	for name, text := range map[string]string{
		"the listener's address": "listen: [{address: \"" + address + "\"}]\nadmin: {address: \"127.0.0.1:0\"}\n",
		"the admin's address":    "listen: [{address: \"127.0.0.1:0\"}]\nadmin: {address: \"" + address + "\"}\n",
	} {
		c, err := Parse("bearerd.yaml", []byte(text+publicCloud+"imds: {endpoint: \"http://"+address+"\"}\nstate_dir: "+t.TempDir()+"/state\n"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Start(t.Context(), Options{Config: c, Log: io.Discard}); err == nil || !strings.Contains(err.Error(), "ss -ltnp") {
			t.Errorf("%s in use gave %v, want what to do", name, err)
		}
	}
}

// dialInstead dials one address, whatever is asked for.
func dialInstead(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

func dialSocket(path string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
}
