package caller

import (
	"context"
	"net"
	"net/http"
)

// Of gives the caller of a connection that tells it by a method Caller, as those
// of package listen do, or that lies over one (tls.Conn). Nil: nobody looked.
func Of(conn net.Conn) *Caller {
	for {
		switch c := conn.(type) {
		case interface{ Caller() *Caller }:
			return c.Caller()
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

type contextKey struct{}

// ConnContext lets OfRequest find the caller of a connection. It fits
// http.Server.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, contextKey{}, Of(conn))
}

// OfRequest gives who sent a request to a server that has ConnContext: the
// connection's caller, with the names of the client certificate that the server
// has verified.
func OfRequest(r *http.Request) *Caller {
	c, _ := r.Context().Value(contextKey{}).(*Caller)
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return c.WithCertificate(r.TLS.VerifiedChains[0][0])
	}
	return c
}
