//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// browser is Debian's Chromium without a window.
type browser struct {
	width, height int
	dark          bool
}

// dump opens an address and gives what has become of the page.
func (b browser) dump(t *testing.T, url string) string {
	t.Helper()
	return b.run(t, url, "--hide-scrollbars", "--virtual-time-budget=10000", "--dump-dom")
}

// picture opens an address and writes what a person sees to a file.
func (b browser) picture(t *testing.T, url, file string) {
	t.Helper()
	b.run(t, url, "--hide-scrollbars", "--screenshot="+file)
}

func (b browser) run(t *testing.T, url string, args ...string) string {
	t.Helper()
	scheme := "1"
	if b.dark {
		scheme = "0"
	}
	argv := append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir=" + t.TempDir(), fmt.Sprintf("--window-size=%d,%d", b.width, b.height), "--blink-settings=preferredColorScheme=" + scheme,
		"--log-level=3",
	}, args...)
	return rig.Run(t, env.BaseEnv(), "", "chromium", append(argv, url)...)
}

// browsers are the sizes and colours that the page is judged in.
var browsers = map[string]browser{
	"light": {width: 1280, height: 2200},
	"dark":  {width: 1280, height: 2200, dark: true},
	"phone": {width: 390, height: 4200},
	"wide":  {width: 2200, height: 1400, dark: true},
}

// A person who is called at night sees what is wrong, in light and dark, on a
// phone, by keyboard and by screen reader. Where E2E_PICTURES names a folder, it
// is left with what each browser shows.
func TestStatusPageInABrowser(t *testing.T) {
	for name, prepare := range map[string]func(*testing.T) *rig.Daemon{"well": wellDaemon, "troubled": troubledDaemon, "hundred": hundredRoutes} {
		t.Run(name, func(t *testing.T) {
			d := prepare(t)
			page := rig.Get(t, d.Admin+"/?refresh=off")
			d.Saw(page)
			for view, b := range browsers {
				t.Run(view, func(t *testing.T) {
					judge(t, b, page)
					if dir := os.Getenv("E2E_PICTURES"); dir != "" {
						b.picture(t, d.Admin+"/?refresh=off", filepath.Join(dir, name+"-"+view+".png"))
					}
				})
			}
			// As it comes from bearerd, under its own policy.
			if dom := (browser{width: 1280, height: 1600}).dump(t, d.Admin+"/?refresh=off"); !strings.Contains(dom, "</footer>") {
				t.Errorf("the browser did not get the page whole:\n%s", dom)
			}
		})
	}
}

func wellDaemon(t *testing.T) *rig.Daemon {
	d := env.Start(t, rig.Settings{
		IMDS:     rig.StartIMDS(t, imdstest.Options{}),
		Upstream: map[string]string{vaultHost: env.CA.ServeTLS(t, bulk(), vaultHost)},
		Routes:   vaultRoute,
	})
	curl(t, d, viaBaseURL(), d.URL+"/vault/secrets/x?bytes=100000")
	return d
}

// troubledDaemon is throttled, has an expired token, one that cannot be had, a
// configuration that it did not take, and callers that it refused.
func troubledDaemon(t *testing.T) *rig.Daemon {
	imds := rig.StartIMDS(t, imdstest.Options{})
	imds.Script(
		imdstest.Altered(func(answer map[string]any) { answer["expires_in"], answer["expires_on"] = "31", "0" }).On("https://vault.azure.net").Always(),
		imdstest.Refused(http.StatusBadRequest, "invalid_resource", "AADSTS500011: <b>no</b> such resource").On("https://storage.azure.com/").Always(),
	)
	d := env.Start(t, rig.Settings{
		IMDS:     imds,
		Upstream: map[string]string{vaultHost: env.CA.ServeTLS(t, bulk(), vaultHost)},
		Routes: `
  - {service: keyvault, hosts: [payroll.vault.azure.net], gateway: vault, methods: [GET]}
  - {service: storage, hosts: [acct.blob.core.windows.net], gateway: blob}
`,
	})
	curl(t, d, viaBaseURL(), d.URL+"/vault/secrets/x?bytes=10")
	curl(t, d, viaBaseURL(), d.URL+"/vault/secrets/x?sig="+rig.CallerCredential, "--request", "DELETE")
	curl(t, d, viaBaseURL(), d.URL+"/blob/c/b")
	imds.Clear()
	imds.Script(imdstest.Throttled(imdstest.Seconds(120)).Always())
	text, err := os.ReadFile(d.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.Config, append(text, "own: perhaps\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	rig.Try(t, env.BaseEnv(), "", "curl", "--silent", "--request", "POST", d.Admin+"/-/reload")
	rig.Eventually(t, "the token has expired and IMDS throttles", func() error {
		page := rig.Get(t, d.Admin+"/")
		for _, want := range []string{">expired<", ">throttled<", "was not taken", "BearerdNotPermitted", "GET only", "invalid_resource"} {
			if !strings.Contains(page, want) {
				return fmt.Errorf("%q is not on the page:\n%s", want, page)
			}
		}
		return nil
	})
	return d
}

func hundredRoutes(t *testing.T) *rig.Daemon {
	var routes strings.Builder
	for i := range 100 {
		fmt.Fprintf(&routes, "  - {name: team-%d, service: keyvault, hosts: [team-%d.vault.azure.net, other-%d.vault.azure.net], methods: [GET]}\n", i, i, i)
	}
	return env.Start(t, rig.Settings{IMDS: rig.StartIMDS(t, imdstest.Options{}), Routes: routes.String()})
}

// checker has axe-core, the checker of browsers' accessibility tools, look at the
// page around it, and tells the page that frames it what was found.
const checker = `<script src="axe.min.js"></script><script>
axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then(r => parent.postMessage(JSON.stringify({
  passes: r.passes.length, width: innerWidth, needed: document.documentElement.scrollWidth,
  dark: matchMedia("(prefers-color-scheme: dark)").matches,
  contrast: r.passes.filter(p => p.id === "color-contrast").reduce((n, p) => n + p.nodes.length, 0),
  problems: r.violations.concat(r.incomplete).flatMap(v => v.nodes.map(n => v.id + ": " + n.html.slice(0, 200) + " " + (n.failureSummary || ""))),
}), "*"));
</script>`

// frame shows the page as wide as is wanted: Chromium's own windows are 500
// pixels wide at least.
const frame = `<!DOCTYPE html><meta name="color-scheme" content="light dark"><script>
addEventListener("message", e => {
  const said = document.createElement("pre");
  said.id = "said";
  said.textContent = e.data;
  document.body.append(said);
});
</script><body><iframe src="page.html" style="border: 0; width: %dpx; height: %dpx"></iframe>`

// judge finds what is hard to perceive or to operate, and what would have to be
// scrolled for sideways. The page runs no script under bearerd's policy, so the
// checker is put into a copy.
func judge(t *testing.T, b browser, page string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"page.html":  strings.Replace(strings.ReplaceAll(page, "<details>", "<details open>"), "</body>", checker+"</body>", 1),
		"frame.html": fmt.Sprintf(frame, b.width, b.height),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(env.NPM, "node_modules", "axe-core", "axe.min.js"), filepath.Join(dir, "axe.min.js")); err != nil {
		t.Fatal(err)
	}
	dom := b.dump(t, "file://"+filepath.Join(dir, "frame.html"))
	found := regexp.MustCompile(`(?s)<pre id="said">(.*?)</pre>`).FindStringSubmatch(dom)
	if found == nil {
		t.Fatalf("the checker said nothing:\n%s", dom)
	}
	var said struct {
		Passes, Width, Needed, Contrast int
		Dark                            bool
		Problems                        []string
	}
	if err := json.Unmarshal([]byte(html.UnescapeString(found[1])), &said); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rules passed, the contrast of %d texts among them; %d of %d pixels wide", said.Passes, said.Contrast, said.Needed, said.Width)
	for _, p := range said.Problems {
		t.Error(p)
	}
	if said.Passes < 20 || said.Contrast < 20 {
		t.Error("too little was looked at")
	}
	if said.Width != b.width || said.Needed > said.Width {
		t.Errorf("the page is %d pixels wide where there are %d, which was to be %d", said.Needed, said.Width, b.width)
	}
	if said.Dark != b.dark {
		t.Errorf("it was shown in dark: %t", said.Dark)
	}
}
