package azure

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxHost is the longest name that DNS carries, without the root's dot
// (RFC 1035, section 2.3.4).
const maxHost = 253

// NormalizeHost splits an authority (RFC 3986, section 3.2, without userinfo)
// into the host, in lower case and without a trailing dot, and the port, 0
// where there is none. An IPv6 address loses its brackets. A name may hold
// ASCII letters, digits, hyphens and underscores alone: whatever needs
// decoding, folding or mapping before it is a name could be read as one name
// here and as another elsewhere, so it is an error.
//
// It does not allocate for a host that is in lower case already.
func NormalizeHost(authority string) (host string, port uint16, err error) {
	if strings.HasPrefix(authority, "[") {
		return normalizeIPv6(authority)
	}
	host, rest, hasPort := strings.Cut(authority, ":")
	if hasPort {
		if port, err = parsePort(rest); err != nil {
			return "", 0, err
		}
	}
	host = strings.TrimSuffix(host, ".")
	if err := checkName(host); err != nil {
		return "", 0, err
	}
	return strings.ToLower(host), port, nil
}

func normalizeIPv6(authority string) (string, uint16, error) {
	literal, rest, closed := strings.Cut(authority[1:], "]")
	// A zone ("%25eth0") means something on one machine alone.
	addr, err := netip.ParseAddr(literal)
	if !closed || err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", 0, errors.New("the host is no IPv6 address in brackets")
	}
	if rest == "" {
		return addr.String(), 0, nil
	}
	digits, ok := strings.CutPrefix(rest, ":")
	if !ok {
		return "", 0, errors.New("something follows the address in brackets")
	}
	port, err := parsePort(digits)
	if err != nil {
		return "", 0, err
	}
	return addr.String(), port, nil
}

// parsePort reads the digits after a colon. None at all are allowed there and
// mean the scheme's own port (RFC 3986, section 3.2.3).
func parsePort(digits string) (uint16, error) {
	if digits == "" {
		return 0, nil
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, errors.New("the port is no number")
		}
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || port == 0 {
		return 0, errors.New("the port is not between 1 and 65535")
	}
	return uint16(port), nil
}

// checkName holds a host name, in any case, to the letters, digits, hyphens
// and underscores that NormalizeHost promises.
func checkName(name string) error {
	if name == "" {
		return errors.New("the host is empty")
	}
	if len(name) > maxHost {
		return fmt.Errorf("the host is longer than %d bytes", maxHost)
	}
	label := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if label == 0 {
				return errors.New("the host has an empty label")
			}
			label = 0
			continue
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return fmt.Errorf("the host holds the byte %q", c)
		}
		if label++; label > 63 {
			return errors.New("the host has a label of more than 63 bytes")
		}
	}
	if label == 0 {
		return errors.New("the host has an empty label")
	}
	return nil
}
