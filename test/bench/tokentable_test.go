package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
)

// tokenFigures are what the table says of one client.
type tokenFigures struct {
	name                              string
	cold, updating, throttled, outage outcome
	hit                               hit
}

// The token clients on one emulated IMDS, by injected time. What bearerd
// promises is required; the others' figures are only told.
func TestTokenClients(t *testing.T) {
	onlyIMDS(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var all []tokenFigures
	for _, c := range tokenClients() {
		f := tokenFigures{
			name: c.name, cold: coldStart(t, key, c), updating: updating(t, key, c),
			throttled: throttled(t, key, c), outage: outage(t, key, c),
		}
		if f.hit, err = measureHit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
		if c.name == cacheName {
			checkPromises(t, f)
		}
	}
	var text strings.Builder
	if err := writeTokenTable(&text, all); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s\n%s", strings.Join(append(describeMachine(t.Context(), "../.."), "command: go test -run TestTokenClients -v"), "\n"), text.String())
}

// checkPromises holds bearerd to what its documents say.
func checkPromises(t *testing.T, f tokenFigures) {
	t.Helper()
	for _, p := range []struct {
		kept bool
		of   string
	}{
		{f.cold.calls == 1 && f.cold.failed == 0 && f.cold.asked == crowd, "a cold start of many callers is one call, and all are served"},
		{f.cold.last == answerTime, "all are served when that call is answered"},
		{f.updating.first >= 0 && f.updating.first <= imdstest.Updating+10*time.Second, "the token is there within 10 s of the end of a 410"},
		{f.updating.calls >= 7 && f.updating.calls <= 20, "a 410 is asked about for as long as it lasts, and not at speed"},
		{f.throttled.failed == 0 && f.throttled.expired == 0, "no call fails through throttling while there is a token"},
		{f.throttled.slowest == 0, "nor does one wait"},
		{f.throttled.calls >= 1 && f.throttled.calls <= 10, "in throttling IMDS is asked at most once a minute"},
		{f.throttled.recovered >= 0 && f.throttled.recovered < time.Hour-throttleTime-26*time.Minute, "it recovers before the token ends"},
		{f.outage.failed == 0 && f.outage.expired == 0, "no call fails through an outage while there is a token"},
		{f.outage.slowest == 0, "nor does one wait"},
		{f.outage.recovered >= 0 && f.outage.recovered < time.Hour, "it recovers before the token ends"},
		{f.hit.allocations == 0, "a hit allocates nothing"},
	} {
		if !p.kept {
			t.Errorf("bearerd does not keep it: %s", p.of)
		}
	}
	if t.Failed() {
		t.Logf("%+v", f)
	}
}

// onlyIMDS hides from the clients what the machine of the tests may have of
// other sources.
func onlyIMDS(t testing.TB) {
	for _, name := range []string{"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET"} {
		t.Setenv(name, "")
	}
}

func BenchmarkTokenHit(b *testing.B) {
	onlyIMDS(b)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range tokenClients() {
		b.Run(benchmarkName(c), func(b *testing.B) { benchmarkHit(b, key, c) })
	}
}

func benchmarkName(c tokenClient) string { return strings.ReplaceAll(c.name, " ", "_") }

// hit is what one costs.
type hit struct {
	nanoseconds float64
	allocations int
}

// measureHit runs a client's benchmark in a process of its own, since a hit of
// MSAL costs more with each token that the process has had.
func measureHit(ctx context.Context, c tokenClient) (h hit, err error) {
	self, err := os.Executable()
	if err != nil {
		return h, err
	}
	text, err := exec.CommandContext(ctx, self, "-test.run=^$", "-test.bench=^BenchmarkTokenHit$/^"+benchmarkName(c)+"$").CombinedOutput()
	if err != nil {
		return h, fmt.Errorf("measure a hit of %s: %w\n%s", c.name, err, text)
	}
	return parseHit(string(text))
}

// parseHit reads what the one benchmark says.
func parseHit(text string) (h hit, err error) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 8 || f[3] != "ns/op" || f[7] != "allocs/op" {
			continue
		}
		var err1, err2 error
		h.nanoseconds, err1 = strconv.ParseFloat(f[2], 64)
		h.allocations, err2 = strconv.Atoi(f[6])
		return h, errors.Join(err1, err2)
	}
	return h, fmt.Errorf("the benchmark gave no figures:\n%s", text)
}

// benchmarkHit is a caller that finds a token, by the real clock.
func benchmarkHit(b *testing.B, key *rsa.PrivateKey, c tokenClient) {
	server := imdstest.New(imdstest.Options{Key: key, Limits: documented})
	get := c.open(b, server, "https://"+strings.ToLower(rand.Text())+".example")
	ctx := b.Context()
	if _, err := get(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := get(ctx); err != nil {
			b.Fatal(err)
		}
	}
	if calls := server.Stats().Calls; calls != 1 {
		b.Fatalf("%d calls of IMDS, want the first alone: it was no hit that was measured", calls)
	}
}

// writeTokenTable writes the figures, a row for each and a column for a client.
func writeTokenTable(w io.Writer, all []tokenFigures) error {
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	row := func(name string, figure func(tokenFigures) string) {
		fmt.Fprintf(tw, "| %s\t", name)
		for _, f := range all {
			fmt.Fprintf(tw, "| %s\t", figure(f))
		}
		fmt.Fprintln(tw, "|")
	}
	row("", func(f tokenFigures) string { return f.name })
	row("---", func(tokenFigures) string { return "---" })
	row(fmt.Sprintf("%d callers at once, no token: calls of IMDS", crowd), func(f tokenFigures) string {
		return fmt.Sprintf("%d, of them %d refused by its limits", f.cold.calls, f.cold.refused)
	})
	row("served", func(f tokenFigures) string { return fmt.Sprint(f.cold.asked - f.cold.failed) })
	row("the last of them after", func(f tokenFigures) string { return brief(f.cold.last) })
	row("410 for 70 s, no token: calls of IMDS in it", func(f tokenFigures) string { return fmt.Sprint(f.updating.calls) })
	row("callers that get none within 10 s", func(f tokenFigures) string { return failures(f.updating) })
	row("the first is served after", func(f tokenFigures) string { return brief(f.updating.first) })
	row("429 for 10 min, a token at hand: calls of IMDS in it", func(f tokenFigures) string { return fmt.Sprint(f.throttled.calls) })
	row("callers that get none within 10 s", func(f tokenFigures) string { return failures(f.throttled) })
	row("the longest that one waits", func(f tokenFigures) string { return brief(f.throttled.slowest) })
	row("IMDS's next token after its end", func(f tokenFigures) string { return brief(f.throttled.recovered) })
	row("503 for 11 h, a token at hand: calls of IMDS in it", func(f tokenFigures) string { return fmt.Sprint(f.outage.calls) })
	row("callers that get none within 10 s", func(f tokenFigures) string { return failures(f.outage) })
	row("the longest that one waits", func(f tokenFigures) string { return brief(f.outage.slowest) })
	row("IMDS's next token after its end", func(f tokenFigures) string { return brief(f.outage.recovered) })
	row("a hit (of an SDK client: its whole call)", func(f tokenFigures) string {
		return fmt.Sprintf("%.0f ns, %d allocations", f.hit.nanoseconds, f.hit.allocations)
	})
	return tw.Flush()
}

// failures tells how many callers got no token, or one that had expired.
func failures(o outcome) string {
	if o.expired == 0 {
		return fmt.Sprintf("%d of %d", o.failed, o.asked)
	}
	return fmt.Sprintf("%d of %d, and %d got an expired token", o.failed, o.asked, o.expired)
}

// brief is a time for people.
func brief(d time.Duration) string {
	switch {
	case d < 0:
		return "never"
	case d < time.Minute:
		return fmt.Sprintf("%.3g s", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

func TestParseHit(t *testing.T) {
	const good = "goos: linux\nBenchmarkTokenHit/MSAL-2   \t  286238\t       870.7 ns/op\t      90 B/op\t       5 allocs/op\nPASS\n"
	if h, err := parseHit(good); err != nil || h != (hit{870.7, 5}) {
		t.Errorf("got %+v, %v", h, err)
	}
	for _, text := range []string{"PASS\n", strings.Replace(good, " allocs/op", "", 1), strings.Replace(good, "870.7", "fast", 1)} {
		if _, err := parseHit(text); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
}
