package route

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/proxy/azure"
)

// A call that its service would not take with a token is refused wherever a
// token would be attached, and nowhere else.
func TestOutdatedClients(t *testing.T) {
	part := base64.RawURLEncoding.EncodeToString
	live := "\nAuthorization: Bearer " + part([]byte(`{"alg":"none"}`)) + "." + part([]byte(`{"exp":9999999999}`)) + "."
	const atom = "GET https://acct.table.core.windows.net/Tables\nX-Ms-Version: 2011-08-18\nAccept: application/atom+xml"
	cloud, _ := azure.CloudNamed("public")
	for _, test := range []struct {
		name, request string
		own           Own
		want          Action
		code          string
	}{
		{"no credential", atom, OwnPass, Refuse, CodeClientTooOld},
		{"a dead key", atom + "\nAuthorization: SharedKeyLite acct:c2ln", OwnRefuse, Refuse, CodeClientTooOld},
		{"a live token that is replaced", atom + live, OwnReplace, Refuse, CodeClientTooOld},
		{"a live token that passes", atom + live, OwnPass, Pass, ""},
		{"a live token that is refused", atom + live, OwnRefuse, Refuse, CodeOwnCredential},
		{"a signature that passes", strings.Replace(atom, "/Tables", "/t?sv=2011-08-18&sig=c2ln", 1), OwnPass, Pass, ""},
	} {
		table, err := Compile([]Rule{{Service: "storage", Own: test.own}}, cloud)
		if err != nil {
			t.Fatal(err)
		}
		d := table.Decide(call(test.request), nil, time.Now())
		if d.Action != test.want || d.Code != test.code || d.Route == nil || d.Operation.Name == "" {
			t.Errorf("%s: %v %s (%s), want %v %s", test.name, d.Action, d.Code, d.Reason, test.want, test.code)
		}
		if d.Code == CodeClientTooOld && !strings.Contains(d.Reason, "storage (routes[0]) takes the call, but its client speaks Atom") {
			t.Errorf("%s: %s", test.name, d.Reason)
		}
	}
}
