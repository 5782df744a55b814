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
		Version: text, Cloud: text, StartedAt: noon, Stopping: true,
		Listeners:  []Listener{{Address: text, Mode: text}},
		Routes:     []Route{{Name: text, Service: text, Hosts: []string{text, text}, Gateway: text, Identity: text, Audience: text, Required: true}},
		Tokens:     []Token{{Identity: text, Audience: text, State: text, Error: text, Class: text, Hint: text, Failures: 1}},
		Identities: []Identity{{Identity: text, Principal: Principal{text, text}, ChangedAt: noon, Previous: &Principal{text, text}}},
		IMDS:       IMDS{Endpoint: text, Rate: 1, PausedUntil: noon.Add(time.Hour)},
		Authority:  &Authority{Fingerprint: text, Expires: noon, Permitted: []string{text, text}},
		Config:     Config{Path: text, LastReloadError: text},
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
				case "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "ul", "li", "span", "table", "tbody", "tr", "th", "td", "a":
				default:
					t.Errorf("the page has a <%s>", e.Data)
				}
				for _, attr := range e.Attr {
					switch attr.Key {
					case "lang", "charset", "name", "content", "class", "colspan":
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
	// Every field once; the audience, identity, error, hint and address once
	// more in the reasons.
	if n := strings.Count(shown, text); n < 30 {
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
	for _, want := range []string{
		"bearerd 1.2.3: not ready", "the listener 127.0.0.1:8180 is not up",
		"explicit", "down", "IMDS at http://169.254.169.254: at most 5 calls a second.", vault, "2026-11-25T11:00:00Z (in 23 h)", "2026-11-24T11:00:00Z (60 min ago)",
		"misconfigured, 3 in a row", "correct the route's audience",
		"payroll.vault.azure.net", "keyvault", "/vault/", "AB:CD", "vault.azure.net",
		"Paused until 2026-11-24T12:01:30Z (in 90 s)", "A newer configuration was not taken: bearerd.yaml:3:5: what",
		"/etc/bearerd/bearerd.yaml", "(in 3653 days)",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not shown", want)
		}
	}
	if strings.Count(shown, "correct the route's audience") != 1 {
		t.Error("a hint that the error ends with is shown twice")
	}
	if strings.Contains(shown, "0001-01-01") {
		t.Error("a time that is not there is shown")
	}
}
