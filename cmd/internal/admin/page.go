package admin

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // page.html
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"
)

//go:embed page.html
var pageSource string

// page is the status page and the policy that a browser holds it to.
type page struct {
	template *template.Template
	policy   string
}

func newPage() *page {
	_, rest, _ := strings.Cut(pageSource, "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	hash := sha256.Sum256([]byte(style))
	return &page{
		template: template.Must(template.New("page").Funcs(template.FuncMap{"bytes": showBytes}).Parse(pageSource)),
		// Should a route's name ever get past the escaping, nothing that it
		// brings is run, loaded or sent.
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
}

// view is what the page's template sees.
type view struct {
	report
	Now     time.Time
	Refresh int // seconds; 0: the page stays as it is
}

// moment is a time, and how far it is from now.
type moment struct {
	time.Time
	Far string
}

// When gives a time as people are told it.
func (v view) When(t time.Time) moment { return moment{t, v.Far(t)} }

// Far tells how far a time is from now.
func (v view) Far(t time.Time) string {
	switch d := t.Sub(v.Now); {
	case d >= time.Second:
		return "in " + roughly(d)
	case d <= -time.Second:
		return roughly(-d) + " ago"
	}
	return "now"
}

// life is what is left of a token.
type life struct {
	Token
	Percent int
}

// Life tells how much of a token's life is left: none, once it serves nobody.
func (v view) Life(t Token) life {
	whole, left := t.Expires.Sub(t.Obtained), t.Expires.Sub(v.Now)
	if !t.Usable || whole <= 0 || left <= 0 {
		return life{t, 0}
	}
	return life{t, int(min(left*100/whole, 100))}
}

// FurtherHint tells people what to do about a token, unless its error does.
func (view) FurtherHint(t Token) string { return t.furtherHint() }

// defaultRefresh is how often the page comes anew, unless it is asked for with
// ?refresh=off or ?refresh=SECONDS: whoever reads slowly, or by a screen reader,
// must be able to stop it.
const defaultRefresh = 15

func refreshOf(r *http.Request) int {
	asked := r.URL.Query().Get("refresh")
	if asked == "off" {
		return 0
	}
	if n, err := strconv.Atoi(asked); err == nil && n >= 1 && n <= 3600 {
		return n
	}
	return defaultRefresh
}

// servePage shows people what /status tells programs.
func (h *handler) servePage(w http.ResponseWriter, r *http.Request) {
	now := h.o.Now()
	v := view{report: reportOf(h.o.Status(), now), Now: now, Refresh: refreshOf(r)}
	var body bytes.Buffer
	if err := h.page.template.Execute(&body, v); err != nil {
		panic("admin: the page does not fit the status: " + err.Error())
	}
	header := w.Header()
	header.Set("Content-Security-Policy", h.page.policy)
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	if v.Refresh > 0 {
		header.Set("Refresh", strconv.Itoa(v.Refresh))
	}
	// A client that has gone away needs no answer.
	_, _ = body.WriteTo(w)
}

// showBytes gives a size in the unit that fits.
func showBytes(n uint64) string {
	if n < 10<<10 {
		return fmt.Sprintf("%d B", n)
	}
	size := float64(n)
	for _, unit := range []string{"KiB", "MiB", "GiB"} {
		if size /= 1024; size < 1024 {
			return fmt.Sprintf("%.1f %s", size, unit)
		}
	}
	return fmt.Sprintf("%.1f TiB", size/1024)
}
