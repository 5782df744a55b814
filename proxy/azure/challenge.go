package azure

import "strings"

const (
	// maxChallenge bounds what is read of one WWW-Authenticate value. Real
	// ones, claims included, are under 2 KiB; a longer one is not understood.
	maxChallenge = 8 << 10
	// maxChallenges bounds how many values are read.
	maxChallenges = 16
)

// TokenRejected reports whether the WWW-Authenticate values of a 401 say that
// the token is bad, so that another one may help: a Bearer challenge without
// an error (Key Vault, Storage), or with invalid_token (ARM; RFC 6750, section
// 3.1). A challenge for claims is not such a one, for IMDS cannot put claims
// into a token, nor is any other error.
func TokenRejected(challenges []string) bool {
	rejected := false
	for i, value := range challenges {
		if i == maxChallenges {
			break
		}
		s := challengeScanner{text: value}
		if len(value) > maxChallenge {
			return false
		}
		for s.next() {
			switch {
			case !strings.EqualFold(s.scheme, "Bearer"):
			case s.claims, strings.EqualFold(s.err, "insufficient_claims"):
				return false
			case s.err == "", strings.EqualFold(s.err, "invalid_token"):
				rejected = true
			}
		}
	}
	return rejected
}

// challengeScanner reads the challenges of one WWW-Authenticate value (RFC
// 9110, section 11.6.1), and what services send in their place: parameters
// that are separated by spaces alone, and unquoted values that hold any
// character but space and comma.
type challengeScanner struct {
	text string // what is left

	scheme string
	err    string // the error parameter
	claims bool   // there is a claims parameter
}

// next reads one challenge: a scheme and the parameters up to the next one.
func (s *challengeScanner) next() bool {
	name, isParam := s.word()
	for isParam { // a parameter without a scheme belongs to nothing
		s.value()
		name, isParam = s.word()
	}
	if name == "" {
		return false
	}
	s.scheme, s.err, s.claims = name, "", false
	for {
		rest := s.text
		name, isParam := s.word()
		if !isParam {
			s.text = rest
			return true
		}
		value := s.value()
		switch {
		case strings.EqualFold(name, "error"):
			s.err = value
		case strings.EqualFold(name, "claims"):
			s.claims = true
		}
	}
}

// word reads the name of a scheme or, where an equals sign follows, of a
// parameter. At the end it gives "".
func (s *challengeScanner) word() (name string, isParam bool) {
	s.text = strings.TrimLeft(s.text, " \t,")
	end := strings.IndexAny(s.text, " \t,=")
	if end < 0 {
		end = len(s.text)
	}
	name, s.text = s.text[:end], s.text[end:]
	after := strings.TrimLeft(s.text, " \t")
	if !strings.HasPrefix(after, "=") {
		return name, false
	}
	s.text = after[1:]
	return name, true
}

// value reads what follows the equals sign. Nothing that is looked for holds
// an escape, so escapes are stepped over and left in place.
func (s *challengeScanner) value() (value string) {
	s.text = strings.TrimLeft(s.text, " \t")
	if !strings.HasPrefix(s.text, `"`) {
		end := strings.IndexAny(s.text, " \t,")
		if end < 0 {
			end = len(s.text)
		}
		value, s.text = s.text[:end], s.text[end:]
		return value
	}
	s.text = s.text[1:]
	for i := 0; i < len(s.text); i++ {
		switch s.text[i] {
		case '\\':
			i++
		case '"':
			value, s.text = s.text[:i], s.text[i+1:]
			return value
		}
	}
	value, s.text = s.text, "" // the quote is not closed
	return value
}
