package source_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/source"
)

func TestDetect(t *testing.T) {
	const set = "https://127.0.0.1:1/"
	tests := []struct {
		want  string
		names string
		msal  managedidentity.Source
	}{
		{source.IMDS, "", managedidentity.DefaultToIMDS},
		{source.IMDS, "IDENTITY_ENDPOINT", managedidentity.DefaultToIMDS},
		{source.IMDS, "IDENTITY_HEADER MSI_SECRET IDENTITY_SERVER_THUMBPRINT IMDS_ENDPOINT AZURE_CLIENT_ID", managedidentity.DefaultToIMDS},
		{source.AppService, "IDENTITY_ENDPOINT IDENTITY_HEADER", managedidentity.AppService},
		{source.AppService, "IDENTITY_ENDPOINT IDENTITY_HEADER MSI_ENDPOINT MSI_SECRET IMDS_ENDPOINT", managedidentity.AppService},
		{source.ServiceFabric, "IDENTITY_ENDPOINT IDENTITY_HEADER IDENTITY_SERVER_THUMBPRINT", managedidentity.ServiceFabric},
		{source.AzureML, "MSI_ENDPOINT MSI_SECRET", managedidentity.AzureML},
		{source.AzureML, "MSI_ENDPOINT MSI_SECRET IDENTITY_ENDPOINT IMDS_ENDPOINT", managedidentity.AzureML},
		{source.CloudShell, "MSI_ENDPOINT", managedidentity.CloudShell},
		{source.Arc, "IDENTITY_ENDPOINT IMDS_ENDPOINT", managedidentity.AzureArc},
		{source.Workload, "AZURE_FEDERATED_TOKEN_FILE AZURE_TENANT_ID", managedidentity.DefaultToIMDS},
		{source.Workload, "AZURE_FEDERATED_TOKEN_FILE AZURE_TENANT_ID IDENTITY_ENDPOINT IDENTITY_HEADER", managedidentity.AppService},
		{source.IMDS, "AZURE_FEDERATED_TOKEN_FILE", managedidentity.DefaultToIMDS},
	}
	for _, tt := range tests {
		t.Run(tt.names, func(t *testing.T) {
			for name := range strings.FieldsSeq(tt.names) {
				t.Setenv(name, set)
			}
			if got := source.Detect(nil); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			// What is detected is what MSAL will ask.
			if got, err := managedidentity.GetSource(); got != tt.msal || err != nil {
				t.Errorf("MSAL finds %s and %v, want %s", got, err, tt.msal)
			}
		})
	}
	t.Run("of another environment", func(t *testing.T) {
		if got := source.Detect(func(name string) string { return map[string]string{"MSI_ENDPOINT": "x"}[name] }); got != source.CloudShell {
			t.Errorf("got %s", got)
		}
	})
}

// MSAL takes no source by name. One that it does not find must not be opened,
// for it would ask another.
func TestSourceThatTheEnvironmentDoesNotSpeakOfIsRefused(t *testing.T) {
	for _, name := range source.Names() {
		_, err := source.Open(name, source.Options{})
		if name == source.AzureCLI { // found when it is run
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := source.Open("nowhere", source.Options{}); err == nil || !strings.Contains(err.Error(), "name one of appservice, arc,") {
		t.Errorf("got %v", err)
	}
	setenv(t, "IDENTITY_ENDPOINT", "http://127.0.0.1:1/", "IDENTITY_HEADER", "app-secret")
	_, err := source.Open(source.Arc, source.Options{})
	if err == nil || !strings.Contains(err.Error(), "MSAL finds AppService") || !strings.HasSuffix(err.Error(), "or name the source appservice") || strings.Contains(err.Error(), "app-secret") {
		t.Errorf("got %v", err)
	}
}

func TestEndpointsThatAreNone(t *testing.T) {
	t.Setenv("IDENTITY_HEADER", "app-secret")
	for text, say := range map[string]string{
		"127.0.0.1:1":                         "IDENTITY_ENDPOINT in the environment: it has to be a URL",
		"ftp://127.0.0.1/":                    "has to be a URL",
		"http:///x":                           "has to be a URL",
		"http://u:hunter2@127.0.0.1/":         "has to be a URL",
		"http://169.254.169.254/metadata":     "name the source imds",
		"http://169.254.169.254:80/":          "name the source imds",
		"http://[::ffff:169.254.169.254]:80/": "name the source imds",
	} {
		t.Setenv("IDENTITY_ENDPOINT", text)
		_, err := source.Open(source.AppService, source.Options{})
		if err == nil || !strings.Contains(err.Error(), say) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %q", text, err, say)
		}
	}
}

// machine is an IMDS that keeps whom it was asked for.
type machine struct{ asked []imds.Identity }

func (m *machine) Token(_ context.Context, id imds.Identity, _ string) (*imds.Token, error) {
	m.asked = append(m.asked, id)
	return nil, errors.New("asked")
}

func TestMuxAsksTheIdentitysSource(t *testing.T) {
	r := place(t, source.CloudShell, good)
	setenv(t, "AZURE_FEDERATED_TOKEN_FILE", tokenFile(t, "assertion-1"), "AZURE_TENANT_ID", tenant, "AZURE_CLIENT_ID", clientID)
	var m machine
	var entra int
	mux := source.NewMux(&m, source.Options{Entra: roundTripper(counted(&entra))})
	for _, id := range []imds.Identity{{}, {Source: source.IMDS, ClientID: clientID}} {
		if _, err := mux.Token(t.Context(), id, vault); err == nil || err.Error() != "asked" {
			t.Errorf("%v: got %v", id, err)
		}
	}
	fetch(t, mux, imds.Identity{Source: source.CloudShell})
	fetch(t, mux, imds.Identity{Source: source.CloudShell})
	refused(t, mux, imds.Identity{Source: source.Workload}, imds.Unavailable)
	if len(m.asked) != 2 || len(r.seen()) != 2 || entra != 1 {
		t.Errorf("IMDS was asked for %v, Cloud Shell %d times, Entra %d times", m.asked, len(r.seen()), entra)
	}
}

// The same id means somebody else elsewhere, or the machine's identity if it
// means nobody.
func TestForeignIdentityIsNeverSentToIMDS(t *testing.T) {
	for _, name := range append(source.Names()[1:], "nowhere", "Imds", " ") {
		var m machine
		mux := source.NewMux(&m, source.Options{})
		t.Setenv("PATH", t.TempDir()) // no az
		refused(t, mux, imds.Identity{Source: name}, imds.Misconfigured)
		if len(m.asked) != 0 {
			t.Errorf("IMDS was asked for %s's identity", name)
		}
	}
}

func TestMuxOpensASourceThatCameLate(t *testing.T) {
	mux := source.NewMux(&machine{}, source.Options{})
	failed := refused(t, mux, imds.Identity{Source: source.CloudShell}, imds.Misconfigured)
	if !strings.Contains(failed.Error(), "MSI_ENDPOINT alone") {
		t.Errorf("got %v", failed)
	}
	e := newEndpoint(t, false, good)
	t.Setenv("MSI_ENDPOINT", e.URL)
	fetch(t, mux, imds.Identity{Source: source.CloudShell})
}
