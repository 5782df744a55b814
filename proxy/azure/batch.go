package azure

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// batchKind is how a call carries others.
type batchKind uint8

const (
	noBatch    batchKind = iota
	blobBatch            // https://learn.microsoft.com/rest/api/storageservices/blob-batch
	tableBatch           // https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions
	armBatch             // JSON; no reference has it, though the portal and Ansible use it
)

// MaxBatch is the length of the longest body of a batch, in bytes: what Blob and
// Table document.
const MaxBatch = 4 << 20

// maxFields is how many fields a call of a batch, or its part, may have. SDKs
// write ten. The attack is a body of nothing but empty fields, each of which takes
// far more memory than its five bytes, past the bound on what is held.
const maxFields = 100

// maxCalls gives how many calls a batch may hold: for Blob and Table what is
// documented, for Resource Manager what it was seen to take.
func (k batchKind) maxCalls() int {
	return [...]int{blobBatch: 256, tableBatch: 100, armBatch: 500}[k]
}

// Batch is the calls that one call carries in its body. Immutable.
type Batch struct {
	Calls []BatchedCall

	body []byte
}

// BatchedCall is one call of a batch, as if it had been made by itself to the
// batch's host.
type BatchedCall struct {
	Call   Call
	Header http.Header // Call's; nil: no fields

	from, to int    // what a Rewrite replaces in the body
	line     string // a part's request line, as the service has to get it
	mapped   string // what stands for the target on a base URL; empty: it stays
}

// Line gives the request line of a part, without its end.
func (b *BatchedCall) Line() string { return b.line }

// BatchBase is the base URL on which a batch came, whose calls then name it where
// they would name the service. The zero value: it came on none.
type BatchBase struct {
	Origin string // http://127.0.0.1:8180
	Prefix string // /blob
}

// AuthorisesEach reports whether each call of the batch is authorised by a field
// of its own, as Blob's are.
func (o Operation) AuthorisesEach() bool { return o.batch == blobBatch }

// MayCarry reports whether a batch of this kind takes a call that is inner. What
// the service would refuse must not be sent with a token either.
func (o Operation) MayCarry(inner Operation) bool {
	switch o.batch {
	case blobBatch:
		return inner.Name == "storage.blob.delete" || inner.Name == "storage.blob.settier"
	case tableBatch:
		return strings.HasPrefix(inner.Name, "storage.table.entity.")
	}
	return !inner.Carries()
}

// ReadBatch reads the body of a call whose operation is op, a batch. It is strict:
// what two readers could take for different calls is an error, and so is what
// the service would refuse. Errors tell what is wrong, and no value of a field.
func ReadBatch(c *Call, op Operation, body []byte, base BatchBase) (*Batch, error) {
	if len(body) > MaxBatch {
		return nil, fmt.Errorf("it is longer than %d bytes", MaxBatch)
	}
	if _, count := c.first("Content-Encoding"); count > 0 {
		return nil, errors.New("its body is encoded")
	}
	contentType, count := c.first("Content-Type")
	if count != 1 {
		return nil, errors.New("it needs one Content-Type")
	}
	r := batchReader{carrier: c, kind: op.batch, base: base, body: body}
	var err error
	if op.batch == armBatch {
		err = r.readJSON(contentType)
	} else {
		err = r.readMultipart(contentType)
	}
	switch {
	case err != nil:
		return nil, err
	case len(r.calls) == 0:
		return nil, errors.New("it holds no call")
	}
	return &Batch{Calls: r.calls, body: body}, nil
}

// IsRewritten reports whether a call of the batch names its target by a base URL,
// so that the body cannot go on as it came.
func (b *Batch) IsRewritten() bool {
	for i := range b.Calls {
		if b.Calls[i].mapped != "" {
			return true
		}
	}
	return false
}

// Rewrite gives the body in pieces. heads are what stands for the request line
// and the header of each part; where heads is nil, only targets that name a base
// URL are replaced.
func (b *Batch) Rewrite(heads [][]byte) [][]byte {
	var pieces [][]byte
	from := 0
	for i := range b.Calls {
		call := &b.Calls[i]
		var piece []byte
		switch {
		case heads != nil:
			piece = heads[i]
		case call.mapped != "":
			piece = []byte(call.mapped)
		}
		if piece != nil {
			pieces = append(pieces, b.body[from:call.from], piece)
			from = call.to
		}
	}
	return append(pieces, b.body[from:])
}

// AccountBatch gives the query of a batch to the account in place of one to a
// container without a name, false for any other call. The SDK for JavaScript
// writes the latter on a base URL, whose path it takes for a container.
func AccountBatch(c *Call) (query string, ok bool) {
	q := queryView(c.Query)
	if c.Method != http.MethodPost || c.Path != "/" || !q.is("comp", "batch") || !q.is("restype", "container") {
		return "", false
	}
	var kept []string
	for name, value := range params(c.Query) {
		if !readsAs(name, "restype") {
			kept = append(kept, name+"="+value)
		}
	}
	return strings.Join(kept, "&"), true
}

// batchReader reads one batch.
type batchReader struct {
	carrier *Call
	kind    batchKind
	base    BatchBase
	body    []byte
	lineEnd []byte // of a multipart body
	calls   []BatchedCall
}

// add keeps a call, where there is room.
func (r *batchReader) add(call BatchedCall) error {
	if len(r.calls) == r.kind.maxCalls() {
		return fmt.Errorf("it holds more than %d calls", r.kind.maxCalls())
	}
	r.calls = append(r.calls, call)
	return nil
}

// fail tells which call is wrong.
func (r *batchReader) fail(format string, args ...any) error {
	return fmt.Errorf("its call %d: %s", len(r.calls)+1, fmt.Sprintf(format, args...))
}

// target reads what a call of the batch asks for. mapped is set where that names
// the base URL.
func (r *batchReader) target(target string) (path, query string, mapped bool, err error) {
	if !isTarget(target) {
		return "", "", false, errors.New("its target holds a character that must be escaped")
	}
	if !strings.HasPrefix(target, "/") {
		if target, mapped, err = r.absolute(target); err != nil {
			return "", "", false, err
		}
	} else if r.base.Origin != "" && r.kind != armBatch {
		// The clients take such a path from the URL that they were given.
		target, mapped = strings.CutPrefix(target, r.base.Prefix)
		if !mapped || !strings.HasPrefix(target, "/") {
			return "", "", false, fmt.Errorf("its path does not begin with the base URL's, %s/", r.base.Prefix)
		}
	}
	if strings.HasPrefix(target, "//") {
		return "", "", false, errors.New("its target begins with two slashes")
	}
	path, query, _ = strings.Cut(target, "?")
	return path, query, mapped, nil
}

// absolute reads a URL, which names the batch's own host or the base URL. The
// attack is a call that the service would make elsewhere, with the token.
func (r *batchReader) absolute(text string) (target string, mapped bool, err error) {
	if r.kind == blobBatch {
		return "", false, errors.New("its target is not a path")
	}
	if rest, ok := strings.CutPrefix(text, r.base.Origin+r.base.Prefix+"/"); ok && r.base.Origin != "" {
		return "/" + rest, true, nil
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || !strings.EqualFold(scheme, "https") && !strings.EqualFold(scheme, "http") {
		return "", false, errors.New("its target is neither a path nor a URL")
	}
	authority, _, ok := strings.Cut(rest, "/")
	if !ok {
		return "", false, errors.New("its URL has no path")
	}
	if !r.isOwnHost(authority) {
		return "", false, errors.New("it names another host than the batch")
	}
	return rest[len(authority):], false, nil
}

// isOwnHost reports whether an authority is the batch's.
func (r *batchReader) isOwnHost(authority string) bool {
	host, port, err := NormalizeHost(authority)
	return err == nil && host == r.carrier.Host && (port == 0 || port == 443 || port == r.carrier.Port)
}

// call makes the call of a part, or of an element, that asks for path and query.
func (r *batchReader) call(method, path, query string, header http.Header, length int) BatchedCall {
	call := BatchedCall{Call: *r.carrier, Header: header}
	call.Call.Method, call.Call.Path, call.Call.Query = method, path, query
	call.Call.Header, call.Call.Length = Header(header), int64(length)
	return call
}

// joinTarget writes a request target.
func joinTarget(path, query string) string {
	if query == "" {
		return path
	}
	return path + "?" + query
}

// isTarget reports whether text can be passed on as the target of a request, as
// it is, and read in one way alone.
func isTarget(text string) bool {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || c == '#' || c == '\\' {
			return false
		}
	}
	return true
}

// upstreamURL writes the URL of the service's that a base URL stood for.
func (r *batchReader) upstreamURL(path, query string) string {
	u := url.URL{Scheme: "https", Host: r.carrier.Host}
	return u.String() + joinTarget(path, query)
}
