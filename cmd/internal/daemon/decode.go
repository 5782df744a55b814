package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/bearerd/bearerd/proxy/route"
)

// Mistake is one thing that is wrong in a configuration file.
type Mistake struct {
	File         string
	Line, Column int    // count from 1; 0: of the whole file
	Key          string // routes[0].hosts[1]; empty: the file itself
	Err          error  // what is wrong; what to do
}

// Error implements error: file:line:column: key: what is wrong; what to do.
func (m *Mistake) Error() string {
	where := m.File
	if m.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", m.File, m.Line, m.Column)
	}
	if m.Key != "" {
		where += ": " + m.Key
	}
	return where + ": " + m.Err.Error()
}

// Unwrap gives the mistake without its place.
func (m *Mistake) Unwrap() error { return m.Err }

// source is the file that a configuration comes from: where each of its keys
// stands, and what is wrong with it.
type source struct {
	file     string
	keys     map[string]place // by the key's path
	mistakes []*Mistake
}

type place struct{ line, column int }

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

// mark notes where a value stands.
func (s *source) mark(path string, n *yaml.Node) {
	if s.keys == nil {
		s.keys = make(map[string]place)
	}
	s.keys[path] = placeOf(n)
}

// has reports whether the file has a key.
func (s *source) has(path string) bool {
	_, ok := s.keys[path]
	return ok
}

// find gives the place of a value or, where the file has none, of what it would
// stand in.
func (s *source) find(path string) place {
	for path != "" {
		if p, ok := s.keys[path]; ok {
			return p
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return s.keys[""]
}

// fail notes a mistake in the value at a path.
func (s *source) fail(path, format string, args ...any) {
	s.failAt(s.find(path), path, format, args...)
}

// maxMistakes bounds what is told at once: a file of the wrong kind has a
// mistake in each word.
const maxMistakes = 100

func (s *source) failAt(p place, path, format string, args ...any) {
	if len(s.mistakes) == maxMistakes {
		return
	}
	s.mistakes = append(s.mistakes, &Mistake{File: s.file, Line: p.line, Column: p.column, Key: path, Err: fmt.Errorf(format, args...)})
}

// failedUnder reports whether there is a mistake in the value at a path, or in
// what it holds.
func (s *source) failedUnder(path string) bool {
	return slices.ContainsFunc(s.mistakes, func(m *Mistake) bool {
		rest, ok := strings.CutPrefix(m.Key, path)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// sort puts the mistakes in the order of the file.
func (s *source) sort() {
	slices.SortStableFunc(s.mistakes, func(a, b *Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// err joins the mistakes in the order of the file; nil where there are none.
func (s *source) err() error {
	s.sort()
	var errs []error
	for _, m := range s.mistakes {
		errs = append(errs, m)
	}
	return errors.Join(errs...)
}

// key is one key of a mapping: what it is called, where its value goes, and
// what the reference says about it.
type key struct {
	name  string
	value value
	text  string
}

// value takes a value out of the file. Before it is decoded, what it points to
// is the default.
type value interface {
	decode(s *source, path string, n *yaml.Node)
	// kind says what the value may be, for the reference.
	kind() string
	// current gives what it points to, as a file would write it.
	current() string
}

// maxText bounds a key and a value, in bytes, and so what mistakes repeat.
const maxText = 4 << 10

// take decodes one value, after refusing what no value may be.
func take(s *source, path string, n *yaml.Node, v value) {
	s.mark(path, n)
	switch {
	case n.Kind == yaml.AliasNode:
		s.fail(path, "aliases are not taken, so that a reader sees each value in its place; write out what *%s stands for", n.Value)
	case n.Style&yaml.TaggedStyle != 0:
		s.fail(path, "the tag %s is not taken; remove it", n.Tag)
	case len(n.Value) > maxText:
		s.fail(path, "a value of %d bytes is longer than any that is meant; shorten it to %d", len(n.Value), maxText)
	case isNull(n):
		s.fail(path, "it has no value; give it one, or remove the key")
	default:
		v.decode(s, path, n)
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// wants notes that a value is of another type.
func wants(s *source, path string, n *yaml.Node, what, example string) {
	s.fail(path, "this is %s, and %s is wanted; write it like %s", typeOf(n), what, example)
}

func typeOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	case "!!timestamp":
		return "a date"
	}
	return fmt.Sprintf("the text %.40q", n.Value)
}

// object is a mapping whose keys are known.
type object []key

func (o object) kind() string { return "mapping" }

func (o object) current() string {
	var parts []string
	for _, k := range o {
		parts = append(parts, k.name+": "+k.value.current())
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func (o object) decode(s *source, path string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		example := "{}"
		if len(o) > 0 {
			example = "{" + o[0].name + ": ...}"
		}
		wants(s, path, n, "a mapping", example)
		return
	}
	pairs(s, path, n, func(name string, keyNode, valueNode *yaml.Node) {
		at := join(path, name)
		i := slices.IndexFunc(o, func(k key) bool { return k.name == name })
		if i < 0 {
			s.failAt(placeOf(keyNode), at, "no such key is known; %s", o.suggest(name))
			return
		}
		take(s, at, valueNode, o[i].value)
	})
}

// pairs walks over a mapping, and notes keys that are no text or come twice.
func pairs(s *source, path string, n *yaml.Node, each func(name string, keyNode, valueNode *yaml.Node)) {
	first := make(map[string]int) // lines
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Tag == "!!merge":
			s.failAt(placeOf(k), path, "merge keys are not taken, so that a reader sees each value in its place; write the keys out")
			continue
		case len(k.Value) > maxText:
			s.failAt(placeOf(k), path, "a key of %d bytes is longer than any that is meant; shorten it to %d", len(k.Value), maxText)
			continue
		case k.Kind != yaml.ScalarNode || k.Style&yaml.TaggedStyle != 0 || k.Tag != "!!str":
			s.failAt(placeOf(k), path, "a key is no plain text; write it like name: value, and put numbers in quotes")
			continue
		}
		if line, ok := first[k.Value]; ok {
			s.failAt(placeOf(k), join(path, k.Value), "it stands in line %d already; remove one of them", line)
			continue
		}
		first[k.Value] = k.Line
		each(k.Value, k, v)
	}
}

// join gives the path of a key. A name that would spoil a terminal is quoted.
func join(path, name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		name = strconv.Quote(name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// suggest names the known key that was probably meant, else all that there are.
func (o object) suggest(name string) string {
	names := make([]string, len(o))
	for i, k := range o {
		names[i] = k.name
	}
	best := route.Nearest(name, max(1, (len(name)+1)/3), names)
	if best != "" {
		return fmt.Sprintf("write %s if that is meant, or remove it", best)
	}
	return "use " + strings.Join(names, ", ") + ", or remove it"
}
