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
		template: template.Must(template.New("page").Parse(pageSource)),
		// Should a route's name ever get past the escaping, nothing that it
		// brings is run, loaded or sent.
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
}

// view is what the page's template sees.
type view struct {
	report
	now time.Time
}

// When gives a time and how far it is from now.
func (v view) When(t time.Time) string { return when(v.now, t) }

// FurtherHint tells people what to do about a token, unless its error does.
func (view) FurtherHint(t Token) string { return t.furtherHint() }

// servePage shows people what /status tells programs.
func (h *handler) servePage(w http.ResponseWriter, _ *http.Request) {
	now := h.o.Now()
	var body bytes.Buffer
	if err := h.page.template.Execute(&body, view{reportOf(h.o.Status(), now), now}); err != nil {
		panic("admin: the page does not fit the status: " + err.Error())
	}
	header := w.Header()
	header.Set("Content-Security-Policy", h.page.policy)
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	// A client that has gone away needs no answer.
	_, _ = body.WriteTo(w)
}

func when(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	text := t.UTC().Format(time.RFC3339)
	if d := t.Sub(now); d >= 0 {
		return text + " (in " + rough(d) + ")"
	}
	return text + " (" + rough(now.Sub(t)) + " ago)"
}

// rough gives a duration in its largest unit.
func rough(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	default:
		return fmt.Sprintf("%d s", d/time.Second)
	}
}
