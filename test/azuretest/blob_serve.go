package azuretest

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// serve finds the operation by method, path, restype and comp.
func (b *Blobs) serve(w http.ResponseWriter, r *http.Request) error {
	name, blobName, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := r.URL.Query()
	comp, restype := q.Get("comp"), q.Get("restype")
	switch {
	case name == "" && r.Method == http.MethodGet && comp == "list":
		return b.listContainers(w, r)
	case blobName == "" && restype == "container":
		return b.serveContainer(w, r, name, comp)
	case name == "" || blobName == "":
		return &storageError{http.StatusBadRequest, "InvalidQueryParameterValue", "Value for one of the query parameters specified in the request URI is invalid.", ""}
	}
	c, err := b.container(r.Host, name)
	if err != nil {
		return err
	}
	switch r.Method + " " + comp {
	case "PUT ":
		return b.putBlob(w, r, c, blobName)
	case "PUT block":
		return b.putBlock(w, r, c, blobName, q.Get("blockid"))
	case "PUT blocklist":
		return b.putBlockList(w, r, c, blobName)
	case "GET blocklist":
		return b.getBlockList(w, c, blobName)
	case "GET ", "HEAD ":
		return b.getBlob(w, r, c, blobName)
	case "DELETE ":
		return b.deleteBlob(w, c, blobName)
	}
	return &storageError{http.StatusMethodNotAllowed, "UnsupportedHttpVerb", "The resource doesn't support specified Http Verb.", ""}
}

func (b *Blobs) container(host, name string) (*container, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.accounts[strings.ToLower(host)][name]
	if c == nil {
		return nil, &storageError{http.StatusNotFound, "ContainerNotFound", "The specified container does not exist.", ""}
	}
	return c, nil
}

func blobNotFound() *storageError {
	return &storageError{http.StatusNotFound, "BlobNotFound", "The specified blob does not exist.", ""}
}

func (b *Blobs) serveContainer(w http.ResponseWriter, r *http.Request, name, comp string) error {
	if r.Method == http.MethodPut && comp == "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.accounts[strings.ToLower(r.Host)][name] != nil {
			return &storageError{http.StatusConflict, "ContainerAlreadyExists", "The specified container already exists.", ""}
		}
		setModified(w, b.makeLocked(r.Host, name).modified, `"0x`+newID(8)+`"`)
		w.WriteHeader(http.StatusCreated)
		return nil
	}
	c, err := b.container(r.Host, name)
	if err != nil {
		return err
	}
	switch r.Method + " " + comp {
	case "GET list":
		return b.listBlobs(w, r, c)
	case "GET ", "HEAD ":
		setModified(w, c.modified, `"0x1"`)
		w.WriteHeader(http.StatusOK)
	case "DELETE ":
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.accounts[strings.ToLower(r.Host)], name)
		w.WriteHeader(http.StatusAccepted)
	default:
		return &storageError{http.StatusMethodNotAllowed, "UnsupportedHttpVerb", "The resource doesn't support specified Http Verb.", ""}
	}
	return nil
}

func setModified(w http.ResponseWriter, at time.Time, etag string) {
	w.Header().Set("Last-Modified", at.UTC().Format(http.TimeFormat))
	w.Header().Set("ETag", etag)
}

func (b *Blobs) putBlob(w http.ResponseWriter, r *http.Request, c *container, name string) error {
	if r.Header.Get("X-Ms-Blob-Type") != "BlockBlob" {
		return &storageError{http.StatusBadRequest, "MissingRequiredHeader", "An HTTP header that's mandatory for this request is not specified: x-ms-blob-type.", ""}
	}
	s, err := readSection(w, r, c.isSink())
	if err != nil {
		return err
	}
	if err := checkMD5(w, r, s); err != nil {
		return err
	}
	return b.commit(w, r, c, name, []*section{s}, nil)
}

// checkMD5 holds a body to the digest that came with it.
func checkMD5(w http.ResponseWriter, r *http.Request, s *section) error {
	if s.kept == nil {
		return nil // of the pattern; it was verified by itself
	}
	sum := md5.Sum(s.kept)
	digest := base64.StdEncoding.EncodeToString(sum[:])
	if want := r.Header.Get("Content-MD5"); want != "" && want != digest {
		return &storageError{http.StatusBadRequest, "Md5Mismatch", "The MD5 value specified in the request did not match with the MD5 value calculated by the server.", ""}
	}
	w.Header().Set("Content-MD5", digest)
	return nil
}

func (b *Blobs) commit(w http.ResponseWriter, r *http.Request, c *container, name string, sections []*section, blocks []block) error {
	joined := join(sections, c.isSink())
	if joined == nil {
		return &storageError{http.StatusBadRequest, "InvalidBlockList", "The blocks are not the pattern from its beginning.", ""}
	}
	contentType := r.Header.Get("X-Ms-Blob-Content-Type")
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	metadata := make(http.Header)
	for field, values := range r.Header {
		if strings.HasPrefix(field, "X-Ms-Meta-") {
			metadata[field] = values
		}
	}
	stored := newBlob(contentType, metadata, joined)
	stored.blocks = blocks
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := c.blobs[name]; old != nil && r.Header.Get("If-None-Match") == "*" {
		return &storageError{http.StatusConflict, "BlobAlreadyExists", "The specified blob already exists.", ""}
	}
	c.blobs[name] = stored
	delete(c.pending, name)
	setModified(w, stored.modified, stored.etag)
	w.Header().Set("X-Ms-Request-Server-Encrypted", "true")
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (b *Blobs) putBlock(w http.ResponseWriter, r *http.Request, c *container, name, id string) error {
	if raw, err := base64.StdEncoding.DecodeString(id); err != nil || len(raw) == 0 || len(raw) > 64 {
		return &storageError{http.StatusBadRequest, "InvalidQueryParameterValue", "blockid is not Base64 of 1 to 64 bytes.", ""}
	}
	s, err := readSection(w, r, c.isSink())
	if err != nil {
		return err
	}
	if err := checkMD5(w, r, s); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.pending[name] == nil {
		c.pending[name] = make(map[string]*section)
	}
	c.pending[name][id] = s
	w.Header().Set("X-Ms-Request-Server-Encrypted", "true")
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (b *Blobs) putBlockList(w http.ResponseWriter, r *http.Request, c *container, name string) error {
	var list struct {
		IDs []string `xml:",any"` // Latest, Uncommitted
	}
	if err := xml.NewDecoder(http.MaxBytesReader(w, r.Body, 8<<20)).Decode(&list); err != nil {
		return &storageError{http.StatusBadRequest, "InvalidXmlDocument", "XML specified is not syntactically valid.", ""}
	}
	b.mu.Lock()
	var sections []*section
	var blocks []block
	for _, id := range list.IDs {
		s := c.pending[name][id]
		if s == nil {
			b.mu.Unlock()
			return &storageError{http.StatusBadRequest, "InvalidBlockList", "The specified block list is invalid.", ""}
		}
		sections, blocks = append(sections, s), append(blocks, block{id, s.size()})
	}
	b.mu.Unlock()
	return b.commit(w, r, c, name, sections, blocks)
}

func (b *Blobs) getBlockList(w http.ResponseWriter, c *container, name string) error {
	type item struct {
		Name string
		Size int64
	}
	var answer struct {
		XMLName   xml.Name               `xml:"BlockList"`
		Committed struct{ Block []item } `xml:"CommittedBlocks"`
	}
	b.mu.Lock()
	stored := c.blobs[name]
	b.mu.Unlock()
	if stored == nil {
		return blobNotFound()
	}
	for _, k := range stored.blocks {
		answer.Committed.Block = append(answer.Committed.Block, item{k.id, k.size})
	}
	writeXML(w, http.StatusOK, answer)
	return nil
}

func (b *Blobs) deleteBlob(w http.ResponseWriter, c *container, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.blobs[name] == nil {
		return blobNotFound()
	}
	delete(c.blobs, name)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (b *Blobs) getBlob(w http.ResponseWriter, r *http.Request, c *container, name string) error {
	b.mu.Lock()
	stored := c.blobs[name]
	b.mu.Unlock()
	if stored == nil {
		return blobNotFound()
	}
	h := w.Header()
	setModified(w, stored.modified, stored.etag)
	for field, values := range stored.metadata {
		h[field] = values
	}
	if match := r.Header.Get("If-Match"); match != "" && match != "*" && match != stored.etag {
		return &storageError{http.StatusPreconditionFailed, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met.", ""}
	}
	if r.Header.Get("If-None-Match") == stored.etag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	size := stored.content.Size()
	first, end, partial, err := byteRange(r, size)
	if err != nil {
		return err
	}
	h.Set("Content-Type", stored.contentType)
	h.Set("Accept-Ranges", "bytes")
	h.Set("X-Ms-Blob-Type", "BlockBlob")
	h.Set("X-Ms-Server-Encrypted", "true")
	h.Set("Content-Length", strconv.FormatInt(end-first, 10))
	status := http.StatusOK
	if partial {
		status = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, end-1, size))
	}
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	// A caller that leaves is its own affair.
	_, _ = io.Copy(w, io.NewSectionReader(stored.content, first, end-first))
	return nil
}

// byteRange reads the one range that Storage takes, from x-ms-range before
// Range, and gives the half-open interval to answer with.
func byteRange(r *http.Request, size int64) (first, end int64, partial bool, err error) {
	value := r.Header.Get("X-Ms-Range")
	if value == "" {
		value = r.Header.Get("Range")
	}
	rest, ok := strings.CutPrefix(value, "bytes=")
	from, to, dash := strings.Cut(rest, "-")
	if !ok || !dash {
		return 0, size, false, nil
	}
	first, err = strconv.ParseInt(from, 10, 64)
	end = size
	if to != "" {
		last, lastErr := strconv.ParseInt(to, 10, 64)
		err = errors.Join(err, lastErr)
		end = min(last+1, size)
	}
	if err != nil || first < 0 || first >= end {
		return 0, 0, false, &storageError{http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The range specified is invalid for the current size of the resource.", ""}
	}
	return first, end, true, nil
}
