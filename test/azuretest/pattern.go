package azuretest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Pattern is content of any size that needs no memory and tells where in it one
// is: the big-endian numbers of its 8-byte words. It is an io.ReadSeekCloser
// and an io.ReaderAt; concurrent use is for ReadAt alone.
type Pattern struct {
	*io.SectionReader
}

// NewPattern gives size bytes of the pattern.
func NewPattern(size int64) *Pattern {
	return &Pattern{io.NewSectionReader(patternBytes{}, 0, size)}
}

// Close does nothing; it is there for callers that take a ReadSeekCloser.
func (*Pattern) Close() error { return nil }

// patternBytes is the pattern without an end.
type patternBytes struct{}

func (patternBytes) ReadAt(p []byte, off int64) (int, error) {
	n := len(p)
	var word [8]byte
	if skip := off % 8; skip != 0 {
		binary.BigEndian.PutUint64(word[:], uint64(off/8))
		k := copy(p, word[skip:])
		p, off = p[k:], off+int64(k)
	}
	i := uint64(off / 8)
	for ; len(p) >= 8; p = p[8:] {
		binary.BigEndian.PutUint64(p, i)
		i++
	}
	binary.BigEndian.PutUint64(word[:], i)
	copy(p, word[:])
	return n, nil
}

// matchPattern reads r to its end and requires the pattern from some multiple
// of eight on, which it finds in the first word. It gives where and how long.
func matchPattern(r io.Reader) (start, length int64, err error) {
	got, want := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(r, got)
		if length == 0 && n >= 8 {
			start = int64(binary.BigEndian.Uint64(got)) * 8
		}
		if start < 0 {
			return 0, 0, fmt.Errorf("the content is no pattern")
		}
		if _, err := (patternBytes{}).ReadAt(want[:n], start+length); err != nil {
			return 0, 0, err
		}
		if !bytes.Equal(got[:n], want[:n]) {
			return 0, 0, fmt.Errorf("the content is no pattern after %d bytes", length)
		}
		length += int64(n)
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			// ReadFull gives both for a complete body; a torn one gives an
			// error of its own from net/http, except that HTTP/1's is
			// io.ErrUnexpectedEOF too. So the caller checks the length.
			return start, length, nil
		default:
			return 0, 0, err
		}
	}
}
