package proxy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bearerd/bearerd/proxy/learn"
	"github.com/bearerd/bearerd/proxy/route"
)

// pupil keeps what it is told, a line for each.
type pupil struct {
	mu   sync.Mutex // guards told
	told []string
}

func (p *pupil) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, fmt.Sprintf(format, args...))
}

// Call implements Learner.
func (p *pupil) Call(c *learn.Call) {
	p.note("%s %s %s suspended=%v brought=%d denied=%v", c.Route.Name, c.Host, c.Operation.Name, c.Suspended, c.Brought, c.Denied)
}

// Login implements Learner.
func (p *pupil) Login(l *learn.Login) { p.note("login %s", l.Client) }

// Unrouted implements Learner.
func (p *pupil) Unrouted(host string) { p.note("unrouted %s", host) }

// since gives what was told from a line on, sorted.
func (p *pupil) since(n int) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(slices.Values(p.told[n:]))
}

// learning has a world learn.
func (p *pupil) learning(o *Options, _ *httptest.Server) {
	o.Learner, o.Routes = p, o.Routes.Learning()
}

// What a call is, what it holds and what it copies is told, each by itself, and a
// refusal or a probe is not.
func TestLearnerIsToldOfEachCall(t *testing.T) {
	p := &pupil{}
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/denied") {
			w.WriteHeader(http.StatusForbidden)
		}
	}, withRoutes(t, append(sourceRules(),
		route.Rule{Name: "table", Hosts: []string{tableHost}},
		route.Rule{Name: "refuses", Hosts: []string{"strict.blob.core.windows.net"}, Own: route.OwnRefuse})...), p.learning)
	client := w.viaConnect(false)
	insert := "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: application/http\n\nPOST https://" + tableHost + "/t HTTP/1.1\n\n{}\n--c--\n--b--\n"
	for _, c := range []struct {
		what, method, url, body string
		header                  []string // NAME, VALUE
		want                    []string
	}{
		{what: "a shared key", method: "GET", url: "https://" + blobHost + "/in/a", header: []string{"Authorization", "SharedKey acct:x"}, want: []string{"write acct.blob.core.windows.net storage.blob.get suspended=false brought=1 denied=false"}},
		{what: "a signature, where no route takes the call", method: "GET", url: "https://" + blobHost + "/out/a?sv=1&se=2&sig=x", want: []string{"write acct.blob.core.windows.net storage.blob.get suspended=true brought=2 denied=false"}},
		{what: "a refusal of the service's", method: "GET", url: "https://" + blobHost + "/denied/a", want: []string{"write acct.blob.core.windows.net storage.blob.get suspended=true brought=0 denied=true"}},
		{what: "a copy, and its source", method: "PUT", url: "https://" + blobHost + "/in/a", header: []string{"X-Ms-Copy-Source", "https://" + otherHost + "/private/b"}, want: []string{
			"read other.blob.core.windows.net storage.blob.get suspended=true brought=0 denied=false", "write acct.blob.core.windows.net storage.blob.copy suspended=false brought=0 denied=false"}},
		{what: "a batch on a route without restrictions", method: "POST", url: "https://" + tableHost + "/$batch", header: []string{"Content-Type", "multipart/mixed; boundary=b"}, body: crlf(insert), want: []string{
			"table acct.table.core.windows.net storage.table.batch suspended=false brought=0 denied=false", "table acct.table.core.windows.net storage.table.entity.insert suspended=false brought=0 denied=false"}},
		{what: "a probe", method: "PUT", url: "https://" + vaultHost + "/secrets/a?api-version=7.4", want: nil},
		{what: "a refusal of ours", method: "GET", url: "https://strict.blob.core.windows.net/c/b", header: []string{"Authorization", "Bearer " + liveToken(t)}, want: nil},
		{what: "a host that no route names", method: "GET", url: "https://nobody.blob.core.windows.net/c/b", want: []string{"unrouted nobody.blob.core.windows.net"}},
	} {
		before := len(p.since(0))
		r := newRequest(t, c.method, c.url, strings.NewReader(c.body))
		if len(c.header) > 0 {
			r.Header.Set(c.header[0], c.header[1])
		}
		do(t, client, r)
		client.CloseIdleConnections() // a tunnel is told of when it ends
		// A handler tells when its answer has been sent.
		eventually(t, c.what, func() bool { return len(p.since(before)) >= len(c.want) && w.server.handlers.running.Load() == 1 })
		if got := p.since(before); !slices.Equal(got, c.want) {
			t.Errorf("%s: told are\n%s\nwant\n%s", c.what, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}
