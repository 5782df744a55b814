package admin

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// hostile fills every text of a status with what would break out of a page, and
// gives how many it filled.
func hostile(text string) Status {
	return Status{
		Version: text, Go: text, Platform: text, Cloud: text, StartedAt: noon, Stopping: true,
		Listeners:  []Listener{{Address: text, Mode: text, Certificate: &Certificate{Expires: noon, Error: text}}},
		Routes:     []Route{{Name: text, Service: text, Hosts: []string{text, text}, Gateway: text, Identity: text, Audience: text, Required: true}},
		Tokens:     []Token{{Identity: text, Audience: text, State: text, Error: text, Class: text, Hint: text, Failures: 1}},
		Identities: []Identity{{Identity: text, Principal: Principal{text, text}, ChangedAt: noon, Previous: &Principal{text, text}}},
		IMDS:       IMDS{Endpoint: text, Rate: 1, PausedUntil: noon.Add(time.Hour)},
		Authority:  &Authority{Fingerprint: text, Expires: noon, Permitted: []string{text, text}},
		Refusals:   []Refusal{{Code: text, Status: 403, Route: text, Caller: text, Reason: text, Cure: text, Count: 1, First: noon, Last: noon}},
		Config:     Config{Path: text, LastReloadError: text, Settings: []Setting{{Key: text, Value: text}}},
		Learning:   &Learning{File: text, Since: noon, Dropped: 1},
	}
}

// nodes gives every element of the page, and its text.
func nodes(tb testing.TB, page string) (elements []*html.Node, text string) {
	tb.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		tb.Fatal(err)
	}
	var all strings.Builder
	for n := range root.Descendants() {
		switch n.Type {
		case html.ElementNode:
			elements = append(elements, n)
		case html.TextNode:
			all.WriteString(n.Data)
		}
	}
	return elements, all.String()
}

// The page runs no script and loads nothing, whatever the configuration and
// IMDS's answers hold.
func TestPageIsClosed(t *testing.T) {
	for name, s := range map[string]Status{
		"healthy": healthy(),
		"empty":   {},
		"hostile": hostile(`</style></td></title><script src=https://evil.example/x.js>alert(1)</script><img src=//evil.example onerror=alert(1)>"'{{.}}` + "`"),
	} {
		t.Run(name, func(t *testing.T) {
			g := startTCP(t)
			g.set(func(status *Status) { *status = s })
			a := g.send("GET", "/")
			if a.status != 200 || a.header.Get("Content-Type") != "text/html; charset=utf-8" {
				t.Fatalf("%d %v", a.status, a.header)
			}
			elements, _ := nodes(t, a.body)
			for _, e := range elements {
				switch e.Data {
				case "html", "head", "meta", "title", "style", "body", "header", "main", "section", "footer", "nav", "h1", "h2", "p", "ul", "li", "span", "small", "code",
					"table", "caption", "thead", "tbody", "tr", "th", "td", "a", "meter", "time", "details", "summary":
				default:
					t.Errorf("the page has a <%s>", e.Data)
				}
				for _, attr := range e.Attr {
					switch attr.Key {
					case "lang", "charset", "name", "content", "class", "id", "role", "scope", "data-label", "datetime", "aria-label", "aria-labelledby", "min", "max", "low", "high", "optimum", "value":
					case "href":
						if !strings.HasPrefix(attr.Val, "/") || strings.HasPrefix(attr.Val, "//") {
							t.Errorf("a link leads to %q", attr.Val)
						}
					default:
						t.Errorf("<%s> has the attribute %s", e.Data, attr.Key)
					}
				}
			}
		})
	}
}

// The style that a browser is sent is the one that the policy allows, and
// nothing else is.
func TestPagePolicy(t *testing.T) {
	a := startTCP(t).send("GET", "/")
	_, rest, _ := strings.Cut(a.body, "<style>")
	style, _, ok := strings.Cut(rest, "</style>")
	if !ok {
		t.Fatal("no style")
	}
	hash := sha256.Sum256([]byte(style))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if got := a.header.Get("Content-Security-Policy"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Every text is shown, as it is.
func TestPageShowsHostileTextsAsText(t *testing.T) {
	const text = `<b>"x"</b>&amp;`
	g := startTCP(t)
	g.set(func(s *Status) { *s = hostile(text) })
	_, shown := nodes(t, g.send("GET", "/").body)
	// Every field once; the audience, identity, error, hint and addresses once
	// more in the troubles.
	if n := strings.Count(shown, text); n < 44 {
		t.Errorf("shown %d times", n)
	}
}

func TestPageShowsWhatStatusTells(t *testing.T) {
	g := startTCP(t)
	g.set(func(s *Status) {
		s.IMDS.PausedUntil = noon.Add(90 * time.Second)
		s.Config.LastReloadError = "bearerd.yaml:3:5: what"
		s.Listeners[0].Up = false
	})
	_, shown := nodes(t, g.send("GET", "/").body)
	shown = strings.ReplaceAll(shown, "\n", "")
	for _, want := range []string{
		"bearerd: not ready", "Version 1.2.3 (go1.26.8, linux/amd64)", "the listener 127.0.0.1:8180 is not up",
		"explicit", "down", "at most 5 calls a second", vault, "95 % left", "in 23 h 2026-11-25 11:00:00 UTC", "60 min ago (2026-11-24 11:00:00 UTC)",
		"misconfigured, 3 in a row", "correct the route's audience",
		"payroll.vault.azure.net", "keyvault", "at /vault/", "20.0 KiB", "AB:CD", "vault.azure.net",
		"403 BearerdNotPermitted", "payroll(1001)", "it takes GET only",
		"throttled, not asked until 2026-11-24 12:01:30 UTC (in 90 s)", "a newer configuration was not taken: bearerd.yaml:3:5: what",
		"/etc/bearerd/bearerd.yaml", "ownpassdefault", "in 3653 days",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not shown", want)
		}
	}
	// Once among the troubles, and once in the table.
	if n := strings.Count(shown, "correct the route's audience"); n != 2 {
		t.Errorf("a hint that the error ends with is shown %d times", n)
	}
	if strings.Contains(shown, "0001-01-01") {
		t.Error("a time that is not there is shown")
	}
}

// Whoever reads slowly can stop the page from coming anew.
func TestPageRefreshes(t *testing.T) {
	g := startTCP(t)
	for target, want := range map[string]string{"/": "15", "/?refresh=off": "", "/?refresh=60": "60", "/?refresh=0": "15", "/?refresh=1;url=//evil.example": "15"} {
		a := g.send("GET", target)
		if got := a.header.Get("Refresh"); got != want {
			t.Errorf("%s: Refresh is %q, want %q", target, got, want)
		}
		if offers := strings.Contains(a.body, `href="/?refresh=off"`); offers != (want != "") {
			t.Errorf("%s: the page offers to stop: %t", target, offers)
		}
	}
}

func TestTroubles(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(*Status)
		want Trouble
	}{
		"a token that serves and is not renewed": {func(s *Status) { s.Tokens[0].Error, s.Tokens[0].Failures = "x", 2 },
			Trouble{false, "the token for https://vault.azure.net (system-assigned) is not renewed; it serves until it ends, in 23 h"}},
		"throttled": {func(s *Status) { s.IMDS.PausedUntil = noon.Add(time.Minute) },
			Trouble{false, "IMDS throttles the machine; it is asked again in 60 s; look for other programs that ask it"}},
		"restrictions do not hold": {func(s *Status) { s.Learning = &Learning{File: "/f", Since: noon, Kinds: 7} },
			Trouble{false, "bearerd learns since 2026-11-24T12:00:00Z: what the routes say of methods, paths and operations does not hold; 7 kinds of calls are remembered for /f, and 0 calls found no room"}},
		"nobody has looked at the rules": {func(s *Status) { s.Redirect = &Redirect{InPlace: true, Checked: noon.Add(-time.Hour)} },
			Trouble{false, "nobody has looked at the rules of redirect since 2026-11-24T11:00:00Z; run `bearerd redirect verify` as root, from a timer"}},
		"no certificate": {func(s *Status) { s.Listeners[0].Certificate = &Certificate{Error: "x; do y"} },
			Trouble{true, "the certificate of 127.0.0.1:8180: x; do y"}},
		"a certificate at its end": {func(s *Status) { s.Listeners[0].Certificate = &Certificate{Expires: noon.Add(time.Hour)} },
			Trouble{true, "the certificate of 127.0.0.1:8180 expires in 60 min"}},
		"an authority at its end": {func(s *Status) { s.Authority = &Authority{Expires: noon.AddDate(0, 0, 30)} },
			Trouble{true, "the authority expires in 30 days; run `bearerd ca stage`, and have the apps trust what `bearerd ca export` gives"}},
	} {
		s := healthy()
		s.Tokens = s.Tokens[:1]
		if got := reportOf(s, noon).Troubles; len(got) != 0 {
			t.Fatalf("a healthy daemon has %v", got)
		}
		tt.edit(&s)
		if got := reportOf(s, noon).Troubles; len(got) != 1 || got[0] != tt.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
