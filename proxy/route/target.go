package route

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/bearerd/bearerd/proxy/azure"
)

// target is one entry of a rule's hosts: one host, or the hosts of a pattern,
// on one port.
type target struct {
	host    string        // empty: the pattern counts
	pattern azure.Pattern // has an empty suffix where host counts
	port    uint16        // 0: 443, and 80 with plain http
}

func parseTarget(text string) (target, error) {
	name, isPattern := strings.CutPrefix(text, "*.")
	if strings.Contains(name, "*") {
		return target{}, fmt.Errorf("%q: a * stands for the first label alone; write *.example.com, or name exact hosts", text)
	}
	host, port, err := azure.NormalizeHost(name)
	if err != nil {
		return target{}, fmt.Errorf("%q is no host: %w; write it like payroll.vault.azure.net, with :port where it is not 443", text, err)
	}
	if isAddress(host) {
		return target{}, errors.New("an address cannot be routed, for its certificate would vouch for no service; name a host, and where it is in upstream.connect_to")
	}
	if !isPattern {
		return target{host: host, port: port}, nil
	}
	t := target{pattern: azure.Pattern{Suffix: host}, port: port}
	return t, t.pattern.Check()
}

// isAddress reports whether a host is an address in any spelling that
// resolvers take, such as 0x7f.1: names end in a label that is no number
// (https://url.spec.whatwg.org/#ends-in-a-number-checker).
func isAddress(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	return strings.Trim(last, "0123456789") == "" ||
		strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == ""
}

// String gives the target as the configuration writes it.
func (t target) String() string {
	text := t.host
	if t.host == "" {
		text = t.pattern.String()
	}
	if t.port != 0 {
		text = fmt.Sprintf("%s:%d", text, t.port)
	}
	return text
}

// knownTo reports whether the target is a service's, and safe to be matched.
func (t target) knownTo(s *azure.Service) bool {
	if t.host == "" {
		return s.HasPattern(t.pattern)
	}
	return s.Has(t.host)
}

// serviceIn gives the service of the cloud that the target belongs to.
func (t target) serviceIn(cloud *azure.Cloud) *azure.Service {
	if t.host != "" {
		s, _ := cloud.ServiceOf(t.host)
		return s
	}
	for _, s := range cloud.Services() {
		if s.HasPattern(t.pattern) {
			return s
		}
	}
	return nil
}

// namesHosts reports whether all hosts of u, whatever the port, are t's.
func (t target) namesHosts(u target) bool {
	switch {
	case t.host != "":
		return t.host == u.host
	case u.host != "":
		return t.pattern.Match(u.host)
	}
	return t.pattern.Covers(u.pattern)
}

// covers reports whether all calls to u are calls to t.
func (t target) covers(u target) bool { return t.port == u.port && t.namesHosts(u) }

// takesPort reports whether the target is meant at a port, which plain says to
// be reached by plain http.
func (t target) takesPort(port uint16, plain bool) bool {
	if t.port != 0 {
		return port == t.port
	}
	return port == 443 || port == 80 && plain
}
