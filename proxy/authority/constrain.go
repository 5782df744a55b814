package authority

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// nowhere is a domain that cannot exist (RFC 6761, section 6.4). Name
// constraints limit only the types of name that they mention (RFC 5280, section
// 4.2.1.10), so permitting this one alone forbids a whole type.
const nowhere = "bearerd.invalid"

// constrain limits what template can sign for to TLS servers under permit. A
// thief of its key gains nothing elsewhere: no other DNS name, no IP address,
// no mailbox, and no URI, which is how SPIFFE names a server.
func constrain(template *x509.Certificate, permit []string) {
	template.PermittedDNSDomainsCritical = true // of the whole extension
	template.PermittedDNSDomains = permit
	template.ExcludedIPRanges = []*net.IPNet{everyIPv4(), everyIPv6()}
	template.PermittedEmailAddresses = []string{nowhere}
	template.PermittedURIDomains = []string{nowhere}
}

func everyIPv4() *net.IPNet {
	return &net.IPNet{IP: make(net.IP, net.IPv4len), Mask: make(net.IPMask, net.IPv4len)}
}

func everyIPv6() *net.IPNet {
	return &net.IPNet{IP: make(net.IP, net.IPv6len), Mask: make(net.IPMask, net.IPv6len)}
}

// checkConstrained says in what way cert could sign for more than TLS servers
// under the DNS names that it permits.
func checkConstrained(cert *x509.Certificate) error {
	var wrong []string
	if !cert.BasicConstraintsValid || !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		wrong = append(wrong, "it may not sign certificates (CA:TRUE and keyCertSign are needed)")
	}
	if cert.MaxPathLen != 0 || !cert.MaxPathLenZero {
		wrong = append(wrong, "its path length is not 0, so that it could sign further authorities")
	}
	if !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) || len(cert.UnknownExtKeyUsage) > 0 {
		wrong = append(wrong, "its extended key usage is not serverAuth alone")
	}
	if !cert.PermittedDNSDomainsCritical {
		wrong = append(wrong, "it has no critical name constraints")
	}
	if len(cert.PermittedDNSDomains) == 0 || slices.ContainsFunc(cert.PermittedDNSDomains, isEveryName) {
		wrong = append(wrong, "it permits every DNS name")
	}
	if !excludes(cert.ExcludedIPRanges, everyIPv4()) || !excludes(cert.ExcludedIPRanges, everyIPv6()) {
		wrong = append(wrong, "it does not exclude all IP addresses (0.0.0.0/0 and ::/0)")
	}
	if len(wrong) > 0 {
		return errors.New("the intermediate is not constrained: " + strings.Join(wrong, "; "))
	}
	return nil
}

// isEveryName tells an empty constraint, which every name satisfies.
func isEveryName(domain string) bool { return strings.Trim(domain, ".") == "" }

func excludes(ranges []*net.IPNet, all *net.IPNet) bool {
	return slices.ContainsFunc(ranges, func(r *net.IPNet) bool { return r.String() == all.String() })
}

// covers says whether the constraints of the whole chain let k sign for name, a
// host or a wildcard's suffix.
func (k *keyPair) covers(name string) bool {
	within := func(domain string) bool { return isWithin(name, strings.ToLower(domain)) }
	for _, cert := range k.chain {
		permitted := len(cert.PermittedDNSDomains) == 0 || slices.ContainsFunc(cert.PermittedDNSDomains, within)
		if !permitted || slices.ContainsFunc(cert.ExcludedDNSDomains, within) {
			return false
		}
	}
	return true
}

// isWithin compares on label borders. A leading dot, which some authorities
// write, leaves out the domain itself.
func isWithin(name, domain string) bool {
	if strings.HasPrefix(domain, ".") {
		return strings.HasSuffix(name, domain)
	}
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// permits gives the fewest subtrees that hold all names, sorted.
func permits(names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, errors.New("authority: nothing to permit: an authority without a name to sign for is of no use; configure a route")
	}
	sorted := slices.Clone(names)
	for _, name := range sorted {
		if err := checkHost(name); err != nil {
			return nil, fmt.Errorf("authority: cannot permit %q: %w; write a DNS suffix or a host in lower case, such as vault.azure.net", name, err)
		}
	}
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	var fewest []string
	for _, name := range sorted {
		held := slices.ContainsFunc(sorted, func(other string) bool { return other != name && isWithin(name, other) })
		if !held {
			fewest = append(fewest, name)
		}
	}
	return fewest, nil
}

// checkHost says why host cannot be the name of a TLS server: only lower-case
// letters, digits and hyphens in labels of RFC 1035's lengths, and no address.
func checkHost(host string) error {
	if host == "" || len(host) > 253 {
		return errors.New("a host name has 1 to 253 characters")
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return errors.New("it is an IP address")
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return errors.New("a label has 1 to 63 characters and neither starts nor ends with a hyphen")
		}
		if strings.ContainsFunc(label, notLDH) {
			return errors.New("only lower-case letters, digits, hyphens and dots are allowed")
		}
		last = label
	}
	// What resolvers and browsers read as an address in an older spelling.
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return errors.New("its last label is a number")
	}
	return nil
}

func notLDH(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
}
