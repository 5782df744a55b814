package azure

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// readMultipart reads the body of a batch to Blob, whose parts are calls, or to
// Table, which has one part: a query, or a change set whose parts are calls. The
// form is that of OData's batches, as the services document it.
func (r *batchReader) readMultipart(contentType string) error {
	r.lineEnd = []byte("\r\n")
	if r.kind == tableBatch && bytes.IndexByte(r.body, '\r') < 0 {
		// azure-storage for Node.js writes so. Whoever wants a carriage return
		// finds no call here, so none that is not judged.
		r.lineEnd = []byte("\n")
	}
	boundary, err := boundaryOf(contentType)
	if err != nil {
		return err
	}
	parts, err := r.split(0, len(r.body), boundary)
	if err != nil {
		return err
	}
	if r.kind == tableBatch && len(parts) > 1 {
		return errors.New("it holds more than one change set or query")
	}
	for _, p := range parts {
		if err := r.readPart(p, r.kind == tableBatch); err != nil {
			return err
		}
	}
	return nil
}

// span is a part of the body: of body[from:to].
type span struct{ from, to int }

// boundaryOf reads "multipart/mixed; boundary=...", perhaps with the charset of
// azure-storage for Node.js before it, and nothing else.
func boundaryOf(contentType string) (string, error) {
	mediaType, params, _ := strings.Cut(contentType, ";")
	if !strings.EqualFold(strings.TrimRight(mediaType, " "), "multipart/mixed") {
		return "", errors.New("its Content-Type is not multipart/mixed")
	}
	if charset, rest, _ := strings.Cut(params, ";"); strings.EqualFold(strings.Trim(charset, " "), `charset="utf-8"`) {
		params = rest
	}
	name, boundary, _ := strings.Cut(strings.Trim(params, " "), "=")
	if !strings.EqualFold(name, "boundary") {
		return "", errors.New("its Content-Type has no boundary, or something before it")
	}
	if quoted, ok := strings.CutPrefix(boundary, `"`); ok {
		if boundary, ok = strings.CutSuffix(quoted, `"`); !ok {
			return "", errors.New("the quotes of its boundary do not close")
		}
	}
	// RFC 2046, section 5.1.1, without the space.
	const others = "'()+_,-./:=?"
	if boundary == "" || len(boundary) > 70 {
		return "", errors.New("its boundary is empty, or longer than 70 characters")
	}
	for i := range len(boundary) {
		if c := boundary[i]; !isDigit(c) && (lower(c) < 'a' || lower(c) > 'z') && strings.IndexByte(others, c) < 0 {
			return "", errors.New("its boundary holds a character that none has")
		}
	}
	return boundary, nil
}

// split finds the parts of body[from:to]. Nothing but empty lines may stand
// before the first and behind the last, and what delimits parts may stand
// nowhere else: the attack is a part that another reader finds inside a field, a
// body or a preamble.
func (r *batchReader) split(from, to int, boundary string) ([]span, error) {
	delimiter := []byte("--" + boundary)
	text := r.body[from:to]
	empty := r.emptyLines(text)
	text, from = text[empty:], from+empty
	if !bytes.HasPrefix(text, delimiter) {
		return nil, errors.New("it does not begin with its boundary")
	}
	var parts []span
	found := 1
	at := len(delimiter) // behind a delimiter
	for !bytes.HasPrefix(text[at:], []byte("--")) {
		if !bytes.HasPrefix(text[at:], r.lineEnd) {
			return nil, errors.New("something follows a boundary on its line")
		}
		at += len(r.lineEnd)
		length := bytes.Index(text[at:], slices.Concat(r.lineEnd, delimiter))
		if length < 0 {
			return nil, errors.New("its last boundary is missing")
		}
		parts = append(parts, span{from + at, from + at + length})
		at += length + len(r.lineEnd) + len(delimiter)
		found++
	}
	if at += len("--"); r.emptyLines(text[at:]) < len(text)-at {
		return nil, errors.New("something follows its last boundary")
	}
	if bytes.Count(text, delimiter) != found {
		return nil, errors.New("its boundary stands within a part")
	}
	return parts, nil
}

// emptyLines gives the length of the empty lines that text begins with.
func (r *batchReader) emptyLines(text []byte) (length int) {
	for bytes.HasPrefix(text[length:], r.lineEnd) {
		length += len(r.lineEnd)
	}
	return length
}

// readPart reads a part: a call, or, where sets is true, perhaps a change set.
func (r *batchReader) readPart(p span, sets bool) error {
	header, at, err := r.fields(p.from, p.to)
	if err != nil {
		return r.fail("%v", err)
	}
	for name := range header {
		if name != "Content-Type" && name != "Content-Transfer-Encoding" && name != "Content-Id" {
			return r.fail("its part has a field that parts have not")
		}
	}
	if encoding := header.Get("Content-Transfer-Encoding"); encoding != "" && !strings.EqualFold(encoding, "binary") {
		return r.fail("its part is encoded")
	}
	contentType := header.Get("Content-Type")
	if sets && strings.HasPrefix(strings.ToLower(contentType), "multipart/") {
		return r.readChangeSet(contentType, span{at, p.to})
	}
	if mediaType := strings.ReplaceAll(strings.ToLower(contentType), " ", ""); mediaType != "application/http" && mediaType != "application/http;msgtype=request" {
		return r.fail("its part is no application/http")
	}
	if err := r.readCall(span{at, p.to}); err != nil {
		return err
	}
	if last := r.calls[len(r.calls)-1].Call.Method; sets != (last == http.MethodGet) && r.kind == tableBatch {
		return errors.New("a query stands alone, and what changes stands in a change set")
	}
	return nil
}

func (r *batchReader) readChangeSet(contentType string, p span) error {
	boundary, err := boundaryOf(contentType)
	if err != nil {
		return fmt.Errorf("its change set: %w", err)
	}
	parts, err := r.split(p.from, p.to, boundary)
	if err != nil {
		return fmt.Errorf("its change set: %w", err)
	}
	for _, p := range parts {
		if err := r.readPart(p, false); err != nil {
			return err
		}
	}
	return nil
}

// readCall reads an HTTP request. Its last line may lack the empty one behind it:
// the SDK for JavaScript lets the boundary's stand for it.
func (r *batchReader) readCall(p span) error {
	lineEnd := bytes.Index(r.body[p.from:p.to], r.lineEnd)
	if lineEnd < 0 {
		return r.fail("it has no request line")
	}
	words := strings.Split(string(r.body[p.from:p.from+lineEnd]), " ")
	if len(words) != 3 || words[2] != "HTTP/1.1" {
		return r.fail("its request line is not METHOD TARGET HTTP/1.1")
	}
	if verbOf(words[0]) == 0 {
		return r.fail("its method is none of the service's")
	}
	path, query, mapped, err := r.target(words[1])
	if err != nil {
		return r.fail("%v", err)
	}
	header, bodyAt, err := r.fields(p.from+lineEnd+len(r.lineEnd), p.to)
	if err != nil {
		return r.fail("%v", err)
	}
	rest := r.body[bodyAt:p.to]
	if err := r.checkFields(header, rest); err != nil {
		return r.fail("%v", err)
	}
	call := r.call(words[0], path, query, header, len(rest))
	target := joinTarget(path, query)
	if r.kind == tableBatch { // whose documented form it is
		target = r.upstreamURL(path, query)
	}
	call.line = words[0] + " " + target + " HTTP/1.1"
	if r.kind == blobBatch {
		call.from, call.to = p.from, bodyAt
		if headEnd := bytes.LastIndex(r.body[p.from:bodyAt], []byte("\r\n\r\n")); headEnd >= 0 {
			call.to = p.from + headEnd + 2 // the empty line stays
		}
	} else {
		call.from, call.to = p.from, p.from+lineEnd
	}
	if mapped {
		call.mapped = call.line
	}
	return r.add(call)
}

// fields reads lines of fields up to an empty one, or the end. No name may be
// there twice, and no line folded.
func (r *batchReader) fields(from, to int) (header http.Header, at int, err error) {
	header = make(http.Header)
	for at = from; at < to; {
		length := bytes.Index(r.body[at:to], r.lineEnd)
		next := at + length + len(r.lineEnd)
		if length < 0 { // the boundary's line end is this line's
			length, next = to-at, to
		}
		line := string(r.body[at : at+length])
		at = next
		if line == "" {
			return header, at, nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || !isFieldName(name) {
			return nil, 0, errors.New("a line of it is no field")
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case header[name] != nil:
			return nil, 0, errors.New("a field of it is there twice")
		case len(header) == maxFields:
			return nil, 0, errors.New("it has more fields than any call")
		}
		value = strings.Trim(value, " ")
		if err := checkField(name, value); err != nil {
			return nil, 0, err
		}
		header[name] = []string{value}
	}
	return header, to, nil
}

// isFieldName reports whether a name is made of what documented ones are.
func isFieldName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !isDigit(c) && (lower(c) < 'a' || lower(c) > 'z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// checkField refuses what is no field of a call within another: what holds a
// lone line end, and what says how a connection or a body is to be read.
func checkField(name, value string) error {
	for i := range len(value) {
		if value[i] < ' ' || value[i] >= 0x7f {
			return errors.New("a field of it holds a control character, a lone line end or no ASCII")
		}
	}
	switch name {
	case "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect", "Content-Encoding":
		return fmt.Errorf("it has the field %s, which no call of a batch has", name)
	}
	return nil
}

// checkFields holds a call of a part to what its header may say of the part
// itself. rest is what follows the header.
func (r *batchReader) checkFields(header http.Header, rest []byte) error {
	if host := header["Host"]; host != nil && !r.isOwnHost(host[0]) && (r.base.Origin == "" || !strings.HasSuffix(r.base.Origin, "://"+host[0])) {
		return errors.New("its Host is another than the batch's")
	}
	if length := header["Content-Length"]; length != nil {
		n, err := strconv.ParseUint(length[0], 10, 31)
		if err != nil || int(n) > len(rest) {
			return errors.New("its Content-Length reaches past its part")
		}
	}
	if r.kind == blobBatch && r.emptyLines(rest) < len(rest) {
		return errors.New("it has a body")
	}
	return nil
}
