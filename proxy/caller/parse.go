package caller

import (
	"errors"
	"fmt"
	"math"
	"os/user"
	"path"
	"strconv"
	"strings"
)

// ParseUser reads the name or number of a user. A name must be in the system's
// database, which is asked now.
func ParseUser(text string) (Account, error) {
	return parseAccount(text, "user", "getent passwd", func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
}

// ParseGroup reads the name or number of a group, as ParseUser does a user's.
func ParseGroup(text string) (Account, error) {
	return parseAccount(text, "group", "getent group", func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
}

func parseAccount(text, what, lists string, lookup func(string) (string, error)) (Account, error) {
	digits := text
	if text == "" {
		return Account{}, fmt.Errorf("no %s is named; write a name or a number", what)
	}
	if strings.Trim(text, "0123456789") != "" {
		if strings.Trim(text, "0123456789-") == "" {
			return Account{}, fmt.Errorf("%s is no number of a %s; write one from 0 to %d", text, what, uint32(math.MaxUint32-1))
		}
		var err error
		if digits, err = lookup(text); err != nil {
			var noUser user.UnknownUserError
			var noGroup user.UnknownGroupError
			if !errors.As(err, &noUser) && !errors.As(err, &noGroup) {
				return Account{}, fmt.Errorf("looking up the %s %q: %w; write its number", what, text, err)
			}
			return Account{}, fmt.Errorf("no %s is called %q on this machine; correct it (`%s` lists them), or write its number", what, text, lists)
		}
	}
	id, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || id == math.MaxUint32 || strconv.FormatUint(id, 10) != digits { // the highest stands for none (chown(2)), and 010 is 8 to some
		return Account{}, fmt.Errorf("%s is no number of a %s; write one from 0 to %d", digits, what, uint32(math.MaxUint32-1))
	}
	return Account{Name: text, ID: uint32(id)}, nil
}

// ParseCgroup reads the path of a cgroup, as /proc/PID/cgroup has it behind 0::.
// It need not be there yet: a service's comes and goes with the service.
func ParseCgroup(text string) (string, error) {
	switch {
	case !strings.HasPrefix(text, "/"):
		return "", fmt.Errorf("%q does not begin with a slash; write the path as `systemctl show --property ControlGroup UNIT` does, like /system.slice/payroll.service", text)
	case path.Clean(text) == "/":
		return "", errors.New("every process is in /; name a cgroup below it, or leave it out")
	case path.Clean(text) != text:
		return "", fmt.Errorf("%q is not in its plain form; write %s", text, path.Clean(text))
	}
	return text, nil
}

// ParseCertificate reads a name that client certificates carry: a DNS name, a
// URI or a mail address.
func ParseCertificate(text string) (string, error) {
	if text == "" || strings.TrimSpace(text) != text {
		return "", errors.New("it is empty, or begins or ends with a space; write a DNS name, a URI or a mail address of the certificate's")
	}
	if !strings.ContainsAny(text, ":@ ") {
		return strings.ToLower(text), nil
	}
	return text, nil
}
