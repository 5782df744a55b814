package listen

import (
	"bytes"
	"io"
	"strings"
)

// MaxOpening bounds what is read of a connection to tell what it is: as much as
// crypto/tls takes of a ClientHello, and as an HTTP request's header section has
// by default. Post-quantum key shares make hellos of 2 KiB usual.
const MaxOpening = 64 << 10

// Protocol is what a connection's first bytes are.
type Protocol uint8

// The protocols that tell for whom a connection is.
const (
	ProtocolUnknown Protocol = iota // another one, or one of these that cannot be read
	ProtocolTLS
	ProtocolHTTP // HTTP/1
)

// Opening is what a connection's first bytes say.
type Opening struct {
	Protocol Protocol
	// Name is the ClientHello's server_name, or the authority of the request: of
	// its target, where that is a whole URL, else of Host. As it was sent; empty
	// where there is none.
	Name string
}

// Sniffer finds out what a connection is from its first bytes, and keeps them
// for whoever is to read them. The answer does not depend on how the bytes come
// in pieces. The zero value is usable, for one connection and one goroutine.
type Sniffer struct {
	read    []byte
	done    bool
	opening Opening
	tls     helloWalk
	http    headWalk
}

// Fill reads once from r, and reports whether the opening is known. Once it is,
// nothing is read any more; before, it may be called again after an error that
// was a timeout.
func (s *Sniffer) Fill(r io.Reader) (done bool, err error) {
	if s.done {
		return true, nil
	}
	if len(s.read) == cap(s.read) {
		// 4 KiB hold what nearly all send.
		grown := make([]byte, len(s.read), max(4<<10, min(4*cap(s.read), MaxOpening)))
		copy(grown, s.read)
		s.read = grown
	}
	n, err := r.Read(s.read[len(s.read):cap(s.read)])
	s.read = s.read[:len(s.read)+n]
	if n > 0 {
		s.look()
	}
	if s.done {
		return true, nil // a broken connection shows again
	}
	return false, err
}

// look continues with the bytes that have come.
func (s *Sniffer) look() {
	switch c := s.read[0]; {
	case c == recordHandshake:
		s.opening, s.done = s.tls.walk(s.read)
	case c >= 'A' && c <= 'Z':
		s.opening, s.done = s.http.walk(s.read)
	default:
		s.done = true
	}
	if !s.done && len(s.read) == MaxOpening {
		s.done = true
	}
}

// Opening is what the bytes say; the zero value while it is not known.
func (s *Sniffer) Opening() Opening { return s.opening }

// Bytes are all that was read, at most MaxOpening. They are the Sniffer's until
// nobody calls Fill any more.
func (s *Sniffer) Bytes() []byte { return s.read }

// headWalk reads the head of an HTTP/1 request, each byte once.
type headWalk struct {
	seen int // bytes of b that were looked at
	line int // where the line begins
}

// maxMethod bounds how long something without a space may look like a method.
const maxMethod = 32

func (w *headWalk) walk(b []byte) (Opening, bool) {
	for ; w.seen < len(b); w.seen++ {
		c := b[w.seen]
		if c != '\n' {
			// Only the first line has to show that this is HTTP at all. What is none
			// must not be waited for: its server may have to speak next.
			if w.line == 0 && (c < ' ' && c != '\r' || c >= 0x7f || w.seen == maxMethod && bytes.IndexByte(b[:w.seen], ' ') < 0) {
				return Opening{}, true
			}
			continue
		}
		line := bytes.TrimSuffix(b[w.line:w.seen], []byte("\r"))
		if w.line == 0 {
			target, ok := requestTarget(line)
			if !ok {
				return Opening{}, true
			}
			if name, ok := authorityOf(target); ok {
				return Opening{ProtocolHTTP, name}, true
			}
		} else if len(line) == 0 {
			return Opening{Protocol: ProtocolHTTP}, true
		} else if name, value, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(name, []byte("host")) {
			return Opening{ProtocolHTTP, string(bytes.Trim(value, " \t"))}, true
		}
		w.line = w.seen + 1
	}
	return Opening{}, false
}

// requestTarget gives the target of a request line of HTTP/1.
func requestTarget(line []byte) (string, bool) {
	_, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok {
		return "", false
	}
	target, version, ok := bytes.Cut(rest, []byte(" "))
	return string(target), ok && len(target) > 0 && (string(version) == "HTTP/1.1" || string(version) == "HTTP/1.0")
}

// authorityOf gives the authority of a target that is a whole URL.
func authorityOf(target string) (string, bool) {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || strings.ContainsAny(scheme, "/?") {
		return "", false
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return rest, true
}
