package azure

import "strings"

// doubtOf tells why a path may be read as another one: "" where it may not.
// plain says that no slash may be escaped in it, for it counts where one is.
func doubtOf(path string, plain bool) string {
	if isSimple(path) {
		return ""
	}
	const dots = "it has a dot segment"
	length, onlyDots := 0, true // of the segment
	var before byte
	for i := 0; i < len(path); {
		c, width := path[i], 1
		if c == '%' {
			if i+2 >= len(path) || unhex(path[i+1]) < 0 || unhex(path[i+2]) < 0 {
				return "it has a percent sign that escapes nothing"
			}
			c, width = byte(unhex(path[i+1])<<4|unhex(path[i+2])), 3
			if plain && (c == '/' || c == '.' || c == '%') {
				return "it has an escaped slash, dot or percent sign"
			}
		}
		if plain && (c == '\\' || c == ';' || c < ' ' || c == 0x7f) {
			return "it has a backslash, a semicolon or a control character"
		}
		// Overlong UTF-8 is one more way to write a slash.
		if plain && (c == 0xc0 || c == 0xc1 || before == 0xe0 && c < 0xa0 || before == 0xf0 && c < 0x90) {
			return "it is no valid UTF-8"
		}
		before = c
		i += width
		switch {
		case c == '/' && width == 1:
			if length > 0 && onlyDots {
				return dots
			}
			length, onlyDots = 0, true
		case c == '.':
			length++
			onlyDots = onlyDots && length <= 2
		default:
			length++
			onlyDots = false
		}
	}
	if length > 0 && onlyDots {
		return dots
	}
	return ""
}

// isSimple reports whether a path holds nothing that doubtOf looks for, as
// nearly all do.
func isSimple(path string) bool {
	before := byte('/')
	for i := range len(path) {
		c := path[i]
		if c < ' ' || c >= 0x7f || c == '%' || c == '\\' || c == ';' || c == '.' && before == '/' {
			return false
		}
		before = c
	}
	return true
}

// maxSegments is more than any documented path has.
const maxSegments = 40

// segments are those of a path that are not empty, still escaped.
type segments struct {
	at [maxSegments]string
	n  int
}

// split reports whether there is room for all segments.
func (s *segments) split(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" {
			continue
		}
		if s.n == len(s.at) {
			return false
		}
		s.at[s.n] = segment
		s.n++
	}
	return true
}

// isPlainName reports whether a word, perhaps escaped, is made of what documented
// ones are: ASCII letters, digits, hyphens, underscores, dots and dollars. The
// attack is "re%C5%BFtype", which is "restype" to whoever folds all of Unicode,
// and "comp%00".
func isPlainName(escaped string) bool {
	for i := 0; i < len(escaped); i++ {
		c := escaped[i]
		if c >= 'a' && c <= 'z' {
			continue // as most are
		}
		if c == '%' {
			if i+2 >= len(escaped) || unhex(escaped[i+1]) < 0 || unhex(escaped[i+2]) < 0 {
				return false
			}
			c = byte(unhex(escaped[i+1])<<4 | unhex(escaped[i+2]))
			i += 2
		}
		if l := lower(c); (l < 'a' || l > 'z') && !isDigit(c) && c != '-' && c != '_' && c != '.' && c != '$' {
			return false
		}
	}
	return true
}
