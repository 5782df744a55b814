package imds_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds"
)

func TestStatusTellsTheClass(t *testing.T) {
	const (
		notFound = `{"error":"invalid_request","error_description":"Identity not found"}`
		several  = `{"error":"invalid_request","error_description":"Multiple user assigned identities exist, please specify the clientId"}`
	)
	tests := []struct {
		name   string
		status int
		body   string
		class  imds.Class
		hint   string // a part of it
	}{
		{"unknown audience", 400, `{"error":"invalid_resource","error_description":"AADSTS50001"}`, imds.Misconfigured, "route's audience"},
		{"no identity", 400, notFound, imds.NotAssigned, "az vm identity assign"},
		{"no identity, in other words", 400, `{"error":"invalid_request","error_description":"nobody"}`, imds.NotAssigned, "az vm identity assign"},
		{"several identities", 400, several, imds.Misconfigured, "several identities"},
		{"no header Metadata", 400, `{"error":"bad_request_102","error_description":"Required metadata header not specified"}`, imds.Misconfigured, "does not understand"},
		{"a page", 400, "<html>", imds.Misconfigured, "does not understand"},
		{"unknown source", 401, `{"error":"unknown_source"}`, imds.Denied, "something else answers"},
		{"not allowed", 401, `{"error":"unauthorized_client"}`, imds.Denied, "check the identity"},
		{"access denied", 401, `{"error":"access_denied"}`, imds.Denied, "check the identity"},
		{"a gateway", 403, "unreachable", imds.Denied, "not an Azure machine"},
		{"restarting", 404, "", imds.Updating, "asks again"},
		{"updating", 410, "", imds.Updating, "asks again"},
		{"throttled", 429, `{"error":"too_many"}`, imds.Throttled, "whole machine"},
		{"throttled, by a page", 429, "<html>", imds.Throttled, "whole machine"},
		{"failing", 500, `{"error":"unknown","error_description":"Failed to retrieve token"}`, imds.Unavailable, "passing failure"},
		{"failing with a code that means more elsewhere", 500, notFound, imds.Unavailable, "passing failure"},
		{"a proxy", 502, "<html>", imds.Unavailable, "proxy"},
		{"failing", 503, "", imds.Unavailable, "passing failure"},
		{"a slow proxy", 504, "<html>", imds.Unavailable, "proxy"},
		{"a proxy that wants a password", 407, "", imds.Malformed, "proxies in between"},
		{"no method", 405, "", imds.Malformed, "something else"},
		{"created", 201, goodBody(), imds.Malformed, "something else"},
		{"no content", 204, "", imds.Malformed, "something else"},
		{"an error in another shape", 503, `{"error":{"code":"x","message":"` + canary + `"}}`, imds.Unavailable, "passing failure"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			})
			failed := fetch(t, c, tt.class)
			if failed.Status != tt.status || failed.RetryAfter != 0 {
				t.Errorf("got status %d and a wait of %s", failed.Status, failed.RetryAfter)
			}
			if !strings.Contains(failed.Hint(), tt.hint) {
				t.Errorf("the hint is %q, want %q in it", failed.Hint(), tt.hint)
			}
		})
	}
}

// What IMDS says gets into logs and to people. It may be long, forge log lines,
// steer terminals, or quote a token.
func TestForeignWordsAreTamed(t *testing.T) {
	const token = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJhIn0.c2lnbmF0dXJl"
	body := `{"error":"bad\ncode\u001b[31m","error_description":"line\r\n\u2028\u202eforged ` + token + ` \ud83d\ude80 ` + strings.Repeat("ä", 5000) + `"}`
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, body)
	})
	failed := fetch(t, c, imds.Unavailable)
	if strings.Contains(failed.Error(), token) || strings.Contains(failed.Error(), "eyJ") {
		t.Errorf("the token is in %q", failed)
	}
	if len(failed.Description) > 520 || len(failed.Error()) > 1200 {
		t.Errorf("%d bytes of description, %d of error", len(failed.Description), len(failed.Error()))
	}
	if strings.ContainsAny(failed.Error(), "\r\n\x1b\u2028\u202e\ufffd") {
		t.Errorf("got %q", failed)
	}
	if !strings.HasPrefix(failed.Description, "line") || !strings.Contains(failed.Description, "🚀 ää") {
		t.Errorf("the description is %q", failed.Description)
	}
	if failed.Code != "bad code [31m" {
		t.Errorf("the code is %q", failed.Code)
	}
}

func TestErrorTellsWhatAndWhoseAndWhy(t *testing.T) {
	failed := &imds.Error{
		Class: imds.Misconfigured, Status: 400, Code: "invalid_resource", Description: "AADSTS50001: no such resource",
		Audience: "https://typo.example", Identity: imds.Identity{ClientID: "c"},
	}
	const want = "token for https://typo.example (client_id:c) from IMDS: status 400 invalid_resource (AADSTS50001: no such resource); correct the route's audience"
	if got := failed.Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestRetryAfterIsRead(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	if failed := fetch(t, c, imds.Unavailable); failed.RetryAfter != 3*time.Second {
		t.Errorf("got %s", failed.RetryAfter)
	}
}

func TestClassesHaveNames(t *testing.T) {
	seen := make(map[string]bool)
	for c := imds.Unavailable; c <= imds.Malformed; c++ {
		name := c.String()
		if seen[name] || strings.Contains(name, "(") {
			t.Errorf("class %d is called %q", c, name)
		}
		seen[name] = true
	}
	if got := imds.Class(200).String(); got != "Class(200)" {
		t.Errorf("got %q", got)
	}
}
