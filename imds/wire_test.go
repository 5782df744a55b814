package imds_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds"
)

func TestForeignIdentityIsNotAskedFor(t *testing.T) {
	c := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("IMDS was asked") })
	_, err := c.Token(t.Context(), imds.Identity{Source: "workload"}, vault)
	if err == nil || !strings.Contains(err.Error(), "another source than IMDS") {
		t.Errorf("got %v", err)
	}
	c = serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, goodBody()) })
	if _, err := c.Token(t.Context(), imds.Identity{Source: imds.SourceIMDS}, vault); err != nil {
		t.Error(err)
	}
}

func TestAnswerDoesNotPrint(t *testing.T) {
	a := imds.Answer{Status: 200, Body: []byte(goodBody()), Header: http.Header{"X": {canary}}, Asked: time.Now()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, a) + fmt.Sprintf(verb, &a); got != "[answer][answer]" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

// The relatives of IMDS write their errors in other shapes. IMDS's own has one.
func TestErrorsOfRelatives(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":"invalid_request","error_description":"d"}`: "invalid_request (d)",
		`{"statusCode":400,"message":"d"}`:                    "(d)",
		`{"error":{"code":"c","message":"d"}}`:                "c (d)",
		`{"code":"c","message":"d"}`:                          "c (d)",
		`{"error":{"code":1}}`:                                "not the JSON of an error",
		"<html>":                                              "not the JSON of an error",
	} {
		answer := imds.Answer{Status: 503, Body: []byte(body)}
		_, err := answer.Token(imds.Identity{Source: "appservice"}, vault)
		if !strings.HasPrefix(err.Error(), "token for "+vault+" (appservice/system-assigned) from appservice: status 503") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", body, err, want)
		}
	}
}

func TestAdviceReplacesTheHint(t *testing.T) {
	e := &imds.Error{Class: imds.Throttled, Status: 429, Advice: "do this"}
	if e.Hint() != "do this" || !strings.HasSuffix(e.Error(), "; do this") {
		t.Errorf("got %v", e)
	}
}
