package trust

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// distribution is a system of one family, whose tool makes the store from what
// is in the folder.
type distribution struct {
	t      *testing.T
	dir    string
	folder string
	tool   string
	ran    []string // for what: "update", or "forget" where the tool is told that files are gone
	fails  error
}

func (d *distribution) run(_ context.Context, name string, args ...string) error {
	what := "update"
	if i := slices.Index(args, "--certsconf"); i >= 0 {
		what = "forget"
		conf, err := os.ReadFile(args[i+1])
		if err != nil || string(conf) != "mozilla/a.crt\n\n!bearerd.crt\n!bearerd-2.crt\n!bearerd-3.crt\n!bearerd-4.crt\n!bearerd-5.crt\n!bearerd-6.crt\n!bearerd-7.crt\n!bearerd-8.crt\n" {
			d.t.Errorf("the tool's configuration is %q, %v", conf, err)
		}
		args = args[:i]
	}
	d.ran = append(d.ran, what)
	if got := strings.Join(append([]string{name}, args...), " "); got != d.tool {
		d.t.Errorf("%q was run, want %q", got, d.tool)
	}
	return d.fails
}

func (d *distribution) system() *System { return &System{Dir: d.dir, Run: d.run} }

// installed gives what the folder holds, as PEM.
func (d *distribution) installed() (files []string, content string) {
	d.t.Helper()
	entries, err := os.ReadDir(filepath.Join(d.dir, d.folder))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(d.dir, d.folder, entry.Name()))
		if err != nil {
			d.t.Fatal(err)
		}
		files, content = append(files, entry.Name()), content+string(text)
	}
	return files, content
}

func TestSystemOfEachFamily(t *testing.T) {
	for name, test := range map[string]struct {
		has          []string // folders
		folder, tool string
	}{
		"Debian":               {[]string{"usr/share/ca-certificates", "usr/local/share/ca-certificates"}, "usr/local/share/ca-certificates", "update-ca-certificates"},
		"Debian, none of ours": {[]string{"usr/share/ca-certificates"}, "usr/local/share/ca-certificates", "update-ca-certificates"},
		"Alpine":               {[]string{"usr/local/share/ca-certificates"}, "usr/local/share/ca-certificates", "update-ca-certificates"},
		"RHEL":                 {[]string{"etc/pki/ca-trust/source/anchors", "usr/share/pki"}, "etc/pki/ca-trust/source/anchors", "update-ca-trust extract"},
		"SUSE":                 {[]string{"etc/pki/trust/anchors", "usr/share/ca-certificates"}, "etc/pki/trust/anchors", "update-ca-certificates"},
		"Arch":                 {[]string{"etc/ca-certificates/trust-source"}, "etc/ca-certificates/trust-source/anchors", "update-ca-trust"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &distribution{t: t, dir: t.TempDir(), folder: test.folder, tool: test.tool}
			if err := os.MkdirAll(filepath.Join(d.dir, "etc"), 0o755); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(d.dir, "etc", "ca-certificates.conf"), []byte("mozilla/a.crt\n"))
			for _, folder := range test.has {
				if err := os.MkdirAll(filepath.Join(d.dir, folder), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			first, second := ours(t), ours(t)
			both := Roots{append(first.certs, second.certs...)}
			for _, roots := range []Roots{first, first, both, second, both} {
				want := []string{"bearerd-2.crt", "bearerd.crt"}[2-len(roots.certs):]
				files, err := d.system().Install(t.Context(), roots)
				if err != nil || len(files) != len(want) || files[0] != filepath.Join(d.dir, test.folder, "bearerd.crt") {
					t.Fatalf("installed as %q, %v", files, err)
				}
				names, content := d.installed()
				if got, err := Parse([]byte(content)); !slices.Equal(names, want) || err != nil || len(got.certs) != len(want) || !slices.ContainsFunc(got.certs, roots.certs[0].Equal) {
					t.Fatalf("the folder holds %q, %v:\n%s", names, err, content)
				}
			}
			for _, want := range []int{2, 0} {
				if files, err := d.system().Uninstall(t.Context()); err != nil || len(files) != want {
					t.Errorf("uninstalled %q, %v", files, err)
				}
				if files, _ := d.installed(); len(files) > 0 {
					t.Errorf("left: %q", files)
				}
			}
			want := strings.Fields("update update update forget update forget update forget forget")
			if test.tool != "update-ca-certificates" || strings.HasPrefix(test.folder, "etc/") {
				want = slices.Repeat([]string{"update"}, len(want))
			}
			if !slices.Equal(d.ran, want) {
				t.Errorf("the tool was run to %q, want %q", d.ran, want)
			}
		})
	}
}

func TestSystemTellsWhatWentWrong(t *testing.T) {
	nothing := &System{Dir: t.TempDir()}
	if _, err := nothing.Install(t.Context(), ours(t)); err == nil || !strings.Contains(err.Error(), "bearerd ca export") {
		t.Errorf("an unknown system gives %v", err)
	}
	d := &distribution{t: t, dir: t.TempDir(), folder: "usr/local/share/ca-certificates", tool: "update-ca-certificates", fails: errors.New("no space")}
	for _, folder := range []string{d.folder, "etc"} {
		if err := os.MkdirAll(filepath.Join(d.dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(d.dir, "etc", "ca-certificates.conf"), []byte("mozilla/a.crt\n"))
	if _, err := d.system().Install(t.Context(), ours(t)); err == nil || !strings.Contains(err.Error(), "no space") || !strings.HasSuffix(err.Error(), "install it again") {
		t.Errorf("a tool that fails gives %v", err)
	}
	if _, err := d.system().Uninstall(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "uninstall it again") {
		t.Errorf("a tool that fails gives %v", err)
	}
	d.fails = nil
	if _, err := d.system().Uninstall(t.Context()); err != nil || len(d.ran) != 3 {
		t.Errorf("a second try gives %v after %q", err, d.ran)
	}
	// What the tool said is told, and nothing else of it shown.
	if err := runTool(t.Context(), "sh", "-c", "echo why >&2; exit 3"); err == nil || err.Error() != "sh: exit status 3: why" {
		t.Errorf("got %v", err)
	}
}
