//go:build e2e

package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// Debian's own tools, curl and requests, with nothing but the proxy variable:
// they trust the authority while it is installed, the renewed one in its place
// after that, and then the store is as it was.
func TestSystemTrustsTheAuthorityWhileItIsInstalled(t *testing.T) {
	d, cloud := startForCloud(t, azuretest.Options{}, vaultRoute)
	cloud.Vault.SetSecret(vaultHost, "x", "value")
	text := rig.Run(t, append(env.BaseEnv(), "HTTPS_PROXY="+d.URL), "", "unshare", "--mount", "bash", filepath.Join(env.Source, "testdata", "install.sh"),
		env.Bin, d.Config, "https://"+vaultHost+"/secrets/x?api-version=7.4", strconv.Itoa(http.StatusOK))
	if !strings.HasSuffix(text, "ok\n") {
		t.Errorf("the script did not say ok:\n%s", text)
	}
	if _, err := os.Stat("/usr/local/share/ca-certificates/bearerd.crt"); err == nil {
		t.Error("the machine's own store was changed")
	}
}
