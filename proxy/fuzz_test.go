package proxy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

// chunks reads doc in pieces of the given sizes, over and over.
type chunks struct {
	doc   []byte
	sizes []byte
	i     int
}

// Read implements io.Reader.
func (c *chunks) Read(p []byte) (int, error) {
	if len(c.doc) == 0 {
		return 0, io.EOF
	}
	n := 1
	if len(c.sizes) > 0 {
		n += int(c.sizes[c.i%len(c.sizes)])
		c.i++
	}
	n = copy(p, c.doc[:min(n, len(c.doc))])
	c.doc = c.doc[n:]
	return n, nil
}

// FuzzNextLink holds: how a document comes in changes nothing; a mapping that
// changes nothing lets every byte pass; and in valid JSON the strings that are
// the top-level nextLink are mapped, and no other byte.
func FuzzNextLink(f *testing.F) {
	for _, seed := range []string{`{"nextLink":"https://up/p","v":[{"nextLink":"https://up/q"}]}`, `{"a":"\\\"","nextLink":"x"}`, `[]`, `{"nextLink":{"nextLink":"https://up"}}`, `{"next\u004cink" : "\u0041", "nextLink":null,"nextLink":"b"}`, `{}{"nextLink":"x"}`, `"nextLink"`} {
		f.Add([]byte(seed), []byte{0, 3, 200})
	}
	read := func(src io.Reader, mapLink func(string) (string, bool)) []byte {
		all, err := io.ReadAll(newLinkReader(io.NopCloser(src), mapLink))
		if err != nil {
			panic(err)
		}
		return all
	}
	mark := func(string) (string, bool) { return "mapped", true }
	f.Fuzz(func(t *testing.T, doc, sizes []byte) {
		if got := read(&chunks{doc: doc, sizes: sizes}, func(string) (string, bool) { return "", false }); !bytes.Equal(got, doc) {
			t.Fatalf("%q became %q without a mapping", doc, got)
		}
		whole := read(bytes.NewReader(doc), mark)
		if pieces := read(&chunks{doc: doc, sizes: sizes}, mark); !bytes.Equal(pieces, whole) {
			t.Fatalf("%q became %q whole and %q in pieces", doc, whole, pieces)
		}
		if want := mapTopLevel(doc, `"mapped"`); want != nil && !bytes.Equal(whole, want) {
			t.Fatalf("%q became %q, want %q", doc, whole, want)
		}
	})
}

// mapTopLevel does what a linkReader does with the whole of a valid document at
// hand. It gives nil for one that is not valid.
func mapTopLevel(doc []byte, mapped string) []byte {
	if !json.Valid(doc) {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	if first, _ := d.Token(); first != json.Delim('{') {
		return doc
	}
	var out []byte
	from := int64(0)
	for d.More() {
		key, _ := d.Token()
		end := d.InputOffset()
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			panic(err)
		}
		if key == "nextLink" && value[0] == '"' && len(value) <= maxLink {
			start := d.InputOffset() - int64(len(value))
			if start < end {
				panic("the value starts before its key ends")
			}
			out = append(append(out, doc[from:start]...), mapped...)
			from = d.InputOffset()
		}
	}
	return append(out, doc[from:]...)
}

// FuzzTarget holds: what is sent on as the request target is, byte for byte,
// what came, however it came, or it is refused.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"/c/b?sv=2020;sig=a%2Fb+c%3D&x", "//c//b", "//c/%zz", "/?", "/c/b??", "/a b", "/a#b", "/\xff", "//\"", "/*", "*", "/%", "//", "/a?b?"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		path, query := splitTarget(target)
		if !strings.HasPrefix(target, "/") || targetProblem(path, query) != "" {
			return
		}
		if p, q := splitTarget("http://" + blobHost + target); p != path || q != query {
			t.Fatalf("%q is %q and %q, and in an absolute URL %q and %q", target, path, query, p, q)
		}
		c := &azure.Call{Scheme: "http", Host: blobHost, Port: 80, Path: path, Query: query}
		for _, routed := range []bool{false, true} {
			u, ok := upstreamURL(c, routed, strings.HasSuffix(target, "?"))
			if !ok {
				if !strings.HasPrefix(path, "//") {
					t.Fatalf("%q is refused", target)
				}
				continue
			}
			if routed && u.Scheme != "https" || u.Host != blobHost {
				t.Fatalf("%q leaves for %s://%s", target, u.Scheme, u.Host)
			}
			var sent bytes.Buffer
			if err := (&http.Request{Method: "GET", URL: u}).Write(&sent); err != nil {
				t.Fatalf("%q is not sent: %v", target, err)
			}
			if line, _ := sent.ReadString('\n'); line != "GET "+target+" HTTP/1.1\r\n" {
				t.Fatalf("%q is sent as %q", target, line)
			}
		}
	})
}

// FuzzMapURL holds: only URLs of the upstream's own origin are taken for ours.
func FuzzMapURL(f *testing.F) {
	for _, seed := range []string{"https://up.example/a", "HTTPS://UP.example:443?x", "https://up.example.evil/a", "https://up.example@evil/", "https://up.example:443@evil/", "https://up.example\\@evil/", "//evil/", "/a", "https://up.example:0443/"} {
		f.Add(seed)
	}
	b := testBase(f, "up.example")
	f.Fuzz(func(t *testing.T, link string) {
		mapped, ok := b.mapURL(link)
		if !ok {
			return
		}
		if !strings.HasPrefix(mapped, "http://us/g") {
			t.Fatalf("%q became %q", link, mapped)
		}
		u, err := url.Parse(link)
		if err != nil { // its path is malformed, which changes nothing about its host
			authority, _, _ := strings.Cut(link[len("https://"):], "/")
			u = &url.URL{Scheme: strings.ToLower(link[:len("https")]), Host: authority[:strings.IndexAny(authority+"?", "?#")]}
		}
		host, port, err := azure.NormalizeHost(u.Host)
		if err != nil || host != "up.example" || port != 0 && port != 443 || u.Scheme != "https" || u.User != nil {
			t.Fatalf("%q, which is elsewhere, became %q", link, mapped)
		}
	})
}

// FuzzEditRequest holds: whatever header a caller sends, a call that gets a
// token leaves with that token alone, and without what concerns its connection
// or a proxy.
func FuzzEditRequest(f *testing.F) {
	for _, seed := range []string{
		"Authorization: Basic x\nauthorization: y\nConnection: Authorization, X-A , close\nX-A: b\n",
		"Connection: upgrade\nUpgrade: websocket\nTE: trailers\nProxy-Authorization: x\nProxy-Anything: y\n",
		"Connection: keep-alive\nConnection: x-ms-version, te\nKeep-Alive: 1\nX-Ms-Version: 2011-08-18\nHost: x\nVia: y\nHTTP2-Settings: z\nTrailer: a\nTransfer-Encoding: chunked\n",
	} {
		f.Add(seed)
	}
	cloud, _ := azure.CloudNamed("public")
	table, err := route.Compile(testRules(), cloud)
	if err != nil {
		f.Fatal(err)
	}
	token := imds.NewToken("ours", time.Now().Add(time.Hour), time.Time{})
	f.Fuzz(func(t *testing.T, section string) {
		parsed, err := textproto.NewReader(bufio.NewReader(strings.NewReader(section + "\n\n"))).ReadMIMEHeader()
		if err != nil {
			return
		}
		in := http.Header(parsed)
		for _, host := range []string{blobHost, apiHost} {
			c := &azure.Call{Method: "GET", Scheme: "https", Host: host, Port: 443, Path: "/c/b", Header: azure.Header(in)}
			d := table.Decide(c, nil, time.Now())
			if d.Action != route.Inject {
				return
			}
			edits := editRequest(c, d, token, host == apiHost)
			checkInjected(t, in, edits.apply(in), d.Route.Service.Fields(c))
		}
	})
}

func checkInjected(t *testing.T, in, out http.Header, set []azure.Field) {
	t.Helper()
	if got := out["Authorization"]; len(got) != 1 || got[0] != "Bearer ours" {
		t.Fatalf("%q leaves with the Authorization %q", in, got)
	}
	named := connectionNames(azure.Header(in))
	for name, values := range out {
		switch {
		case name == "Authorization" || name == "Accept-Encoding":
		case name == "User-Agent" && values == nil:
		case name == "Connection" && values[0] == "Upgrade" && out.Get("Upgrade") == "websocket":
		case name == "Upgrade" && values[0] == "websocket" && asksWebSocket(azure.Header(in)):
		case name == "Te" && values[0] == "trailers":
		case strings.HasPrefix(name, "Proxy-"), isHopByHop(name), name == "Host", name == "Via":
			t.Fatalf("%q leaves with %s: %q", in, name, values)
		default:
			for _, field := range set {
				if name == field.Name && (len(values) != 1 || values[0] != field.Value) {
					t.Fatalf("%q leaves with %s: %q, want %q", in, name, values, field.Value)
				}
			}
			for _, n := range named {
				if strings.EqualFold(n, name) && !isSet(set, name) {
					t.Fatalf("%q leaves with %s, which its Connection names", in, name)
				}
			}
		}
	}
}

func isSet(set []azure.Field, name string) bool {
	for _, field := range set {
		if field.Name == name {
			return true
		}
	}
	return false
}
