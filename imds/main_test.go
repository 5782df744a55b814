package imds

import (
	"log"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain has the environment name a proxy that nobody is. Package net/http
// reads it once, so it has to be there before the first call.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		if err := os.Setenv(name, "http://127.0.0.1:1"); err != nil {
			log.Fatal(err)
		}
	}
	for _, name := range []string{"NO_PROXY", "no_proxy", "REQUEST_METHOD"} {
		if err := os.Unsetenv(name); err != nil {
			log.Fatal(err)
		}
	}
	goleak.VerifyTestMain(m)
}
