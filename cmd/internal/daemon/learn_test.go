package daemon

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
)

// coarseRoutes take less than is called: none takes what writes.
const coarseRoutes = `routes:
  - {service: keyvault, hosts: [payroll.vault.azure.net], gateway: vault, methods: [GET], paths: [/secrets/*], required: true}
  - {service: storage, hosts: [other.blob.core.windows.net]}
  - {service: storage, hosts: [acct.blob.core.windows.net], gateway: blob}
  - {service: arm, methods: [GET], gateway: arm}
`

// call is one request of an application's.
type call struct {
	method, path string // behind the listener's address
	header       string // NAME: VALUE
	body         string
}

// do makes the call, and gives its status and body.
func (r *running) do(c call) (int, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), c.method, "http://"+r.Addresses()[0]+c.path, strings.NewReader(c.body))
	if err != nil {
		r.t.Fatal(err)
	}
	if name, value, ok := strings.Cut(c.header, ": "); ok {
		request.Header.Set(name, value)
	}
	answer, err := r.client.Do(request)
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

// traffic is what the applications do, each call with a token of the machine's.
func traffic() []call {
	return []call{
		{method: "GET", path: "/vault/secrets/db?api-version=7.4"},
		{method: "GET", path: "/vault/secrets?api-version=7.4"},
		{method: "PUT", path: "/vault/secrets/new?api-version=7.4", body: `{"value":"x"}`, header: "Content-Type: application/json"},
		{method: "PUT", path: "/blob/docs/a", body: "hello", header: "X-Ms-Blob-Type: BlockBlob"},
		{method: "GET", path: "/blob/docs/a", header: "Authorization: SharedKey acct:c2VjcmV0"},
		{method: "GET", path: "/arm/subscriptions?api-version=2022-12-01"},
	}
}

// Applications that the routes would refuse are learned, and then served by what
// was learned, which takes nothing else.
func TestLearnedRoutesTakeWhatWasSeenAndNothingElse(t *testing.T) {
	const frame = publicCloud + anyPort
	file := filepath.Join(t.TempDir(), "learned.yaml")
	r := launchLearning(t, imdstest.Options{}, frame+coarseRoutes, file)
	r.cloud.Blobs.SetBlob(azuretest.BlobHost, "docs", "b", "x")
	for _, c := range traffic() {
		if status, body := r.do(c); status >= 300 {
			t.Errorf("while learning, %s %s got %d %s", c.method, c.path, status, body)
		}
	}
	if s := r.shown(); s.Learning == nil || s.Learning.Kinds != len(traffic()) || s.Learning.File != file {
		t.Errorf("/status says %+v", s.Learning)
	}
	if _, page := r.get("http://" + r.AdminAddress() + "/metrics"); !strings.Contains(page, "bearerd_learning 1") {
		t.Error("/metrics does not tell")
	}
	if !strings.Contains(r.log.String(), "bearerd LEARNS") {
		t.Error("the log does not warn")
	}
	if err := r.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	learned, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"az role assignment create --role \"Key Vault Secrets Officer\" --assignee-object-id ",
		"az role assignment create --role \"Storage Blob Data Contributor\"",
		"az storage account update --name acct --allow-shared-key-access false",
		"a shared key: storage.blob.get at acct.blob.core.windows.net by an unknown caller, 1 call",
		"gateway: blob", "required: true",
	} {
		if !strings.Contains(string(learned), want) {
			t.Errorf("the file lacks %s", want)
		}
	}
	for _, secret := range []string{"c2VjcmV0", "api-version", "docs", "/secrets/new"} {
		if strings.Contains(string(learned), secret) {
			t.Errorf("the file tells %s", secret)
		}
	}

	r = launch(t, imdstest.Options{}, frame+string(learned))
	r.cloud.Blobs.SetBlob(azuretest.BlobHost, "docs", "b", "x")
	for _, c := range traffic() {
		if status, body := r.do(c); status >= 300 {
			t.Errorf("by what was learned, %s %s got %d %s", c.method, c.path, status, body)
		}
	}
	for _, c := range []call{
		{method: "DELETE", path: "/vault/secrets/new?api-version=7.4"},
		{method: "POST", path: "/vault/secrets/db/backup?api-version=7.4"},
		{method: "DELETE", path: "/blob/docs/a"},
		{method: "PUT", path: "/arm/subscriptions/x/resourceGroups/y?api-version=2021-04-01", body: "{}"},
	} {
		if status, body := r.do(c); status != http.StatusForbidden || !strings.Contains(body, "BearerdNotPermitted") {
			t.Errorf("by what was learned, %s %s got %d %s", c.method, c.path, status, body)
		}
	}
	if t.Failed() {
		t.Logf("learned:\n%s", learned)
	}
}

// Whom the routes do not name, and what does not carry the field that they
// require, gets no token while they learn either.
func TestLearningKeepsWhatIsNoOperation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "learned.yaml")
	r := launchLearning(t, imdstest.Options{}, publicCloud+anyPort+`routes:
  - {service: keyvault, hosts: [payroll.vault.azure.net], gateway: vault, callers: {users: [20001]}, methods: [GET]}
  - {service: storage, hosts: [acct.blob.core.windows.net], gateway: blob, require_header: {X-App: reports}}
`, file)
	for _, c := range []call{
		{method: "GET", path: "/vault/secrets/db?api-version=7.4"},
		{method: "PUT", path: "/vault/secrets/db?api-version=7.4", body: `{"value":"x"}`},
		{method: "GET", path: "/blob/docs/a"},
	} {
		if status, body := r.do(c); status != http.StatusForbidden {
			t.Errorf("%s %s got %d %s", c.method, c.path, status, body)
		}
	}
	if s := r.shown(); s.Learning.Kinds != 0 {
		t.Errorf("%d kinds of calls were learned from refusals", s.Learning.Kinds)
	}
}

// A report is written at any time, and one of before a restart is kept.
func TestEarlierReportIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "learned.yaml")
	write(t, file, []byte("of last week"))
	r := launchLearning(t, imdstest.Options{}, publicCloud+anyPort+vaultRoute, file)
	if status := r.secret(); status != http.StatusOK {
		t.Fatal(status)
	}
	if err := r.WriteLearned(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "- keyvault.secret.get # 1 call\n") {
		t.Errorf("the file says %q (%v)", text, err)
	}
	kept, err := filepath.Glob(file + ".*Z")
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept are %q (%v)", kept, err)
	}
	if text, err := os.ReadFile(kept[0]); err != nil || string(text) != "of last week" {
		t.Errorf("kept is %q (%v)", text, err)
	}
}

func TestLearningIntoNowhereDoesNotStart(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+anyPort+vaultRoute)
	_, err := Start(t.Context(), Options{Config: r.parse(), Log: io.Discard, Learn: filepath.Join(t.TempDir(), "none", "learned.yaml")})
	if err == nil || !strings.Contains(err.Error(), "name a file in a folder that bearerd may write to with --learn") {
		t.Errorf("the start says %v", err)
	}
}
