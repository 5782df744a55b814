package azuretest

import (
	"bytes"
	"io"
	"net/http"
	"sort"
	"time"
)

// content is what a blob holds.
type content interface {
	io.ReaderAt
	Size() int64
}

// container and blob are guarded by Blobs' lock; a content never changes.
type container struct {
	name     string
	modified time.Time
	blobs    map[string]*blob
	pending  map[string]map[string]*section // blob name, block id: staged blocks
}

func (c *container) isSink() bool { return len(c.name) >= 4 && c.name[:4] == "sink" }

type blob struct {
	etag, contentType string
	modified          time.Time
	metadata          http.Header // the X-Ms-Meta-* fields
	content           content
	blocks            []block // of a blob that was put in blocks
}

type block struct {
	id   string
	size int64
}

func newBlob(contentType string, metadata http.Header, c content) *blob {
	return &blob{etag: `"0x` + newID(8) + `"`, contentType: contentType, modified: time.Now(), metadata: metadata, content: c}
}

// section is the content of one block, or of a blob put whole: its bytes, or
// where in the pattern it lies.
type section struct {
	kept          []byte
	start, length int64 // of a section of the pattern
}

func (s *section) size() int64 { return s.length + int64(len(s.kept)) }

// maxKept bounds one body in memory.
const maxKept = 256 << 20

// readSection reads a body to its end. A torn body is an error.
func readSection(w http.ResponseWriter, r *http.Request, sink bool) (*section, error) {
	if r.ContentLength < 0 {
		return nil, &storageError{http.StatusLengthRequired, "MissingContentLengthHeader", "Content-Length header is missing.", ""}
	}
	if !sink {
		if r.ContentLength > maxKept {
			return nil, &storageError{http.StatusRequestEntityTooLarge, "RequestBodyTooLarge", "This much is kept in containers only whose names begin with sink.", ""}
		}
		kept := make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, kept)
		return &section{kept: kept}, err
	}
	start, length, err := matchPattern(r.Body)
	switch {
	case err != nil:
		return nil, &storageError{http.StatusBadRequest, "InvalidInput", "A sink takes a Pattern only: " + err.Error() + ".", ""}
	case length != r.ContentLength:
		return nil, io.ErrUnexpectedEOF
	}
	return &section{start: start, length: length}, nil
}

// join makes one content of sections, or nil where sections of the pattern do
// not follow upon one another from its beginning.
func join(sections []*section, sink bool) content {
	if !sink {
		var kept keptContent
		for _, s := range sections {
			kept = append(kept, s.kept)
		}
		return kept.open()
	}
	var size int64
	for _, s := range sections {
		if s.length > 0 && s.start != size {
			return nil
		}
		size += s.length
	}
	return NewPattern(size)
}

// keptContent is content in memory, block by block.
type keptContent [][]byte

func (k keptContent) open() content {
	if len(k) == 1 {
		return bytes.NewReader(k[0])
	}
	o := &joined{parts: k, ends: make([]int64, len(k))}
	var end int64
	for i, part := range k {
		end += int64(len(part))
		o.ends[i] = end
	}
	return o
}

// joined reads parts as one.
type joined struct {
	parts [][]byte
	ends  []int64 // offset behind each part
}

func (j *joined) Size() int64 {
	if len(j.ends) == 0 {
		return 0
	}
	return j.ends[len(j.ends)-1]
}

func (j *joined) ReadAt(p []byte, off int64) (n int, err error) {
	i := sort.Search(len(j.ends), func(i int) bool { return j.ends[i] > off })
	for ; i < len(j.parts) && n < len(p); i++ {
		part := j.parts[i]
		begin := j.ends[i] - int64(len(part))
		n += copy(p[n:], part[off+int64(n)-begin:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
