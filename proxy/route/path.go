package route

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// pathPattern is one compiled entry of a rule's paths.
type pathPattern struct {
	text     string
	fold     bool // the service compares without regard to ASCII case
	segments []segment
}

type segment struct {
	kind    segmentKind
	literal string
}

type segmentKind uint8

const (
	literalSegment segmentKind = iota
	oneSegment                 // *: any one, not empty
	manySegments               // **: any number, none included
)

// parsePath compiles one entry of paths. It is written unescaped and matches
// the whole path. At its end, ** stands for one segment or more, so that
// /container/** does not reach the container itself; a slash at the end counts.
func parsePath(text string, fold bool) (pathPattern, error) {
	p := pathPattern{text: text, fold: fold}
	if !strings.HasPrefix(text, "/") {
		return p, fmt.Errorf("%q does not start with a slash; write it like /secrets/*", text)
	}
	if i := strings.IndexAny(text, `?#%\;`); i >= 0 {
		return p, fmt.Errorf("%q holds %q, which no path that is taken has; write the path alone, unescaped", text, text[i])
	}
	if problem := pathProblem(text); problem != "" {
		return p, fmt.Errorf("%q can never match: %s; remove that", text, problem)
	}
	if text == "/" {
		return p, nil
	}
	names := strings.Split(text[1:], "/")
	for i, name := range names {
		switch {
		case name == "**" && i == len(names)-1:
			p.segments = append(p.segments, segment{kind: oneSegment}, segment{kind: manySegments})
		case name == "**":
			p.segments = append(p.segments, segment{kind: manySegments})
		case name == "*":
			p.segments = append(p.segments, segment{kind: oneSegment})
		case strings.Contains(name, "*"):
			return p, fmt.Errorf("%q has a * beside other characters; * stands for a whole segment and ** for many", text)
		default:
			p.segments = append(p.segments, segment{literal: name})
		}
	}
	return p, nil
}

// names reports whether the pattern has a literal segment, whatever its case.
func (p *pathPattern) names(literal string) bool {
	for _, s := range p.segments {
		if s.kind == literalSegment && strings.EqualFold(s.literal, literal) {
			return true
		}
	}
	return false
}

// match reports whether an escaped path, in which pathProblem has found
// nothing, is one of the pattern's. It does not allocate, and goes over the
// path once for each ** at most.
func (p *pathPattern) match(path string) bool {
	path = path[1:]
	from := 0 // where the segment to look at begins; beyond the path: none is left
	if path == "" {
		from = 1
	}
	at := 0
	many, resume := -1, 0 // the last ** passed, and the segment behind those it took
	for {
		if at < len(p.segments) && p.segments[at].kind == manySegments {
			many, resume = at, from
			at++
			continue
		}
		if from > len(path) {
			return at == len(p.segments)
		}
		if end := segmentEnd(path, from); at < len(p.segments) && p.takes(p.segments[at], path[from:end]) {
			from = end + 1
			at++
			continue
		}
		if many < 0 {
			return false
		}
		resume = segmentEnd(path, resume) + 1 // let the ** take one more
		from, at = resume, many+1
	}
}

func segmentEnd(path string, from int) int {
	if length := strings.IndexByte(path[from:], '/'); length >= 0 {
		return from + length
	}
	return len(path)
}

func (p *pathPattern) takes(s segment, escaped string) bool {
	if s.kind == oneSegment {
		return escaped != ""
	}
	i := 0
	for j := range len(s.literal) {
		if i >= len(escaped) {
			return false
		}
		c, width := unescapeByte(escaped[i:])
		if c != s.literal[j] && !(p.fold && lower(c) == lower(s.literal[j])) {
			return false
		}
		i += width
	}
	return i == len(escaped)
}

// pathProblem tells why a path cannot be judged: different servers read it as
// different paths. It is "" for a path that can, which starts with a slash.
func pathProblem(path string) string {
	if !strings.HasPrefix(path, "/") {
		return "it does not start with a slash"
	}
	var char [utf8.UTFMax]byte // the beginning of a character
	held := 0
	for i := 0; i < len(path); {
		c, width := unescapeByte(path[i:])
		switch {
		case width == 0:
			return "it has a percent sign that escapes nothing"
		case width == 3 && (c == '/' || c == '\\' || c == '.' || c == '%'):
			return "it has an escaped slash, backslash, dot or percent sign"
		case c == '\\':
			return "it has a backslash"
		case c == ';': // servers of Java cut parameters off segments there
			return "it has a semicolon"
		case c < ' ' || c == 0x7f:
			return "it has a control character"
		}
		i += width
		if held == 0 && c < utf8.RuneSelf {
			continue
		}
		// Overlong UTF-8 is one more way to write a slash.
		char[held] = c
		held++
		if utf8.FullRune(char[:held]) {
			if _, size := utf8.DecodeRune(char[:held]); size == 1 {
				return "it is no valid UTF-8"
			}
			held = 0
		}
	}
	if held > 0 {
		return "it is no valid UTF-8"
	}
	return segmentProblem(path)
}

func segmentProblem(path string) string {
	for rest, more := path[1:], true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		switch {
		case name == "." || name == "..":
			return "it has a dot segment"
		case name == "" && more:
			return "it has an empty segment"
		}
	}
	return ""
}

// unescapeByte reads one byte of an escaped path, and tells how many bytes of
// it that took: 0 where a percent sign escapes nothing.
func unescapeByte(s string) (c byte, width int) {
	if s[0] != '%' {
		return s[0], 1
	}
	if len(s) < 3 {
		return 0, 0
	}
	hi, lo := unhex(s[1]), unhex(s[2])
	if hi < 0 || lo < 0 {
		return 0, 0
	}
	return byte(hi<<4 | lo), 3
}

func unhex(c byte) int {
	switch c = lower(c); {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
