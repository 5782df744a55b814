package route

import (
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/proxy/caller"
)

func users(ids ...uint32) (n caller.Names) {
	for _, id := range ids {
		n.Users = append(n.Users, caller.Account{Name: "u", ID: id})
	}
	return n
}

func as(uid uint32) *caller.Caller { return &caller.Caller{Known: true, UID: uid} }

// A route of the caller's own tells what is wrong with its call, rather than
// somebody else's that would take it.
func TestCallersDecide(t *testing.T) {
	table := compile(t,
		Rule{Name: "one", Service: "keyvault", Callers: users(1)},
		Rule{Name: "two", Service: "keyvault", Callers: users(2), Methods: []string{"GET"}},
	)
	for _, test := range []struct {
		who    *caller.Caller
		method string
		action Action
		route  string
		code   string
		reason string
	}{
		{as(1), "DELETE", Inject, "one", "", ""},
		{as(2), "GET", Inject, "two", "", ""},
		{as(2), "DELETE", Refuse, "two", CodeNotPermitted, "it takes GET only"},
		{as(3), "GET", Refuse, "one", CodeCallerNotPermitted, "the caller is user=3, and one (routes[0]) takes users u only; call as one of them"},
		{nil, "GET", Refuse, "one", CodeCallerNotPermitted, "the caller is unknown (nobody looked)"},
		{&caller.Caller{UID: 1, Unknown: "why"}, "GET", Refuse, "one", CodeCallerNotPermitted, "unknown (why)"},
	} {
		d := table.Decide(call(test.method+" "+vaultURL+"/secrets/db?api-version=7.4"), test.who, time.Now())
		if d.Action != test.action || d.Route.Name != test.route || d.Code != test.code || !strings.Contains(d.Reason, test.reason) {
			t.Errorf("%v, %s: %v by %s, %s: %s", test.who, test.method, d.Action, d.Route, d.Code, d.Reason)
		}
	}
}

// Whom a route is for says nothing about what they may do.
func TestCallersDoNotRestrictOperations(t *testing.T) {
	table := compile(t, Rule{Service: "keyvault", Callers: users(1)})
	if d := table.Decide(call("POST "+vaultURL+"/secrets/db/backup?api-version=7.4"), as(1), time.Now()); d.Action != Inject {
		t.Error(d.Reason)
	}
}

// What a call copies from, and what a batch holds, is its caller's too.
func TestSourcesAndPartsAreTheCallers(t *testing.T) {
	table := compile(t,
		Rule{Name: "from", Service: "storage", Hosts: []string{"other.blob.core.windows.net"}, Callers: users(1)},
		Rule{Name: "to", Service: "storage", Hosts: []string{"acct.blob.core.windows.net"}},
	)
	for uid, want := range map[uint32]bool{1: true, 2: false} {
		c := call("PUT https://acct.blob.core.windows.net/c/b?comp=page\nx-ms-copy-source: https://other.blob.core.windows.net/c/a")
		d := table.Decide(c, as(uid), time.Now())
		if d.Source.Authorised() != want {
			t.Errorf("user %d: authorised is %v", uid, !want)
		}
	}
	for uid, want := range map[uint32]Action{1: Inject, 2: Refuse} {
		part, batch := call("GET https://other.blob.core.windows.net/c/b"), call("POST https://other.blob.core.windows.net/?comp=batch")
		if d := table.DecideWithin(part, batch, as(uid), time.Now()); d.Action != want {
			t.Errorf("user %d: %v", uid, d.Action)
		}
	}
}
