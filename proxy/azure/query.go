package azure

import "strings"

// params calls yield for each parameter of a raw query, name and value still
// escaped, until yield returns false. Azure's services separate parameters by
// "&" alone.
func params(query string) func(yield func(name, value string) bool) {
	return func(yield func(string, string) bool) {
		for query != "" {
			var param string
			param, query, _ = strings.Cut(query, "&")
			if param == "" {
				continue
			}
			name, value, _ := strings.Cut(param, "=")
			if !yield(name, value) {
				return
			}
		}
	}
}

// readsAs reports whether escaped text reads as want, which is in lower case,
// once it is unescaped, whatever its case. Azure's services take the names of
// parameters in any case. It does not allocate.
func readsAs(escaped, want string) bool {
	if len(escaped) <= len(want) {
		// What is escaped is longer. From the end, for many names begin alike.
		for i := len(escaped) - 1; i >= 0 && len(escaped) == len(want); i-- {
			if lower(escaped[i]) != want[i] {
				return false
			}
		}
		return len(escaped) == len(want)
	}
	if strings.IndexByte(escaped, '%') < 0 {
		return false
	}
	i := 0
	for j := range len(want) {
		if i >= len(escaped) {
			return false
		}
		c := escaped[i]
		if c == '%' && i+2 < len(escaped) {
			if hi, lo := unhex(escaped[i+1]), unhex(escaped[i+2]); hi >= 0 && lo >= 0 {
				c = byte(hi<<4 | lo)
				i += 2
			}
		}
		if lower(c) != want[j] {
			return false
		}
		i++
	}
	return i == len(escaped)
}

func unhex(c byte) int {
	switch c = lower(c); {
	case isDigit(c):
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

// queryView tells what a raw query says, by its parameters' names.
type queryView string

// value gives the value of a parameter, still escaped, and how often it is
// there. name is in lower case.
func (q queryView) value(name string) (value string, count int) {
	for n, v := range params(string(q)) {
		if readsAs(n, name) {
			if count++; count == 1 {
				value = v
			}
		}
	}
	return value, count
}

// is reports whether a parameter is there with a value, whatever its case.
func (q queryView) is(name, want string) bool {
	for n, v := range params(string(q)) {
		if readsAs(n, name) && readsAs(v, want) {
			return true
		}
	}
	return false
}
