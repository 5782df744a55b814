package source_test

import (
	"log"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// variables are all that say where a process is, and what MSAL reads besides.
var variables = []string{
	"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "MSI_ENDPOINT", "MSI_SECRET", "IMDS_ENDPOINT",
	"DEFAULT_IDENTITY_CLIENT_ID", "AZURE_POD_IDENTITY_AUTHORITY_HOST", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID",
	"AZURE_CLIENT_ID", "AZURE_AUTHORITY_HOST", "MSAL_FORCE_REGION", "REGION_NAME",
	"NO_PROXY", "no_proxy", "REQUEST_METHOD",
}

// TestMain clears the environment of all that the tests set, and has it name a
// proxy that nobody is. Package net/http reads it once, so it has to be there
// before the first call.
func TestMain(m *testing.M) {
	for _, name := range variables {
		if err := os.Unsetenv(name); err != nil {
			log.Fatal(err)
		}
	}
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		if err := os.Setenv(name, "http://127.0.0.1:1"); err != nil {
			log.Fatal(err)
		}
	}
	goleak.VerifyTestMain(m)
}
