package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// parseYAML gives the one document of a file; nil where the file is empty. Its
// error is a *Mistake.
func parseYAML(file string, text []byte) (*yaml.Node, error) {
	wrong := func(p place, problem string) error {
		return &Mistake{File: file, Line: p.line, Column: p.column, Err: errors.New(problem)}
	}
	if p, ok := firstUnreadable(text); ok {
		return nil, wrong(p, "this is no text in UTF-8, or holds a control character; write the file anew with a text editor")
	}
	documents, err := parseDocuments(text)
	switch {
	case err != nil:
		return nil, wrong(syntaxError(text, err))
	case len(documents) > 1:
		return nil, wrong(placeOf(documents[1]), "a second document begins here, and one is read; remove the line --- or what follows it")
	case len(documents) == 0 || len(documents[0].Content) == 0 || isNull(documents[0].Content[0]):
		return nil, nil
	}
	return documents[0].Content[0], nil
}

// parseDocuments gives the first two documents.
func parseDocuments(text []byte) ([]*yaml.Node, error) {
	var documents []*yaml.Node
	for d := yaml.NewDecoder(bytes.NewReader(text)); len(documents) < 2; {
		var n yaml.Node
		if err := d.Decode(&n); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		documents = append(documents, &n)
	}
	return documents, nil
}

// firstUnreadable finds what YAML does not take as a character.
func firstUnreadable(text []byte) (place, bool) {
	p := place{1, 1}
	for rest := text; len(rest) > 0; {
		r, width := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && width == 1, r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return p, true
		case r == '\n':
			p = place{p.line + 1, 0}
		}
		p.column++
		rest = rest[width:]
	}
	return place{}, false
}

// syntaxError says in our words what the parser stumbled over, and where.
func syntaxError(text []byte, err error) (place, string) {
	lines := bytes.SplitAfter(text, []byte("\n"))
	// The parser's own line is at times that of an outer mapping, counts from 0
	// or 1, or is missing. The first line after which it gives up is a better
	// answer; what follows that line changes nothing.
	problem := parserProblem(err)
	at := sort.Search(len(lines)-1, func(i int) bool {
		_, err := parseDocuments(bytes.Join(lines[:i+1], nil))
		return err != nil && parserProblem(err) == problem
	})
	indent := lines[at][:len(lines[at])-len(bytes.TrimLeft(lines[at], " \t"))]
	if tab := bytes.IndexByte(indent, '\t'); tab >= 0 {
		return place{at + 1, tab + 1}, "a tab stands in the indentation; indent with spaces"
	}
	p := place{at + 1, len(indent) + 1}
	for _, k := range syntaxProblems {
		if strings.Contains(problem, k.theirs) {
			return p, k.ours
		}
	}
	return p, fmt.Sprintf("this is no YAML (%s); correct what stands here or right before", problem)
}

// parserProblem gives the parser's words without the place.
func parserProblem(err error) string {
	problem := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(problem, "line "); ok {
		_, problem, _ = strings.Cut(rest, ": ")
	}
	return problem
}

// syntaxProblems are the parser's words for the mistakes that people make, and
// ours.
var syntaxProblems = [...]struct{ theirs, ours string }{
	{"mapping values are not allowed", "a colon followed by a space stands where no key can; put text with a colon in quotes, or correct the indentation"},
	{"could not find expected ':'", "a key has no colon, or a text goes on in the next line; write name: value, and put long texts in quotes"},
	{"did not find expected key", "something stands where a key is expected; correct the indentation, and close quotes and brackets before it"},
	{"did not find expected '-' indicator", "a list goes on without a dash; begin each element with a dash, in the same column"},
	{"did not find expected ',' or", "a bracket is not closed, or a comma is missing; write [a, b] or {name: value}"},
	{"did not find expected node content", "a value is missing; write one, and put text that starts with a special character in quotes"},
	{"cannot start any token", "a text starts with a character that YAML keeps for itself; put it in quotes"},
	{"found unexpected end of stream", "a quote is not closed; close it"},
	{"unknown anchor", "an alias names nothing, and aliases are not taken; write the value out, or put text that starts with * in quotes"},
	{"did not find expected alphabetic or numeric character", "a text starts with * or &, which YAML keeps for itself; put it in quotes"},
	{"unknown escape character", "a backslash in double quotes escapes nothing known; use single quotes, or write it twice"},
}
