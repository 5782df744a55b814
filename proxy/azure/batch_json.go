package azure

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/textproto"
	"strings"
	"unicode/utf8"
)

// readJSON reads the body of a batch to Azure Resource Manager,
// {"requests":[{"httpMethod":"GET","url":"/subscriptions?api-version=2022-12-01"}]}.
// A member that is not known, in another case say, may mean something to another
// reader, and so is an error.
func (r *batchReader) readJSON(contentType string) error {
	switch strings.ToLower(strings.ReplaceAll(contentType, " ", "")) {
	case "application/json", "application/json;charset=utf-8":
	default:
		return errors.New("its Content-Type is not application/json")
	}
	if !utf8.Valid(r.body) {
		return errors.New("it is no valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(r.body))
	err := members(d, func(name string) error {
		if name != "requests" {
			return errors.New("it has a member other than requests")
		}
		return elements(d, func() error { return r.readElement(d) })
	})
	if err != nil {
		return notJSON(err)
	}
	if len(bytes.TrimSpace(r.body[d.InputOffset():])) > 0 {
		return errors.New("something follows its JSON")
	}
	return nil
}

// notJSON hides what a decoder says, which cites the text.
func notJSON(err error) error {
	var syntax *json.SyntaxError
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &syntax) || errors.As(err, &mistyped) {
		return errors.New("it is not the JSON of a batch")
	}
	return err
}

// element is one of the calls.
type element struct {
	method, target string
	at             span // of the target, with its quotes
	header         http.Header
	length         int
}

func (r *batchReader) readElement(d *json.Decoder) error {
	var e element
	err := members(d, func(name string) error {
		switch name {
		case "httpMethod":
			return d.Decode(&e.method)
		case "url", "relativeUrl":
			return r.readTarget(d, &e)
		case "name":
			var ignored string
			return d.Decode(&ignored)
		case "requestHeaderDetails":
			return e.readHeader(d)
		case "content":
			var content json.RawMessage
			err := d.Decode(&content)
			e.length = len(content)
			return err
		}
		return errors.New("it has a member that is not known")
	})
	if err != nil {
		return r.fail("%v", notJSON(err))
	}
	if verb := verbOf(e.method); verb == 0 || verb == verbMerge || verb == verbOptions {
		return r.fail("its httpMethod is none of the service's")
	}
	if e.target == "" {
		return r.fail("it has no url")
	}
	path, query, mapped, err := r.target(e.target)
	if err != nil {
		return r.fail("%v", err)
	}
	call := r.call(e.method, path, query, e.header, e.length)
	call.from, call.to = e.at.from, e.at.to
	call.line = e.method + " " + joinTarget(path, query)
	if mapped {
		// Of what may stand in a target, nothing needs an escape in JSON but quotes.
		call.mapped = `"` + strings.ReplaceAll(r.upstreamURL(path, query), `"`, `\"`) + `"`
	}
	return r.add(call)
}

// readTarget reads url or relativeUrl, of which one may be there and empty.
func (r *batchReader) readTarget(d *json.Decoder, e *element) error {
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return err
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return err
	}
	switch {
	case text == "":
		return nil
	case e.target != "":
		return errors.New("it has both url and relativeUrl")
	}
	end := int(d.InputOffset())
	e.target, e.at = text, span{end - len(raw), end}
	return nil
}

// readHeader reads the fields of a call.
func (e *element) readHeader(d *json.Decoder) error {
	e.header = make(http.Header)
	return members(d, func(name string) error {
		if name == "" || !isFieldName(name) {
			return errors.New("a field of it has no usable name")
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case e.header[name] != nil:
			return errors.New("a field of it is there twice")
		case len(e.header) == maxFields:
			return errors.New("it has more fields than any call")
		}
		var value string
		if err := d.Decode(&value); err != nil {
			return err
		}
		if name == "Host" {
			return errors.New("it has the field Host, which no call of a batch has")
		}
		e.header[name] = []string{value}
		return checkField(name, value)
	})
}

// members reads an object, whose values read reads. No name may be there twice.
func members(d *json.Decoder, read func(name string) error) error {
	seen := make(map[string]bool)
	return between(d, '{', func() error {
		name, err := d.Token()
		if err != nil {
			return err
		}
		key, _ := name.(string)
		if seen[key] {
			return errors.New("a member of it is there twice")
		}
		seen[key] = true
		return read(key)
	})
}

// elements reads an array, whose elements read reads.
func elements(d *json.Decoder, read func() error) error { return between(d, '[', read) }

func between(d *json.Decoder, open json.Delim, read func() error) error {
	first, err := d.Token()
	if err != nil {
		return err
	}
	if first != open {
		return errors.New("it is not the JSON of a batch")
	}
	for d.More() {
		if err := read(); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
