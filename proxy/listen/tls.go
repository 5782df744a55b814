package listen

import (
	"crypto/tls"
	"crypto/x509"
	"net"
)

// TLSOptions say how a listener speaks TLS to callers, before they ask for
// anything.
type TLSOptions struct {
	MinVersion uint16 // 0: TLS 1.2
	// OldKeyExchange also takes key exchange by RSA encryption, which has no
	// forward secrecy, for clients that know nothing else.
	OldKeyExchange bool
	// GetCertificate gives the listener's certificate. Required.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// ClientCAs gives the authorities of the certificates that every caller must
	// show; nil: none is asked for.
	ClientCAs func() *x509.CertPool
	// Challenge is the one protocol in ALPN by which a validator, who has no
	// client certificate, may ask for GetCertificate's answer to a challenge.
	// Whoever serves the connections must close those that it was agreed on.
	// Empty: none.
	Challenge string
}

// TLS has l's connections speak TLS: they are *tls.Conn whose handshake is still
// to be done, and HTTP/1 is the one protocol in them.
func TLS(l net.Listener, o TLSOptions) net.Listener {
	config := &tls.Config{
		MinVersion:     MinVersion(o.MinVersion),
		CipherSuites:   CipherSuites(o.OldKeyExchange),
		GetCertificate: o.GetCertificate,
		NextProtos:     []string{"http/1.1", "http/1.0"},
	}
	challenge := config.Clone()
	challenge.NextProtos = []string{o.Challenge}
	if o.ClientCAs != nil {
		config.ClientAuth = tls.RequireAndVerifyClientCert
		// A ticket would let in a caller whose authority is no longer taken.
		config.SessionTicketsDisabled = true
	}
	outer := config.Clone()
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if o.Challenge != "" && len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == o.Challenge {
			return challenge, nil
		}
		if o.ClientCAs == nil {
			return nil, nil
		}
		now := config.Clone()
		now.ClientCAs = o.ClientCAs()
		return now, nil
	}
	return tls.NewListener(l, outer)
}

// MinVersion gives the lowest version of TLS that is taken: want, or TLS 1.2.
func MinVersion(want uint16) uint16 {
	if want == 0 {
		return tls.VersionTLS12
	}
	return want
}

// CipherSuites gives those up to TLS 1.2 that are taken: Go's own choice (nil)
// or, with old, those of key exchange by RSA with AES besides, and none with RC4
// or 3DES.
func CipherSuites(old bool) []uint16 {
	if !old {
		return nil
	}
	suites := []uint16{
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA,
	}
	for _, s := range tls.CipherSuites() {
		suites = append(suites, s.ID)
	}
	return suites
}
