//go:build e2e

package e2e

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// Off Azure nobody answers for IMDS: routed calls get 503 in Azure's shape with
// Retry-After, the log says what to do, and what no route names keeps working.
func TestWithoutIMDS(t *testing.T) {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = w.Write([]byte("hello"))
	})
	d := env.Start(t, rig.Settings{
		Upstream: map[string]string{
			vaultHost:       env.CA.ServeTLS(t, bulk(), vaultHost),
			"plain.example": env.CA.ServeTLS(t, hello, "plain.example"),
		},
		Routes: vaultRoute,
		More:   "",
	})
	for _, s := range everySteering() {
		t.Run(s.name, func(t *testing.T) {
			a := curl(t, d, s, s.base(d, vaultHost, "vault")+"/secrets/db?api-version=7.4")
			if a.status != http.StatusServiceUnavailable || a.header.Get("Bearerd-Error") == "" {
				t.Fatalf("got %d %v\n%s\nwant our 503", a.status, a.header, a.body)
			}
			if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds < 1 {
				t.Errorf("Retry-After is %q, want seconds", a.header.Get("Retry-After"))
			}
			if e := rig.ParseAzureError(t, a.body); e.Error.Code != a.header.Get("Bearerd-Error") {
				t.Errorf("the code is %s in the body and %s in the header", e.Error.Code, a.header.Get("Bearerd-Error"))
			}
		})
	}
	unrouted := viaProxyVariables()
	a := curl(t, d, unrouted, "https://plain.example/", "--cacert", env.CAFile)
	if a.status != http.StatusOK || a.body != "hello" {
		t.Errorf("an unrouted call got %d %q, want to pass untouched", a.status, a.body)
	}
	if log := d.Out.String(); !strings.Contains(log, "IMDS") {
		t.Errorf("the log does not name IMDS:\n%s", log)
	}
}

// An IMDS whose clock is a day behind mints tokens that are expired on arrival
// for everybody else. bearerd goes by expires_in then, and the service's
// refusal reaches the app as the service's.
func TestExpiredTokenIsRefusedByTheService(t *testing.T) {
	past := func() time.Time { return time.Now().Add(-48 * time.Hour) }
	d := startForStorage(t, imdstest.Options{Now: past}, storageRoutes)
	for _, s := range everySteering() {
		t.Run(s.name, func(t *testing.T) {
			refusedByAzurite(t, d, s)
		})
	}
}
