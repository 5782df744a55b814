package daemon

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
)

// A client of 2008 verifies a chain that is RSA throughout; one of today goes on
// getting ECDSA on the same listener.
func TestOldClientIsInterceptedWithRSA(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("this test runs openssl: ", err)
	}
	r := launch(t, imdstest.Options{}, publicCloud+vaultRoute+
		"listen: [{address: \"127.0.0.1:0\", tls: {min_version: \"1.0\", rsa: true}}, {address: \"127.0.0.1:0\"}]\n")
	roots := filepath.Join(t.TempDir(), "roots.pem")
	write(t, roots, r.Root().RootPEM())
	handshake := func(listener int, args ...string) (string, error) {
		args = append([]string{"s_client", "-proxy", r.Addresses()[listener], "-connect", "payroll.vault.azure.net:443", "-CAfile", roots,
			"-verify_return_error", "-verify_hostname", "payroll.vault.azure.net"}, args...)
		text, err := exec.CommandContext(t.Context(), openssl, args...).CombinedOutput()
		return string(text), err
	}
	old := []string{"-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0", "-noservername"} // key exchange by RSA
	for _, args := range [][]string{old, {"-tls1_1", "-cipher", "ECDHE-RSA-AES128-SHA:@SECLEVEL=0"}, {"-tls1_2", "-cipher", "AES256-GCM-SHA384"}} {
		text, err := handshake(0, args...)
		if err != nil || !strings.Contains(text, "Verify return code: 0 (ok)") || strings.Contains(text, "id-ecPublicKey") || !strings.Contains(text, "a:PKEY: rsaEncryption") {
			t.Errorf("%v: %v\n%s", args, err, text)
		}
	}
	if text, err := handshake(0, "-tls1_3"); err != nil || !strings.Contains(text, "id-ecPublicKey") {
		t.Errorf("a client of today: %v\n%s", err, text)
	}
	if text, err := handshake(1, old...); err == nil {
		t.Errorf("another listener took it:\n%s", text)
	}
}
