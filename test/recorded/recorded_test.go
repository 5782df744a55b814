package recorded

import (
	"bufio"
	"flag"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/proxy"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

const page = "../../docs/storage-clients.md"

var update = flag.Bool("update", false, "write "+page)

// The page that users read says what the table does, or this fails.
func TestReferenceIsUpToDate(t *testing.T) {
	var want strings.Builder
	if err := Reference(&want); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(page, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ReplaceAll(string(have), "\r\n", "\n") != want.String() {
		t.Errorf("%s differs from the table; run go test ./test/recorded -run Reference -update", page)
	}
}

// Every request gets the outcome that the table says, on a route that takes
// every call and on one that is restricted to what the request is understood as.
func TestOutcomes(t *testing.T) {
	cloud, ok := azure.CloudNamed("public")
	if !ok {
		t.Fatal("there is no public cloud")
	}
	for _, r := range Requests() {
		t.Run(r.Version+" "+r.Does, func(t *testing.T) {
			c := parse(t, &r)
			service, _ := cloud.Service("storage")
			op := service.OperationOf(c)
			if !op.Understood() {
				t.Fatalf("it is not understood: %s", op.Reason)
			}
			rules := []route.Rule{{Service: "storage"}}
			if r.Code == "" && !op.Carries() {
				// What is copied is read.
				rules = append(rules, route.Rule{Service: "storage", Operations: []string{op.Name, "storage.blob.get"}})
			}
			for _, rule := range rules {
				table, err := route.Compile([]route.Rule{rule}, cloud)
				if err != nil {
					t.Fatal(err)
				}
				check(t, &r, c, table.Decide(c, nil, time.Now()))
			}
		})
	}
}

func parse(t *testing.T, r *Request) *azure.Call {
	t.Helper()
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(r.Text("a-lease"))))
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := azure.NormalizeHost(req.Host)
	if err != nil {
		t.Fatal(err)
	}
	return &azure.Call{
		Method: req.Method, Scheme: req.URL.Scheme, Host: host, Port: port,
		Path: req.URL.EscapedPath(), Query: req.URL.RawQuery, Header: azure.Header(req.Header), Length: req.ContentLength,
	}
}

func check(t *testing.T, r *Request, c *azure.Call, d route.Decision) {
	t.Helper()
	if r.Code != "" {
		if d.Action != route.Refuse || d.Code != r.Code {
			t.Errorf("%v %s (%s), want a refusal with %s", d.Action, d.Code, d.Reason, r.Code)
		}
		return
	}
	if d.Action != route.Inject {
		t.Fatalf("%v: %s", d.Action, d.Reason)
	}
	want := map[string]string{"Authorization": "Bearer [token]"}
	if r.Upstream != r.Version {
		want["X-Ms-Version"] = r.Upstream
	}
	if name, value, ok := strings.Cut(r.Adds, ": "); ok {
		want[http.CanonicalHeaderKey(name)] = value
	}
	for _, change := range proxy.Explain(c, d) {
		if want[change.Name] != change.Value || change.Value == "" {
			t.Errorf("sets %s: %q, want %q", change.Name, change.Value, want[change.Name])
		}
		delete(want, change.Name)
	}
	if len(want) > 0 {
		t.Errorf("does not set %v", want)
	}
}

// A request that passes with a signature of its own is not touched, however old
// its client is.
func TestSignedRequestsKeepTheirVersion(t *testing.T) {
	cloud, _ := azure.CloudNamed("public")
	table, err := route.Compile([]route.Rule{{Service: "storage"}}, cloud)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range Requests() {
		c := parse(t, &r)
		c.Query = strings.TrimPrefix(c.Query+"&sv=2012-02-12&sp=rw&se=2099-01-01&sig=c2ln", "&")
		d := table.Decide(c, nil, time.Now())
		if changes := proxy.Explain(c, d); d.Action != route.Pass || len(changes) > 0 {
			t.Errorf("%s %s: %v (%s), changes %v", r.Version, r.Does, d.Action, d.Reason, changes)
		}
	}
}
