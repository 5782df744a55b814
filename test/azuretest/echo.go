package azuretest

import (
	"bufio"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Echo is a service without rules that shows what reached it and how HTTP
// itself came through. It is an http.Handler. By path:
//
//	/events?n=3      n server-sent events, each flushed; &hold=1 leaves the stream open then
//	/websocket       a WebSocket handshake, after which raw bytes come back
//	/duplex          each line comes back in capitals before the next one is read
//	/early-401       an answer before any of the body is read
//	/trailers        the body's digest as a trailer, declared ahead
//	/hints           103 Early Hints before the answer
//	/refuse          417 in place of 100 Continue
//	/download?n=1024 n bytes of the Pattern; &chunked=1 does not say how many
//	/upload          takes a Pattern, verifies it and tells its length
//	/status/429      an answer of that status, with Retry-After: 7
//	/redirect?to=URL 302
//	anything else    what was received, as JSON: Echoed
type Echo struct{}

// Echoed is what Echo received. The credential is not in it: Authorization's
// value is given by its scheme and digest.
type Echoed struct {
	Method  string
	Host    string
	URI     string
	Proto   string
	Header  http.Header
	Trailer http.Header
	Length  int64 // as declared; -1 if it was not
	Read    int64
	SHA256  string // of the body
}

// Digest is how Echoed gives an Authorization value.
func Digest(authorization string) string {
	scheme, credential, _ := strings.Cut(authorization, " ")
	sum := sha256.Sum256([]byte(credential))
	return scheme + " sha256:" + hex.EncodeToString(sum[:8])
}

// ServeHTTP implements http.Handler.
func (Echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	number := func(def int64) int64 {
		if n, err := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64); err == nil {
			return n
		}
		return def
	}
	switch path := r.URL.Path; {
	case path == "/events":
		echoEvents(w, r, number(3))
	case path == "/websocket":
		echoWebSocket(w, r)
	case path == "/duplex":
		echoDuplex(w, r)
	case path == "/early-401":
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
	case path == "/trailers":
		w.Header().Set("Trailer", "X-Sha256")
		sum := sha256.New()
		_, _ = io.Copy(io.MultiWriter(w, sum), r.Body)
		w.Header().Set("X-Sha256", hex.EncodeToString(sum.Sum(nil)))
	case path == "/hints":
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusOK)
	case path == "/refuse":
		w.WriteHeader(http.StatusExpectationFailed)
	case path == "/download":
		n := number(1024)
		if r.URL.Query().Get("chunked") == "" {
			w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		}
		_, _ = io.Copy(w, NewPattern(n))
	case path == "/upload":
		_, n, err := matchPattern(r.Body)
		if err != nil || r.ContentLength >= 0 && n != r.ContentLength {
			http.Error(w, fmt.Sprintf("after %d bytes: %v", n, err), http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, n)
	case strings.HasPrefix(path, "/status/"):
		status, err := strconv.Atoi(strings.TrimPrefix(path, "/status/"))
		if err != nil || status < 200 || status > 599 {
			status = http.StatusBadRequest
		}
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
	case path == "/redirect":
		w.Header().Set("Location", r.URL.Query().Get("to"))
		w.WriteHeader(http.StatusFound)
	default:
		echoRequest(w, r)
	}
}

func echoRequest(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	header := r.Header.Clone()
	for i, value := range header["Authorization"] {
		header["Authorization"][i] = Digest(value)
	}
	writeJSON(w, http.StatusOK, Echoed{
		Method: r.Method, Host: r.Host, URI: r.RequestURI, Proto: r.Proto, Header: header, Trailer: r.Trailer,
		Length: r.ContentLength, Read: n, SHA256: hex.EncodeToString(sum.Sum(nil)),
	})
}

func echoEvents(w http.ResponseWriter, r *http.Request, n int64) {
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	for i := range n {
		fmt.Fprintf(w, "id: %d\ndata: event %d\n\n", i, i)
		if rc.Flush() != nil {
			return
		}
	}
	if r.URL.Query().Get("hold") != "" {
		<-r.Context().Done()
	}
}

// echoWebSocket shakes hands (RFC 6455, section 4.2.2) and leaves the framing
// alone, for a proxy must too.
func echoWebSocket(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-WebSocket-Key")
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || key == "" {
		http.Error(w, "no WebSocket handshake", http.StatusUpgradeRequired)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	accept := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(accept[:]))
	_, _ = io.Copy(conn, buffered)
}

// echoDuplex answers before the request has ended, which HTTP/1.1 servers of Go
// do only when asked to.
func echoDuplex(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	if err := rc.EnableFullDuplex(); err != nil && r.ProtoMajor == 1 {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusOK)
	if rc.Flush() != nil {
		return
	}
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		fmt.Fprintln(w, strings.ToUpper(lines.Text()))
		if rc.Flush() != nil {
			return
		}
	}
}
