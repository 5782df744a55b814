package trust

import (
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"time"
	"unicode/utf16"
)

// The format of Java's own key stores, as sun.security.provider.JavaKeyStore of
// the OpenJDK writes it; all numbers are big-endian.
const (
	jksMagic       = 0xFEEDFEED
	jksVersion     = 2
	jksCertificate = 2 // the tag of an entry that is a trusted certificate
	// jksWhitener is hashed between password and content.
	jksWhitener = "Mighty Aphrodite"
)

// JKS gives the roots alone as a key store of Java's own format, which every Java
// reads, under the aliases of PKCS12. It is authenticated with password, by the
// format's SHA-1, and not encrypted, for the format encrypts keys alone.
//
// password must not be empty, for Java opens no store without one.
//
// A program whose trust store is this file trusts nothing else.
func (r Roots) JKS(password string) ([]byte, error) {
	if password == "" {
		return nil, errors.New("a store in Java's own format needs a password; changeit is what Java expects")
	}
	return r.jks(password, time.Now()), nil
}

func (r Roots) jks(password string, made time.Time) []byte {
	b := binary.BigEndian
	var out []byte
	text := func(s string) { // as DataOutput.writeUTF does with ASCII
		out = b.AppendUint16(out, uint16(len(s)))
		out = append(out, s...)
	}
	out = b.AppendUint32(out, jksMagic)
	out = b.AppendUint32(out, jksVersion)
	out = b.AppendUint32(out, uint32(len(r.certs)))
	for i, cert := range r.certs {
		out = b.AppendUint32(out, jksCertificate)
		text(alias(i))
		out = b.AppendUint64(out, uint64(made.UnixMilli()))
		text("X.509")
		out = b.AppendUint32(out, uint32(len(cert.Raw)))
		out = append(out, cert.Raw...)
	}

	sum := sha1.New()
	for _, unit := range utf16.Encode([]rune(password)) {
		sum.Write(b.AppendUint16(nil, unit))
	}
	sum.Write([]byte(jksWhitener))
	sum.Write(out)
	return sum.Sum(out)
}
