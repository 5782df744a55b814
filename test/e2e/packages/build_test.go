//go:build e2e && linux

package packages

import (
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

const (
	source  = "../../.."
	version = "1.2.3-4-gabcdef" // as git describes the fourth commit behind a tag
	epoch   = "1700000000"
)

// build makes the packages from a copy of the sources in another folder.
func build(t *testing.T, version string, env []string, architectures ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	from := filepath.Join(dir, "source")
	files := rig.Run(t, os.Environ(), source, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	for name := range strings.SplitSeq(strings.TrimSuffix(files, "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(source, name))
		if os.IsNotExist(err) {
			continue // removed, and not committed yet
		}
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(from, name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(from, name), text, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "dist")
	env = append(append(os.Environ(), "VERSION="+version, "SOURCE_DATE_EPOCH="+epoch), env...)
	rig.Run(t, env, from, "bash", append([]string{"deploy/package/build.sh", out}, architectures...)...)
	return out
}

// built makes the packages once for all tests.
func built(t *testing.T) map[string]string {
	t.Helper()
	once.Do(func() { packages = read(t, build(t, version, nil)) })
	if len(packages) == 0 {
		t.Fatal("the packages were not built")
	}
	return packages
}

var (
	once     sync.Once
	packages map[string]string // what is in dist, by name
)

func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found[e.Name()] = string(text)
	}
	return found
}

// file writes a package to a folder of its own.
func file(t *testing.T, name string) string {
	t.Helper()
	text, ok := built(t)[name]
	if !ok {
		t.Fatalf("no %s was built", name)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTwoBuildsAreEqual(t *testing.T) {
	first := built(t)
	second := read(t, build(t, version, []string{"TZ=Asia/Tokyo", "LC_ALL=C", "HOSTNAME=another", "USER=another"}))
	if len(first) != 8 || len(second) != 8 {
		t.Fatalf("%d and %d files, want two packages and a list of modules for two architectures, an image, and the sums", len(first), len(second))
	}
	for name, text := range first {
		if second[name] != text {
			t.Errorf("%s is another one: %x, then %x", name, sha256.Sum256([]byte(text)), sha256.Sum256([]byte(second[name])))
		}
	}
}

// wanted is in each package; the rest depends on the family.
var wanted = []string{
	"/usr/bin/bearerd",
	"/etc/bearerd/bearerd.yaml",
	"/usr/lib/systemd/system/bearerd.service",
	"/usr/lib/systemd/system/bearerd.socket",
	"/usr/lib/systemd/system/bearerd-redirect.service",
	"/usr/lib/systemd/system/bearerd-redirect-verify.service",
	"/usr/lib/systemd/system/bearerd-redirect-verify.timer",
	"/usr/lib/sysusers.d/bearerd.conf",
	"/usr/lib/tmpfiles.d/bearerd.conf",
	"/usr/share/man/man1/bearerd.1.gz",
	"/usr/share/bash-completion/completions/bearerd",
	"/usr/share/fish/vendor_completions.d/bearerd.fish",
	"/usr/share/doc/bearerd/copyright",
	"/usr/share/doc/bearerd/bearerd.cdx.json",
}

func TestDebianPackages(t *testing.T) {
	for _, architecture := range []string{"amd64", "arm64"} {
		path := file(t, "bearerd_1.2.3+4.gabcdef_"+architecture+".deb")
		if text := rig.Run(t, os.Environ(), "", "dpkg-deb", "--field", path, "Architecture", "Depends"); text != "Architecture: "+architecture+"\nDepends: ca-certificates, systemd\n" {
			t.Errorf("%s says:\n%s", architecture, text)
		}
		list := strings.Fields(rig.Run(t, os.Environ(), "", "dpkg-deb", "--contents", path))
		for _, want := range append(wanted, "/usr/share/zsh/vendor-completions/_bearerd") {
			if !slices.Contains(list, "."+want) {
				t.Errorf("%s has no %s", architecture, want)
			}
		}
		root := t.TempDir()
		rig.Run(t, os.Environ(), "", "dpkg-deb", "--extract", path, root)
		if text := rig.Run(t, os.Environ(), "", "go", "version", "-m", filepath.Join(root, "usr/bin/bearerd")); !strings.Contains(text, "GOARCH="+architecture) {
			t.Errorf("the program is not for %s:\n%s", architecture, text)
		}
	}
}

func TestRPMPackages(t *testing.T) {
	for _, architecture := range []string{"x86_64", "aarch64"} {
		path := file(t, "bearerd-1.2.3+4.gabcdef-1."+architecture+".rpm")
		list := strings.Fields(rig.Run(t, os.Environ(), "", "rpm", "-qpl", path))
		for _, want := range append(wanted, "/usr/share/zsh/site-functions/_bearerd") {
			if !slices.Contains(list, want) {
				t.Errorf("%s has no %s", architecture, want)
			}
		}
		if text := rig.Run(t, os.Environ(), "", "rpm", "-qp", "--queryformat", "%{ARCH} %{BUILDTIME}", path); text != architecture+" "+epoch {
			t.Errorf("it says %q", text)
		}
		root := t.TempDir()
		// The machine that builds has neither these dependencies by RPM's names nor, for arm64, the processor.
		rig.Run(t, os.Environ(), "", "rpm", "--root", root, "--install", "--nodeps", "--noscripts", "--ignorearch", path)
		if text := rig.Run(t, os.Environ(), "", "rpm", "--root", root, "--verify", "--nodeps", "bearerd"); text != "" {
			t.Errorf("what is installed differs:\n%s", text)
		}
		if text := rig.Run(t, os.Environ(), "", "rpm", "--root", root, "--query", "--configfiles", "bearerd"); text != "/etc/bearerd/bearerd.yaml\n" {
			t.Errorf("files that are kept: %q", text)
		}
	}
}

// The list of modules is that of the program, as the Go command tells it.
func TestModulesAreListed(t *testing.T) {
	var list struct {
		Format     string `json:"bomFormat"`
		Spec       string `json:"specVersion"`
		Components []struct{ Name, Version, PURL string }
	}
	if err := json.Unmarshal([]byte(built(t)["bearerd_1.2.3+4.gabcdef_amd64.cdx.json"]), &list); err != nil {
		t.Fatal(err)
	}
	if list.Format != "CycloneDX" || list.Spec != "1.5" {
		t.Errorf("it is %s %s", list.Format, list.Spec)
	}
	var have []string
	for _, c := range list.Components[1:] {
		have = append(have, c.Name+"@"+c.Version)
		if want := "pkg:golang/" + c.Name + "@" + strings.ReplaceAll(c.Version, "+", "%2B"); c.PURL != want {
			t.Errorf("%s has %s, want %s", c.Name, c.PURL, want)
		}
	}
	if list.Components[0].Name != "std" {
		t.Errorf("the first is %s", list.Components[0].Name)
	}
	root := t.TempDir()
	rig.Run(t, os.Environ(), "", "dpkg-deb", "--extract", file(t, "bearerd_1.2.3+4.gabcdef_amd64.deb"), root)
	var want []string
	for line := range strings.Lines(rig.Run(t, os.Environ(), "", "go", "version", "-m", filepath.Join(root, "usr/bin/bearerd"))) {
		if f := strings.Fields(line); f[0] == "dep" {
			want = append(want, f[1]+"@"+f[2])
		}
	}
	if len(want) < 10 || !slices.Equal(have, want) {
		t.Errorf("it lists\n%q\nthe program has\n%q", have, want)
	}
}
