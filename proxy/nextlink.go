package proxy

import (
	"bytes"
	"encoding/json"
	"io"
)

const (
	// maxLink bounds the nextLink that is held back to be mapped. Services
	// refuse URLs far shorter than this; a longer one passes as it came.
	maxLink = 32 << 10
	// maxKey is room for "nextLink" with every letter spelled as an escape.
	maxKey = len(`"`) + 6*len("nextLink") + len(`"`)
)

// linkReader streams a JSON document and maps the string value of its
// top-level member "nextLink". Every other byte passes as it came, so that a
// link within data (a secret's value, a tag) is never touched. Nothing but the
// link is held back, and a document that is no JSON passes through.
type linkReader struct {
	src     io.ReadCloser
	mapLink func(link string) (mapped string, ok bool)

	buf  []byte // what src is read into
	out  []byte // backing store of what is ready
	next []byte // the part of out that is not handed out yet
	err  error  // from src

	ended     bool // the outermost value is over; what follows is none of ours
	depth     int
	inObject  bool // the outermost value is an object
	inString  bool
	escaped   bool   // the last byte of the string was a backslash
	expectKey bool   // the next string at depth 1 is a key
	inKey     bool   // the string is such a key
	key       []byte // the key's text so far, with its opening quote
	isLink    bool   // the member being read is nextLink
	holding   bool   // the string is its value
	held      []byte // the value's text so far, with its opening quote
}

func newLinkReader(src io.ReadCloser, mapLink func(string) (string, bool)) *linkReader {
	return &linkReader{src: src, mapLink: mapLink, buf: make([]byte, 4<<10)}
}

// Read implements io.Reader.
func (r *linkReader) Read(p []byte) (int, error) {
	for len(r.next) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		var n int
		n, r.err = r.src.Read(r.buf)
		r.out = r.out[:0]
		for _, c := range r.buf[:n] {
			r.scan(c)
		}
		if r.err != nil && r.holding { // the document was cut off
			r.pass()
		}
		r.next = r.out
	}
	n := copy(p, r.next)
	r.next = r.next[n:]
	return n, nil
}

// Close implements io.Closer.
func (r *linkReader) Close() error { return r.src.Close() }

func (r *linkReader) scan(c byte) {
	if r.ended {
		r.out = append(r.out, c)
		return
	}
	if r.inString {
		r.scanString(c)
		return
	}
	switch c {
	case '"':
		r.inString = true
		if r.depth == 1 && r.inObject {
			r.inKey, r.holding = r.expectKey, !r.expectKey && r.isLink
			r.key, r.held = append(r.key[:0], c), append(r.held[:0], c)
		}
	case '{', '[':
		r.depth++
		if r.depth == 1 {
			r.inObject, r.expectKey = c == '{', true
		}
	case '}', ']':
		r.depth--
		r.ended = r.depth <= 0
	case ',':
		if r.depth == 1 {
			r.expectKey, r.isLink = true, false
		}
	case ':':
		if r.depth == 1 {
			r.expectKey = false
		}
	}
	if !r.holding {
		r.out = append(r.out, c)
	}
}

func (r *linkReader) scanString(c byte) {
	end := c == '"' && !r.escaped
	r.escaped = c == '\\' && !r.escaped
	r.inString = !end
	if r.holding {
		r.held = append(r.held, c)
		switch {
		case end:
			r.emitLink()
		case len(r.held) > maxLink:
			r.pass()
		}
		return
	}
	r.out = append(r.out, c)
	if !r.inKey {
		return
	}
	if len(r.key) <= maxKey {
		r.key = append(r.key, c)
	}
	if end {
		var name string
		r.isLink = json.Unmarshal(r.key, &name) == nil && name == "nextLink"
		r.inKey = false
	}
}

// emitLink passes the held link on, mapped where it is one of the upstream's.
func (r *linkReader) emitLink() {
	var link string
	if json.Unmarshal(r.held, &link) == nil {
		if mapped, ok := r.mapLink(link); ok {
			r.held = appendString(r.held[:0], mapped)
		}
	}
	r.pass()
}

// pass gives out what is held, as it is.
func (r *linkReader) pass() {
	r.out = append(r.out, r.held...)
	r.holding = false
}

// appendString writes text as a JSON string. Unlike json.Marshal it leaves the
// ampersands of a query readable, as services do.
func appendString(b []byte, text string) []byte {
	var w bytes.Buffer
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	if err := e.Encode(text); err != nil {
		panic("proxy: a string did not encode: " + err.Error())
	}
	return append(b, bytes.TrimSuffix(w.Bytes(), []byte("\n"))...)
}
