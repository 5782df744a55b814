// Package azure answers what a host and a call are: which service of which
// cloud a host name belongs to, which audience its tokens are for, which
// credential a call brings along, which header fields a service insists on,
// and what a service's challenge says.
//
// It hides the table of clouds and services and the protocol's odd corners. It
// knows no routes, no tokens and no connections, and everything in it is a
// pure function of values, so that any forwarding path can ask it.
package azure

import "net/http"

// Fields is a read-only view of one header section. Names are asked for, and
// given, in canonical MIME form ("X-Ms-Version").
type Fields interface {
	// First gives a field's first value and how many values there are.
	First(name string) (value string, count int)
	// Each calls yield for each name and value until yield returns false.
	Each(yield func(name, value string) bool)
}

// Header makes net/http's map a Fields. Its nil value is an empty section.
type Header http.Header

// First implements Fields.
func (h Header) First(name string) (string, int) {
	values := h[name]
	if len(values) == 0 {
		return "", 0
	}
	return values[0], len(values)
}

// Each implements Fields, in no particular order of names.
func (h Header) Each(yield func(name, value string) bool) {
	for name, values := range h {
		for _, value := range values {
			if !yield(name, value) {
				return
			}
		}
	}
}

// Field is one header field to set, its name in canonical form.
type Field struct{ Name, Value string }

// Call is one HTTP request as the rules see it. All of it is as the caller
// sent it, but for the host.
type Call struct {
	Method string
	Scheme string // of the call to us: http or https
	Host   string // as NormalizeHost gives it
	Port   uint16 // 0: the scheme's own
	Path   string // escaped, exactly as sent; starts with a slash
	Query  string // raw, without the question mark
	Header Fields // nil: no fields
	Length int64  // of the body; -1: not known beforehand, 0: there is none
}

// first is Header.First that bears a nil Header.
func (c *Call) first(name string) (string, int) {
	if c.Header == nil {
		return "", 0
	}
	return c.Header.First(name)
}
