package daemon

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
)

const anEntra = "entra: {tenants: [contoso.example], clients: [aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee]}\n"

// Whose logins are answered can change while bearerd runs, once its authority
// can sign for the login hosts.
func TestReloadTakesLoginsOver(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+anyPort+anEntra+vaultRoute)
	login := func(client string) int {
		t.Helper()
		form := strings.NewReader("grant_type=client_credentials&client_id=" + client + "&client_secret=x&resource=https://vault.azure.net")
		answer, err := r.client.Post("http://"+r.Addresses()[0]+"/entra/contoso.example/oauth2/token", "application/x-www-form-urlencoded", form)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	const one, two = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "aaaaaaaa-bbbb-cccc-dddd-ffffffffffff"
	if status := login(one); status != http.StatusOK {
		t.Errorf("a listed client got %d", status)
	}
	r.edit(one, two)
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if status := login(two); status != http.StatusOK {
		t.Errorf("the client that is listed now got %d", status)
	}
	for _, host := range []string{"login.microsoftonline.com", "sts.windows.net"} {
		if !slices.Contains(r.Root().Permitted(), host) {
			t.Errorf("the authority cannot sign for %s", host)
		}
	}
	r.edit(strings.Replace(anEntra, one, two, 1), "")
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if status := login(two); status != http.StatusNotFound {
		t.Errorf("without entra a login got %d", status)
	}
}

func TestReloadTakesRoutesOverAndKeepsTokens(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+anyPort+vaultRoute)
	r.secret()
	r.edit("gateway: vault", "methods: [PUT], gateway: vault")
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if status := r.secret(); status != http.StatusForbidden {
		t.Errorf("a read got %d after the route was restricted to writes, want 403", status)
	}
	r.edit("methods: [PUT], ", "")
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if status := r.secret(); status != http.StatusOK || len(r.imds.Calls()) != 1 {
		t.Errorf("got %d and %d tokens asked for, want 200 with the first token", status, len(r.imds.Calls()))
	}
}

func TestBadReloadChangesNothingAndSaysSo(t *testing.T) {
	for _, tt := range []struct{ name, old, text, want string }{
		{"a mistake", "gateway: vault", "gatewy: vault", "bearerd.yaml:"},
		{"a restart is needed", "log: {", "limits: {streams: 9}\nlog: {", "a change of limits needs a restart"},
		{"other DNS servers", "  connect_to:", "  resolvers: [127.0.0.9]\n  connect_to:", "a change of upstream.resolvers needs a restart"},
		{"the authority does not cover the login hosts", anyPort, anyPort + anEntra, "bearerd ca init --renew"},
		{"the authority does not cover it", "payroll.vault.azure.net], ", "secrets.corp.example], audience: \"https://vault.azure.net\", ", "bearerd ca init --renew"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := launch(t, imdstest.Options{}, publicCloud+anyPort+vaultRoute)
			r.edit(tt.old, tt.text)
			if err := r.Reload(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if status := r.secret(); status != http.StatusOK {
				t.Errorf("got %d after a bad reload, want what held before", status)
			}
			if s := r.shown(); !strings.Contains(s.Config.LastReloadError, tt.want) {
				t.Errorf("/status says %q of the last reload", s.Config.LastReloadError)
			}
			if _, page := r.get("http://" + r.AdminAddress() + "/metrics"); !strings.Contains(page, "bearerd_config_last_reload_successful 0") {
				t.Error("/metrics does not say that the reload failed")
			}
		})
	}
}

// Requests under load see the old routes or the new ones, and never fail.
// 200 connections are kept busy over 100 reloads, each of which changes routes,
// an identity, the level of the log and a listener.
func TestReloadDropsNoRequest(t *testing.T) {
	const connections, reloads = 200, 100
	payroll := imdstest.Identity{ClientID: "11111111-1111-1111-1111-111111111111", ObjectID: "22222222-2222-2222-2222-222222222222"}
	r := launch(t, imdstest.Options{Identities: []imdstest.Identity{payroll}}, publicCloud+anyPort+vaultRoute)
	r.client.Transport.(*http.Transport).MaxIdleConnsPerHost = connections
	r.client.Timeout = time.Minute // two processors, and whatever else runs on them
	ctx, cancel := context.WithCancel(t.Context())
	url := "http://" + r.Addresses()[0] + "/vault/secrets/db?api-version=7.4"
	var load sync.WaitGroup
	var calls atomic.Int64
	ready := make(chan bool, connections)
	for range connections {
		load.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				answer, err := r.client.Get(url)
				if n == 0 {
					ready <- true
				}
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					t.Errorf("got %s during reloads", answer.Status)
				}
				calls.Add(1)
			}
		})
	}
	for range connections {
		<-ready
	}
	one, two := r.text, strings.NewReplacer(
		anyPort, "listen: [{address: \"127.0.0.1:0\"}, {address: \"127.0.0.1:0\", mode: imds}]\n",
		"required: true}]", "required: true, identity: {client_id: "+payroll.ClientID+"}}, {service: storage}]",
		"{access: all}", "{access: all, level: error}",
	).Replace(r.text)
	for n := range reloads {
		next := calls.Load() + connections/10
		until(t, "calls are made between reloads", func() bool { return calls.Load() >= next })
		r.edit(one, two)
		if err := r.Reload(); err != nil {
			t.Error(err)
		}
		if listeners := len(r.Addresses()); listeners != 2-n%2 {
			t.Errorf("%d listeners after %d reloads", listeners, n+1)
		}
		one, two = two, one
	}
	cancel()
	load.Wait()
}

func TestReloadOpensAndClosesListeners(t *testing.T) {
	dir := t.TempDir()
	r := launch(t, imdstest.Options{}, publicCloud+"listen: [{address: \"unix:"+dir+"/a.sock\"}, {address: \"127.0.0.1:0\"}]\n"+vaultRoute)
	kept := r.Addresses()[1]
	old := &http.Client{Transport: &http.Transport{DialContext: dialSocket(dir + "/a.sock")}, Timeout: 5 * time.Second}
	defer old.CloseIdleConnections()
	const url = "http://127.0.0.1:1/vault/secrets/db?api-version=7.4"
	ask := func(c *http.Client) int {
		answer, err := c.Get(url)
		if err != nil {
			return 0
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		return answer.StatusCode
	}
	first := ask(old)
	if first == 0 {
		t.Fatal("the first listener does not answer")
	}
	r.edit("unix:"+dir+"/a.sock", "unix:"+dir+"/b.sock")
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if all := r.Addresses(); all[0] != "unix:"+dir+"/b.sock" || all[1] != kept {
		t.Errorf("the listeners are %q", all)
	}
	if status := ask(old); status != first {
		t.Errorf("a connection of before the reload got %d, want %d", status, first)
	}
	fresh := &http.Client{Transport: &http.Transport{DialContext: dialSocket(dir + "/b.sock")}, Timeout: 5 * time.Second}
	defer fresh.CloseIdleConnections()
	if status := ask(fresh); status != first {
		t.Errorf("the listener of the reload answers %d, want %d", status, first)
	}
	if _, err := os.Stat(dir + "/a.sock"); !os.IsNotExist(err) {
		t.Errorf("the socket of the listener that was taken away: %v", err)
	}
	if up := r.shown().Listeners; len(up) != 2 || !up[0].Up || !up[1].Up {
		t.Errorf("/status has the listeners %+v", up)
	}
}

// A listener that cannot be had changes nothing, nor do those that could be.
func TestReloadRefusesListenersThatCannotBeHad(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct{ name, text, want string }{
		{"taken", `{address: "unix:DIR/new"}, {address: "` + taken.Addr().String() + `"}`, "address already in use"},
		{"another mode", `{address: "unix:DIR/new"}, {address: "unix:DIR/old", mode: imds}`, "a change of listen[2] needs a restart, for unix:DIR/old is open"},
		{"the first that is transparent", `{address: "unix:DIR/new"}, {address: "127.0.0.1:0", mode: transparent}`, "a change of listen (the first in mode transparent, or none any more) needs a restart"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			old := `{address: "unix:` + dir + `/old"}`
			r := launch(t, imdstest.Options{}, publicCloud+"listen: [{address: \"127.0.0.1:0\"}, "+old+"]\n"+vaultRoute)
			before := r.Addresses()
			r.edit(old, strings.ReplaceAll(tt.text, "DIR", dir))
			if err := r.Reload(); err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(tt.want, "DIR", dir)) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if _, err := os.Stat(dir + "/new"); !os.IsNotExist(err) {
				t.Errorf("the listener that could be had: %v", err)
			}
			if status, now := r.secret(), r.Addresses(); status != http.StatusOK || !slices.Equal(now, before) {
				t.Errorf("then %d at %q, want %q", status, now, before)
			}
		})
	}
}

// What is allowed and may not be meant is said of a reload as of a start.
func TestReloadWarns(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+anyPort+"routes: [{service: arm, methods: [GET]}]\n")
	r.edit(", methods: [GET]", "")
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.log.String(), "it takes every method of Azure Resource Manager") {
		t.Errorf("the log is\n%s", r.log)
	}
}

// A source that bearerd's environment does not have is refused, as at a start;
// else the route would get no token, and the reload would have looked good.
func TestReloadRefusesASourceThatIsNotThere(t *testing.T) {
	for _, name := range []string{"IDENTITY_ENDPOINT", "IDENTITY_HEADER"} {
		t.Setenv(name, "")
	}
	r := launch(t, imdstest.Options{}, publicCloud+anyPort+vaultRoute)
	r.edit("gateway: vault", "identity: {source: appservice}, gateway: vault")
	if err := r.Reload(); err == nil || !strings.Contains(err.Error(), "IDENTITY_ENDPOINT") {
		t.Errorf("got %v, want what the environment lacks", err)
	}
	if status := r.secret(); status != http.StatusOK {
		t.Errorf("got %d after the refusal, want what held before", status)
	}
	t.Setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:9/token")
	t.Setenv("IDENTITY_HEADER", "x")
	if err := r.Reload(); err != nil {
		t.Errorf("the source is there, and got %v", err)
	}
}

// The default path may have no file. Where it had one at the start, its absence
// must not open the routes that it restricted.
func TestReloadRefusesAFileThatIsGone(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+anyPort+vaultRoute)
	r.mu.Lock()
	r.file = ""
	r.mu.Unlock()
	if err := r.Reload(); err == nil || !strings.Contains(err.Error(), "bearerd.yaml is gone; put it back") {
		t.Errorf("got %v", err)
	}
}

// What upstreams are verified by is taken at the start alone, so a reload must
// not look as if it had taken other roots.
func TestReloadRefusesOtherRootsInTheSameFile(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+anyPort+vaultRoute)
	if err := os.WriteFile(r.parse().Upstream.CAFile, append(r.cloud.CAPEM(), r.Root().RootPEM()...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(); err == nil || !strings.Contains(err.Error(), "a change of upstream.ca_file needs a restart") {
		t.Errorf("got %v", err)
	}
}

// A reload may wait for a slow disk. Probes must not, nor the order to end.
func TestNobodyWaitsForAReload(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+anyPort+vaultRoute)
	r.mu.Lock() // which the reload waits for
	unlock := sync.OnceFunc(r.mu.Unlock)
	defer unlock()
	reloaded := make(chan error, 1)
	go func() { reloaded <- r.Reload() }()
	r.client.Timeout = time.Second
	for range 20 {
		r.shown()
	}
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	unlock()
	if err := <-reloaded; err == nil {
		t.Error("a configuration was taken over by a daemon that has ended")
	}
}

// Until IMDS names the cloud, it is the one that the routes fit; those of a
// reload as well as those of the start.
func TestReloadAssumesTheCloudThatItsRoutesFit(t *testing.T) {
	r := launch(t, imdstest.Options{Environment: "AzureMoonCloud"}, anyPort+"routes: [{service: keyvault, hosts: [payroll.vault.usgovcloudapi.net]}]\n")
	if cloud := r.shown().Cloud; cloud != "usgov" {
		t.Fatalf("the cloud is %s", cloud)
	}
	r.edit("payroll.vault.usgovcloudapi.net", "payroll.vault.azure.net")
	if err := r.Reload(); err != nil {
		t.Error(err)
	}
	if cloud := r.shown().Cloud; cloud != "public" {
		t.Errorf("the cloud is %s, want the public one", cloud)
	}
}

// Where no route needed IMDS at the start, it is asked for the cloud once one does.
func TestCloudIsAskedForOnceARouteNeedsIMDS(t *testing.T) {
	t.Setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:9/token")
	t.Setenv("IDENTITY_HEADER", "x")
	r := launch(t, imdstest.Options{Environment: "AzureUSGovernmentCloud"}, anyPort+"identity: {source: appservice}\n")
	if cloud := r.shown().Cloud; cloud != "public" {
		t.Fatalf("the cloud is %s, though nobody was to be asked", cloud)
	}
	r.edit("source: appservice", "")
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	until(t, "the cloud is known", func() bool { return r.shown().Cloud == "usgov" })
}

// A listener in IMDS's mode knows the names of ours, and those of a reload.
func TestIMDSsModeTakesNames(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+"names: [first.example]\nlisten: [{address: \"127.0.0.1:0\", mode: imds}]\n"+vaultRoute)
	ask := func(host string) int {
		t.Helper()
		call, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.Addresses()[0]+"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net", nil)
		if err != nil {
			t.Fatal(err)
		}
		call.Host = host
		call.Header.Set("Metadata", "true")
		answer, err := r.client.Do(call)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	if first, second := ask("first.example"), ask("second.example"); first != http.StatusOK || second != http.StatusMisdirectedRequest {
		t.Errorf("got %d by its name and %d by another, want 200 and 421", first, second)
	}
	r.edit("first.example", "second.example")
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if first, second := ask("first.example"), ask("second.example"); first != http.StatusMisdirectedRequest || second != http.StatusOK {
		t.Errorf("got %d by the former name and %d by the present one, want 421 and 200", first, second)
	}
}

// A cloud's file is read at the start and at a reload, and a broken one changes
// nothing.
func TestCloudOfAFileIsReadAgain(t *testing.T) {
	answer, err := os.ReadFile("testdata/endpoints.json")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cloud.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(string(answer))
	r := launch(t, imdstest.Options{}, fmt.Sprintf("cloud: {name: gap, file: %q}\n", file)+anyPort+
		"routes: [{service: keyvault, hosts: [payroll.vault.gap.example], required: true}]\n")
	until(t, "the token is for the cloud's own audience", func() bool {
		s := r.shown()
		return s.Cloud == "gap" && len(s.Tokens) == 1 && s.Tokens[0].Usable && s.Tokens[0].Audience == "https://vault.gap.example"
	})
	write(strings.Replace(string(answer), `"resourceManager"`, `"x"`, 1))
	if err := r.Reload(); err == nil || !strings.Contains(err.Error(), "cloud.file: "+file+": resourceManager is missing") {
		t.Errorf("a broken file gave %v", err)
	}
	if s := r.shown(); s.Cloud != "gap" || !strings.Contains(s.Config.LastReloadError, "resourceManager is missing") {
		t.Errorf("after a broken file /status says %s, %q", s.Cloud, s.Config.LastReloadError)
	}
	write(strings.Replace(string(answer), `"gap"`, `"GAP"`, 1))
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if s := r.shown(); s.Cloud != "GAP" {
		t.Errorf("the file is not read again: the cloud is %s", s.Cloud)
	}
}
