package proxy

import (
	"context"
	"crypto/tls"
	"errors"

	"go.uber.org/zap"
)

// Interception is how TLS is spoken to a listener's callers whose calls are
// intercepted. The zero value is for clients of today.
type Interception struct {
	MinVersion   uint16   // 0: TLS 1.2
	CipherSuites []uint16 // up to TLS 1.2; nil: Go's choice
	// RSALeaf gives the certificate for a host where the caller cannot take that of
	// Options.Authority. Nil: the caller is refused.
	RSALeaf func(ctx context.Context, host string) (*tls.Certificate, error)
}

// interceptionKey finds the *tls.Config of a request's listener.
type interceptionKey struct{}

func (s *Server) newInterception(i Interception) *tls.Config {
	if i.MinVersion == 0 {
		i.MinVersion = tls.VersionTLS12
	}
	return &tls.Config{
		MinVersion:     i.MinVersion,
		CipherSuites:   i.CipherSuites,
		NextProtos:     []string{"h2", "http/1.1", "http/1.0"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return s.leafFor(hello, i.RSALeaf) },
	}
}

// leafFor gives the certificate that an intercepted caller sees: the target's,
// whatever SNI says.
func (s *Server) leafFor(hello *tls.ClientHelloInfo, rsa func(context.Context, string) (*tls.Certificate, error)) (*tls.Certificate, error) {
	conn := targetOf(hello.Conn)
	if conn == nil {
		return nil, errors.New("proxy: a TLS connection without a target")
	}
	leaf, err := s.authority.Leaf(hello.Context(), conn.host)
	if err == nil && rsa != nil && hello.SupportsCertificate(leaf) != nil {
		leaf, err = rsa(hello.Context(), conn.host)
	}
	if err != nil {
		s.log.Warn("no certificate for an intercepted host", zap.String("host", conn.host), zap.Error(err))
	}
	return leaf, err
}
