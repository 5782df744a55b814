package daemon

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/proxy/route"
)

// roleVariable makes the test binary an app: it makes the call that the variable
// describes, and writes down the answer.
const roleVariable = "DAEMON_TEST_APP"

// appCall is a call that an app makes.
type appCall struct {
	URL      string
	Proxy    string // empty: none
	RootCA   string // in PEM, which the app trusts
	Metadata bool   // says that it is for IMDS
}

// appAnswer is what it got.
type appAnswer struct {
	Status int
	Code   string
	Body   string
}

func app(text string) int {
	var c appCall
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	transport.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(c.RootCA))
	transport.Proxy = func(*http.Request) (*url.URL, error) {
		if c.Proxy == "" {
			return nil, nil
		}
		return url.Parse(c.Proxy)
	}
	r, err := http.NewRequest(http.MethodGet, c.URL, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if c.Metadata {
		r.Header.Set("Metadata", "true")
	}
	answer, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(r)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := json.NewEncoder(os.Stdout).Encode(appAnswer{answer.StatusCode, answer.Header.Get("Bearerd-Error"), string(body)}); err != nil {
		return 1
	}
	return 0
}

// callAs makes a call as another user's process.
func callAs(t *testing.T, uid uint32, c appCall) (a appAnswer) {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe") // whose folder others may not enter
	cmd.Env = append(os.Environ(), roleVariable+"="+string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("the app: %v: %s", err, errs.String())
	}
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// Users that no machine has.
const (
	payrollUser  = 20_001
	reportsUser  = 20_002
	strangerUser = 20_003
)

const (
	payrollID = "00000000-0000-0000-0000-00000000000a"
	reportsID = "00000000-0000-0000-0000-00000000000b"
)

func twoIdentities() imdstest.Options {
	return imdstest.Options{NoSystem: true, Identities: []imdstest.Identity{
		{ClientID: payrollID, ObjectID: "00000000-0000-0000-0000-0000000000aa", ResourceID: "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/payroll"},
		{ClientID: reportsID, ObjectID: "00000000-0000-0000-0000-0000000000bb", ResourceID: "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/reports"},
	}}
}

const twoCallers = `routes:
  - {name: payroll, service: keyvault, hosts: [payroll.vault.azure.net], gateway: payroll, callers: {users: [20001]}, identity: {client_id: ` + payrollID + `}}
  - {name: reports, service: keyvault, hosts: [payroll.vault.azure.net], gateway: reports, callers: {users: [20002]}, identity: {client_id: ` + reportsID + `}}
`

// Two users get two identities on the same host, a third nothing, and neither
// does bearerd's own, however the call comes.
func TestEachCallerHasItsIdentity(t *testing.T) {
	if os.Geteuid() != 0 { // nobody else is at hand
		return
	}
	r := launch(t, twoIdentities(), publicCloud+"listen: [{address: \"127.0.0.1:0\"}, {address: \"[::1]:0\"}, {address: \"127.0.0.1:0\", mode: imds}]\n"+twoCallers)
	ways := map[string]appCall{
		"base URL":          {URL: "http://" + r.Addresses()[0] + "/payroll/secrets/db?api-version=7.4"},
		"base URL, IPv6":    {URL: "http://" + r.Addresses()[1] + "/reports/secrets/db?api-version=7.4"},
		"CONNECT":           {URL: "https://payroll.vault.azure.net/secrets/db?api-version=7.4", Proxy: "http://" + r.Addresses()[0], RootCA: string(r.Root().RootPEM())},
		"absolute-form URL": {URL: "http://payroll.vault.azure.net/secrets/db?api-version=7.4", Proxy: "http://" + r.Addresses()[0]},
	}
	for name, way := range ways {
		for uid, want := range map[uint32]string{payrollUser: payrollID, reportsUser: reportsID} {
			if a := callAs(t, uid, way); a.Status != http.StatusOK {
				t.Fatalf("%s, user %d: %+v", name, uid, a)
			}
			calls := r.cloud.Recorder.Requests()
			if got := calls[len(calls)-1].Caller.ClientID; got != want {
				t.Errorf("%s: user %d got the token of %s", name, uid, got)
			}
		}
		for _, uid := range []uint32{strangerUser, 0} {
			a := callAs(t, uid, way)
			if a.Status != http.StatusForbidden || a.Code != route.CodeCallerNotPermitted || !strings.Contains(a.Body, `"code":"BearerdCallerNotPermitted"`) || !strings.Contains(a.Body, "users 20001") {
				t.Errorf("%s, user %d: %+v", name, uid, a)
			}
		}
	}
	if text := r.log.String(); !strings.Contains(text, `"caller":"user=20003 cgroup=/`) || !strings.Contains(text, "own user root(0)") {
		t.Errorf("the log does not tell who was refused:\n%s", text)
	}
	_, metrics := r.get("http://" + r.AdminAddress() + "/metrics")
	if want := fmt.Sprintf(`bearerd_caller_refusals_total{route="payroll"} %d`, 2*len(ways)); !strings.Contains(metrics, want) {
		t.Errorf("no %s", want)
	}
}

// The same holds where tokens are handed out.
func TestEachCallerHasItsTokenInIMDSsMode(t *testing.T) {
	if os.Geteuid() != 0 { // nobody else is at hand
		return
	}
	r := launch(t, twoIdentities(), publicCloud+andIMDSsMode+twoCallers)
	ask := appCall{URL: "http://" + r.Addresses()[1] + "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net", Metadata: true}
	for uid, want := range map[uint32]string{payrollUser: payrollID, reportsUser: reportsID} {
		if a := callAs(t, uid, ask); a.Status != http.StatusOK || !strings.Contains(a.Body, `"client_id":"`+want+`"`) {
			t.Errorf("user %d: %d", uid, a.Status)
		}
		other := ask
		other.URL += "&client_id=" + map[string]string{payrollID: reportsID, reportsID: payrollID}[want]
		if a := callAs(t, uid, other); a.Status != http.StatusForbidden || strings.Contains(a.Body, "access_token") {
			t.Errorf("user %d asked for the other's: %d", uid, a.Status)
		}
	}
	for _, uid := range []uint32{strangerUser, 0} {
		if a := callAs(t, uid, ask); a.Status != http.StatusForbidden || !strings.Contains(a.Body, "access_denied") || strings.Contains(a.Body, "access_token") {
			t.Errorf("user %d: %d", uid, a.Status)
		}
	}
}

// A reload may take a connection's caller away, or let it in.
func TestReloadChangesWhoMayCall(t *testing.T) {
	if os.Geteuid() != 0 { // nobody else is at hand
		return
	}
	r := launch(t, twoIdentities(), publicCloud+anyPort+twoCallers)
	call := appCall{URL: "http://" + r.Addresses()[0] + "/payroll/secrets/db?api-version=7.4"}
	if a := callAs(t, strangerUser, call); a.Status != http.StatusForbidden {
		t.Errorf("%+v", a)
	}
	r.edit("users: [20001]", "groups: [20003]")
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if a := callAs(t, payrollUser, call); a.Status != http.StatusForbidden {
		t.Errorf("%+v", a)
	}
	r.edit("groups: [20003]", "users: [20003, 0]")
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if a := callAs(t, strangerUser, call); a.Status != http.StatusOK {
		t.Errorf("%+v", a)
	}
	if a := callAs(t, 0, call); a.Status != http.StatusForbidden {
		t.Errorf("%+v", a)
	}
	if !strings.Contains(r.log.String(), `"a route names bearerd's own user, which is never a caller; run bearerd as a user of its own","route":"payroll (routes[0])"`) {
		t.Error("nobody is told that root cannot call")
	}
}
