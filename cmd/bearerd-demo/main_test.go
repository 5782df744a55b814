package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/test/azuretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStoryHolds(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(nil, &out, &errs); code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, &out, &errs)
	}
	if strings.Contains(out.String(), "eyJ") {
		t.Errorf("the story shows a token:\n%s", &out)
	}
}

// A step that does not hold ends the story, and the log is shown.
func TestStoryTellsWhatFailed(t *testing.T) {
	var out bytes.Buffer
	broken := step{"this never holds", func(s *story, ctx context.Context) (string, error) {
		_, _, err := s.call(ctx, s.direct, http.StatusTeapot, http.MethodGet, s.url+"/nowhere", "")
		return "", err
	}}
	err := tellStory(t.Context(), "127.0.0.1:0", &out, []step{broken})
	if err == nil || !strings.Contains(out.String(), "FAILED: GET http") || !strings.Contains(err.Error(), "BearerdUnknownGateway") {
		t.Errorf("got %v\n%s", err, &out)
	}
}

func TestMistakesInFlags(t *testing.T) {
	for _, args := range [][]string{{"--frobnicate"}, {"extra"}} {
		if code := run(args, io.Discard, io.Discard); code != 2 {
			t.Errorf("%q gave exit code %d, want 2", args, code)
		}
	}
}

// The commands that --serve prints work as printed.
func TestServedWorldAnswers(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out := newLines()
	ended := make(chan error)
	go func() { ended <- serveWorld(ctx, "127.0.0.1:0", out, io.Discard) }()
	text := out.after(t, "AZURE_POD_IDENTITY_AUTHORITY_HOST=http")
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	printed := regexp.MustCompile(`curl '(http://[^']+)'`).FindAllStringSubmatch(text, -1)
	if len(printed) < 2 {
		t.Errorf("%d commands are printed:\n%s", len(printed), text)
	}
	for _, url := range printed {
		answer, err := client.Get(url[1])
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s gave %s", url[1], answer.Status)
		}
	}
	endpoint := regexp.MustCompile(`AZURE_POD_IDENTITY_AUTHORITY_HOST=(\S+)`).FindStringSubmatch(text)[1]
	sdk, err := imds.New(imds.Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	defer sdk.Close()
	if _, err := sdk.Token(t.Context(), imds.Identity{}, azuretest.VaultAudience); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What goes wrong is ordered over HTTP, and bearerd gets over it.
func TestWorldTakesOrders(t *testing.T) {
	w, err := start(t.Context(), settings{listen: "127.0.0.1:0", level: "error", access: "none", log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	order := func(method, text string) (int, string) {
		r, err := http.NewRequest(method, w.cloud.IMDSEndpoint()+controlPath+text, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(body)
	}
	for kind := range faults() {
		if status, body := order(http.MethodPost, "fault?kind="+kind+"&by=1ms&times=2&retry_after=1"); status != http.StatusOK {
			t.Errorf("%s: %d %s", kind, status, body)
		}
	}
	for text, want := range map[string]string{
		"fault?kind=?":                   "not-assigned",
		"fault?kind=slow":                "like 5s",
		"fault?kind=429&times=0":         "from 1 on",
		"fault?kind=429&for=soon":        "like 30s",
		"fault?kind=429&times=1&for=30s": "exclude",
		"nothing":                        "{clear,fault,forget,revoke}",
	} {
		if status, body := order(http.MethodPost, text); status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want 400 with %q", text, status, body, want)
		}
	}
	if status, _ := order(http.MethodGet, "clear"); status != http.StatusBadRequest {
		t.Errorf("a GET gave an order: %d", status)
	}
	order(http.MethodPost, "clear")
	order(http.MethodPost, "fault?kind=503&resource=api://contoso&times=1")
	if answer, err := client.Get(w.url + "/contoso/hello"); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("got %v %v, want 200 at the second attempt", answer, err)
	} else {
		answer.Body.Close()
	}
	order(http.MethodPost, "forget")
	if status, body := order(http.MethodPost, "revoke"); status != http.StatusOK || !strings.Contains(body, "refuse the") {
		t.Errorf("revoke: %d %s", status, body)
	}
	if answer, err := client.Get(w.url + "/contoso/hello"); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("got %v %v, want 200 with another token", answer, err)
	} else {
		answer.Body.Close()
	}
	if refused := len(w.imds.Calls()); refused < 3 {
		t.Errorf("IMDS was asked %d times, want a failure and another token among them", refused)
	}
}

// lines collects output and lets a test wait for a part of it.
type lines struct {
	mu      sync.Mutex // guards what follows
	text    string
	changed chan struct{}
}

func newLines() *lines { return &lines{changed: make(chan struct{})} }

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += string(p)
	close(l.changed)
	l.changed = make(chan struct{})
	return len(p), nil
}

func (l *lines) after(t *testing.T, part string) string {
	for {
		l.mu.Lock()
		text, changed := l.text, l.changed
		l.mu.Unlock()
		if strings.Contains(text, part) {
			return text
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("%q is not printed:\n%s", part, text)
		}
	}
}
