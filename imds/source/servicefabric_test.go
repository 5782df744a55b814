package source_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/source"
)

// Whoever else answers at the cluster's address would get the header's secret.
func TestServiceFabricCertificateIsPinned(t *testing.T) {
	r := place(t, source.ServiceFabric, good)
	t.Setenv("IDENTITY_SERVER_THUMBPRINT", strings.Repeat("ab", 20))
	failed := refused(t, r, imds.Identity{Source: source.ServiceFabric}, imds.Denied)
	if !strings.Contains(failed.Error(), "certificate is not the one") || len(r.seen()) != 0 {
		t.Errorf("got %v after %d calls", failed, len(r.seen()))
	}
	t.Setenv("IDENTITY_SERVER_THUMBPRINT", thumbprint(r.Certificate()))
	fetch(t, r, imds.Identity{Source: source.ServiceFabric})
}

func TestServiceFabricWantsAPinAndTLS(t *testing.T) {
	tests := []struct{ name, value, say string }{
		{"IDENTITY_ENDPOINT", "http://127.0.0.1:1/", "HTTPS"},
		{"IDENTITY_SERVER_THUMBPRINT", "ab", "SHA-1 certificate thumbprint"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			setenv(t, "IDENTITY_ENDPOINT", "https://127.0.0.1:1/", "IDENTITY_HEADER", "s", "IDENTITY_SERVER_THUMBPRINT", strings.Repeat("ab", 20), tt.name, tt.value)
			if _, err := source.Open(source.ServiceFabric, source.Options{}); err == nil || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("got %v, want %q", err, tt.say)
			}
		})
	}
	setenv(t, "IDENTITY_ENDPOINT", "https://127.0.0.1:1/", "IDENTITY_HEADER", "s", "IDENTITY_SERVER_THUMBPRINT", strings.Repeat("ab", 20))
	unpinnable := roundTripper(func(*http.Request) (*http.Response, error) { panic("asked") })
	if _, err := source.Open(source.ServiceFabric, source.Options{Local: unpinnable}); err == nil {
		t.Error("a transport that cannot be pinned was taken")
	}
}

// The pinned transport is a copy for one attempt: a connection that it kept
// would never be used again, nor closed.
func TestServiceFabricKeepsNoConnections(t *testing.T) {
	r := place(t, source.ServiceFabric, good)
	transport := &http.Transport{}
	s := open(t, source.ServiceFabric, source.Options{Local: transport})
	fetch(t, s, imds.Identity{Source: source.ServiceFabric}) // goleak sees a connection that stays
	if closing := r.seen()[0].header.Get("Connection"); closing != "close" {
		t.Errorf("the header Connection is %q", closing)
	}
}
