package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/imds"
)

// The two benchmarks are a pair: the same callers, upstream and transport, with
// all of bearerd between them, and with a plain httputil.ReverseProxy. What
// bearerd adds is the difference. The upstream speaks HTTP/1.1, in which most of
// what a proxy costs shows.

const benchmarkBody = 1 << 10

func benchmarkUpstream(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "application/octet-stream")
	rw.Header().Set("X-Ms-Request-Id", "00000000-0000-0000-0000-000000000000")
	rw.Header().Set("ETag", `"0x8D"`)
	rw.Write(make([]byte, benchmarkBody))
}

func BenchmarkServer(b *testing.B) {
	w := newWorld(b, benchmarkUpstream, upstreamHTTP1, func(o *Options, _ *httptest.Server) {
		o.Logger = zap.NewNop()
		o.Tokens = oneToken{imds.NewToken("token-1", time.Now().Add(time.Hour), time.Time{})}
		o.AccessLog = AccessErrors
	})
	benchmarkCallers(b, w.base("/blob/c/b"))
}

// oneToken gives it away at no cost, as the cache does.
type oneToken struct{ token *imds.Token }

// Token implements Tokens.
func (o oneToken) Token(context.Context, cache.Key) (*imds.Token, error) { return o.token, nil }

// Renew implements Tokens.
func (o oneToken) Renew(context.Context, cache.Key, *imds.Token) (*imds.Token, error) {
	return o.token, nil
}

func BenchmarkReverseProxy(b *testing.B) {
	w := newWorld(b, benchmarkUpstream, upstreamHTTP1)
	transport := w.server.routed.Clone()
	b.Cleanup(transport.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "https", Host: blobHost}) },
		Transport: transport,
	}
	server := httptest.NewServer(proxy)
	b.Cleanup(server.Close)
	benchmarkCallers(b, server.URL+"/c/b")
}

// benchmarkCallers asks over keep-alive connections in parallel. The callers
// speak raw HTTP, so that they cost little beside what is measured.
func benchmarkCallers(b *testing.B, target string) {
	u, err := url.Parse(target)
	if err != nil {
		b.Fatal(err)
	}
	request := []byte("GET " + u.Path + " HTTP/1.1\r\nHost: " + u.Host + "\r\nUser-Agent: app\r\nAccept: */*\r\nX-Ms-Version: 2024-11-04\r\n\r\n")
	b.ReportAllocs()
	b.SetBytes(benchmarkBody)
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", u.Host)
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		answer := make([]byte, 0, 4<<10)
		for pb.Next() {
			if _, err := conn.Write(request); err != nil {
				b.Error(err)
				return
			}
			if answer, err = readBenchmarkAnswer(conn, answer[:0]); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// readBenchmarkAnswer reads one answer, whose body is benchmarkBody long.
func readBenchmarkAnswer(r io.Reader, into []byte) ([]byte, error) {
	for {
		n, err := r.Read(into[len(into):cap(into)])
		into = into[:len(into)+n]
		if err != nil {
			return into, err
		}
		if end := headerEnd(into); end > 0 && len(into) >= end+benchmarkBody {
			return into, nil
		}
	}
}

func headerEnd(answer []byte) int {
	for i := 4; i <= len(answer); i++ {
		if string(answer[i-4:i]) == "\r\n\r\n" {
			return i
		}
	}
	return 0
}
