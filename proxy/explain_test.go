package proxy

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

func TestExplainTellsWhatForwardingDoes(t *testing.T) {
	cloud, _ := azure.CloudNamed("public")
	table, err := route.Compile(testRules(), cloud)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, host string
		header     http.Header
		want       string
	}{
		{"a token is attached", vaultHost, nil, "[{Authorization Bearer [token]}]"},
		{"a dead credential gives way", vaultHost, http.Header{"Authorization": {"Basic eDp5"}, "Proxy-Authorization": {"Basic eDp5"}},
			"[{Authorization Bearer [token]} {Proxy-Authorization }]"},
		{"Storage's version is raised", blobHost, http.Header{"X-Ms-Version": {"2011-08-18"}}, "[{Authorization Bearer [token]} {X-Ms-Version 2017-11-09}]"},
		{"no route", "example.com", http.Header{"Authorization": {"Basic eDp5"}}, "[]"},
	} {
		c := &azure.Call{Method: "GET", Scheme: "https", Host: tt.host, Port: 443, Path: "/x", Header: azure.Header(tt.header)}
		if got := fmt.Sprint(Explain(c, table.Decide(c, nil, time.Now()))); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestGatewayGivesTheUpstreamsCall(t *testing.T) {
	cloud, _ := azure.CloudNamed("public")
	table, err := route.Compile(testRules(), cloud)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/vault/secrets/x": "/secrets/x", "/vault/": "/", "/vault": "/"} {
		c := &azure.Call{Method: "GET", Scheme: "http", Host: "127.0.0.1", Port: 8180, Path: path, Query: "a=b"}
		got, ok := Gateway(c, Settings{Routes: table})
		if !ok || got.Scheme != "https" || got.Host != vaultHost || got.Port != 443 || got.Path != want || got.Query != "a=b" || got.Method != "GET" {
			t.Errorf("%s gave %+v, %v", path, got, ok)
		}
	}
	for _, path := range []string{"/", "/vaults/x", "//vault/x"} {
		if got, ok := Gateway(&azure.Call{Path: path}, Settings{Routes: table}); ok {
			t.Errorf("%s gave %+v", path, got)
		}
	}
}
