//go:build e2e && linux

package packages

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

const (
	configFile = "/etc/bearerd/bearerd.yaml"
	groupsURL  = "http://127.0.0.1:8180/arm/subscriptions?api-version=2022-12-01"
	secretURL  = "https://" + azuretest.VaultHost + "/secrets/db?api-version=7.4"
)

// files are those that do not come and go by themselves.
func files(m *rig.Machine) []string {
	return strings.Fields(m.Run("find", "/", "-xdev", "(", "-path", "/var/log", "-o", "-path", "/var/cache", "-o", "-path", "/tmp", "-o", "-path", "/root",
		"-o", "-path", "/var/tmp", "-o", "-path", "/var/lib/systemd", "-o", "-path", "/var/lib/apt", ")", "-prune", "-o", "-print"))
}

// Three commands, and no file edited: install, start, call.
func TestNewcomerOnDebian(t *testing.T) {
	m := rig.NewMachine(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"azure", "get"} {
		m.Copy(program, "/opt/"+name, 0o755)
	}
	m.Copy(file(t, "bearerd_1.2.3+4.gabcdef_amd64.deb"), "/root/bearerd.deb", 0o644)
	upgrade := filepath.Join(build(t, "1.3.0", nil, "amd64"), "bearerd_1.3.0_amd64.deb")
	m.Copy(upgrade, "/root/upgrade.deb", 0o644)
	m.Write("/etc/systemd/system/azure.service", "[Service]\nType=notify\nExecStartPre=/usr/sbin/ip addr add "+imdsAddress+"/32 dev lo\n"+
		"ExecStartPre=/usr/sbin/ip addr add "+serviceAddress+"/32 dev lo\nExecStart=/opt/azure\n", 0o644)
	m.Boot()
	m.Run("systemctl", "start", "azure.service")
	before := files(m)

	m.Run("apt-get", "install", "--yes", "/root/bearerd.deb")
	if state, _ := m.Try("systemctl", "is-enabled", "bearerd.service", "bearerd-redirect.service"); state != "disabled\ndisabled\n" {
		t.Errorf("installing has enabled: %q", state)
	}
	m.Run("systemctl", "enable", "--now", "bearerd")
	if text := m.Run("/opt/get", groupsURL); !strings.Contains(text, azuretest.Subscription) {
		t.Errorf("Resource Manager says %s", text)
	}

	// By proxy variable, with the root that the installed program gives.
	m.Run("bearerd", "ca", "export", "--out", "/etc/bearerd/root.pem")
	if text := m.Run("/opt/get", secretURL, "http://127.0.0.1:8180", "/etc/bearerd/root.pem"); !strings.Contains(text, secretText) {
		t.Errorf("the vault says %s", text)
	}
	m.Run("bearerd", "ca", "install")
	root := strings.TrimSpace(m.Run("cat", "/etc/bearerd/root.pem"))
	if roots := m.Run("cat", "/etc/ssl/certs/ca-certificates.crt"); !strings.Contains(roots, root) {
		t.Error("the system does not trust the authority")
	}
	m.Run("bash", "-n", "/usr/share/bash-completion/completions/bearerd")

	upgrades(t, m)
	purges(t, m, root, before)
}

// upgrades replaces the program under its callers and keeps what was edited.
func upgrades(t *testing.T, m *rig.Machine) {
	text, err := os.ReadFile(filepath.Join(m.Root, configFile))
	if err != nil {
		t.Fatal(err)
	}
	edited := string(text) + "log: {access: all}\n"
	m.Write(configFile, edited, 0o644)
	pid := m.Run("systemctl", "show", "--value", "--property", "MainPID", "bearerd.service")
	m.Run("apt-get", "install", "--yes", "/root/upgrade.deb")
	if now := m.Run("systemctl", "show", "--value", "--property", "MainPID", "bearerd.service"); now == pid {
		t.Error("the former program still runs")
	}
	if text := m.Run("bearerd", "version"); !strings.HasPrefix(text, "bearerd 1.3.0 ") {
		t.Errorf("it is %s", text)
	}
	if text, err := os.ReadFile(filepath.Join(m.Root, configFile)); err != nil || string(text) != edited {
		t.Errorf("the configuration was not kept: %v\n%s", err, text)
	}
	if state := m.Run("systemctl", "is-enabled", "bearerd.service", "bearerd.socket"); state != "enabled\nenabled\n" {
		t.Errorf("after the upgrade: %q", state)
	}
	m.Run("/opt/get", groupsURL)
}

// purges leaves the user alone: its number must not be given to another one.
func purges(t *testing.T, m *rig.Machine, root string, before []string) {
	m.Run("apt-get", "remove", "--yes", "bearerd")
	if _, err := os.Stat(filepath.Join(m.Root, configFile)); err != nil {
		t.Errorf("removing has not kept the configuration: %v", err)
	}
	if text, err := m.Try("/opt/get", groupsURL); err == nil {
		t.Errorf("removed, it still answers %s", text)
	}
	// Of the system's roots, too: the list of files does not show what is in them.
	if roots := m.Run("cat", "/etc/ssl/certs/ca-certificates.crt"); strings.Contains(roots, root) {
		t.Error("the system still trusts the authority")
	}
	m.Run("apt-get", "purge", "--yes", "bearerd")
	for _, file := range files(m) {
		if !slices.Contains(before, file) && !strings.HasSuffix(file, "-") && file != "/etc/.pwd.lock" {
			t.Errorf("%s is left", file)
		}
	}
	if text := m.Run("systemctl", "list-units", "--all", "--failed", "--plain", "--no-legend", "bearerd*"); text != "" {
		t.Errorf("units are left:\n%s", text)
	}
	m.Run("getent", "passwd", "bearerd")
}
