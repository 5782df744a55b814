package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bearerd/bearerd/imds"
	identitysource "github.com/bearerd/bearerd/imds/source"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/dial"
	"github.com/bearerd/bearerd/proxy/entra"
)

// checked is a mapping that is looked at as a whole once it is decoded.
type checked struct {
	object
	check func(s *source, path string)
}

func (v checked) decode(s *source, path string, n *yaml.Node) {
	v.object.decode(s, path, n)
	v.check(s, path)
}

// pathValue is the path of a file or folder. A relative one counts from the
// folder of the configuration: a daemon's working directory is not its
// operator's.
type pathValue struct {
	value
	at *string
}

func path(at *string) value { return pathValue{text(at, "path"), at} }

func (v pathValue) decode(s *source, path string, n *yaml.Node) {
	v.value.decode(s, path, n)
	if *v.at != "" && !filepath.IsAbs(*v.at) {
		*v.at = filepath.Join(filepath.Dir(s.file), *v.at)
	}
}

// address takes IP:PORT or unix:PATH.
func address(at *Address) value { return parsed(at, "IP:PORT or unix:PATH", parseAddress) }

// maxSocketPath is the longest path that a socket's address holds on every
// system (104 bytes with the NUL on macOS, 108 on Linux: unix(7)).
const maxSocketPath = 103

func parseAddress(text string) (Address, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		switch {
		case !filepath.IsAbs(path):
			return Address{}, fmt.Errorf("%q does not name a socket by its whole path; write it like unix:/run/bearerd/proxy.sock", text)
		case len(path) > maxSocketPath:
			return Address{}, fmt.Errorf("the path of a socket has at most %d bytes; shorten it", maxSocketPath)
		}
		return Address{Unix: filepath.Clean(path)}, nil
	}
	tcp, err := netip.ParseAddrPort(text)
	if err == nil {
		return Address{TCP: tcp}, nil
	}
	switch {
	case strings.HasPrefix(text, ":"):
		return Address{}, fmt.Errorf("%q would listen on the whole network; write 127.0.0.1%s", text, text)
	case strings.HasPrefix(text, "localhost:"):
		return Address{}, fmt.Errorf("%q is a name; write 127.0.0.1%s", text, strings.TrimPrefix(text, "localhost"))
	}
	return Address{}, fmt.Errorf("%q is no address; write it like 127.0.0.1:8180, [::1]:8180 or unix:/run/bearerd/proxy.sock", text)
}

// connectTo is upstream.connect_to, whose entries package dial judges.
type connectTo struct{ table[string] }

func (v connectTo) decode(s *source, path string, n *yaml.Node) {
	v.table.decode(s, path, n)
	for host, target := range *v.at {
		if s.failedUnder(join(path, host)) {
			continue
		}
		if _, err := dial.New(dial.Options{ConnectTo: map[string]string{host: target}}); err != nil {
			// The place says already what it is about.
			problem := strings.TrimPrefix(err.Error(), fmt.Sprintf("connect_to: %+q: ", host))
			s.fail(join(path, host), "%s", problem)
		}
	}
	if _, err := dial.New(dial.Options{ConnectTo: *v.at}); err != nil && !s.failedUnder(path) {
		s.fail(path, "%s", strings.TrimPrefix(err.Error(), "connect_to: ")) // spelled in two ways
	}
}

// prefix takes an address or a prefix of addresses that need to be allowed. A
// wide one lets tunnels reach more than its writer thought of.
func prefix(text string) (netip.Prefix, error) {
	p, err := wholePrefix(text, "127.0.0.1 or 169.254.10.0/24")
	switch {
	case err != nil:
		return p, err
	case !p.IsSingleIP() && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() || p.Bits() < shortest(p.Addr()):
		return p, fmt.Errorf("%s reaches over more than loopback or link-local addresses, and few others need to be allowed; name single addresses", p)
	}
	return p, nil
}

// wholePrefix takes an address, or a prefix whose bits all count; like is how one
// is written.
func wholePrefix(text, like string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if a, addrErr := netip.ParseAddr(text); addrErr == nil && a.Zone() == "" {
		a = a.Unmap()
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is no address or prefix; write it like %s", text, like)
	case p != p.Masked():
		return p, fmt.Errorf("%s has bits behind its length; write %s", p, p.Masked())
	}
	return p, nil
}

// shortest gives the length of the prefix of the special addresses around a.
func shortest(a netip.Addr) int {
	switch {
	case a.Is4() && a.IsLoopback(): // 127.0.0.0/8
		return 8
	case a.Is4() && a.IsLinkLocalUnicast(): // 169.254.0.0/16
		return 16
	case a.Is6() && a.IsLinkLocalUnicast(): // fe80::/10
		return 10
	}
	return a.BitLen()
}

// anyPrefix takes an address or a prefix that is not everybody's.
func anyPrefix(text string) (netip.Prefix, error) {
	p, err := wholePrefix(text, "10.0.0.7 or 10.0.0.0/24")
	switch {
	case err != nil:
		return p, err
	case p.Bits() == 0:
		return p, fmt.Errorf("%s is everybody, who could then pass for anybody; name the load balancers", p)
	}
	return p, nil
}

// acmeDirectory takes the URL of an ACME server's directory.
func acmeDirectory(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return "", fmt.Errorf("%q is no https URL; write it like https://acme-v02.api.letsencrypt.org/directory", text)
	}
	return text, nil
}

// acmeDomain is one of acme.domains.
func acmeDomain(at *string) value {
	return parsed(at, "host", func(text string) (string, error) {
		host, err := bareHost(text)
		if err != nil {
			return "", err
		}
		if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") {
			return "", fmt.Errorf("%q is no name that an ACME server could look up; write it like proxy.corp.example", text)
		}
		return host, nil
	})
}

// httpAddress takes where HTTP-01 is answered.
func httpAddress(text string) (netip.AddrPort, error) {
	if text == "" {
		return netip.AddrPort{}, nil
	}
	a, err := netip.ParseAddrPort(text)
	if err != nil || a.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is no address and port; write it like 0.0.0.0:80", text)
	}
	return a, nil
}

// endpoint takes the URL of IMDS.
func endpoint(text string) (string, error) {
	c, err := imds.New(imds.Options{Endpoint: text})
	if err != nil {
		return "", err
	}
	c.Close()
	return text, nil
}

// sourceName takes the name of a source of tokens.
func sourceName(text string) (string, error) {
	if names := identitysource.Names(); text != "" && !slices.Contains(names, text) {
		return "", fmt.Errorf("%q is not known; use %s, or remove it", text, orList(names))
	}
	return text, nil
}

// checkIdentity finds ids that exclude one another, or that the source has no
// way to ask for.
func checkIdentity(id imds.Identity) error {
	if err := id.Validate(); err != nil {
		return err
	}
	switch id.Source {
	case identitysource.AzureCLI, identitysource.CloudShell, identitysource.ServiceFabric:
		if id.ClientID != "" || id.ObjectID != "" || id.ResourceID != "" {
			return fmt.Errorf("the source %s has one identity, which no id can choose; remove the id", id.Source)
		}
	case identitysource.AzureML, identitysource.Workload:
		if id.ObjectID != "" || id.ResourceID != "" {
			return fmt.Errorf("the source %s takes a client_id only; name the identity by that", id.Source)
		}
	}
	return nil
}

// guid takes the form in which Entra writes ids.
func guid(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	const like = "00000000-0000-0000-0000-000000000001"
	ok := len(text) == len(like)
	for i := 0; ok && i < len(text); i++ {
		if like[i] == '-' {
			ok = text[i] == '-'
		} else {
			ok = strings.IndexByte("0123456789abcdefABCDEF", text[i]) >= 0
		}
	}
	if !ok {
		return "", fmt.Errorf("%q is no id; write it like %s, as `az identity show` prints it", text, like)
	}
	return strings.ToLower(text), nil
}

// hostName is one of names.
// client takes an application's id.
func client(text string) (string, error) {
	if text == "" {
		return "", errors.New("the client is empty; write the application's id, or remove it")
	}
	id, err := guid(text)
	if err != nil {
		return "", fmt.Errorf("%q is no id; write the application's, like 00000000-0000-0000-0000-000000000001", text)
	}
	return id, nil
}

func tenant(text string) (string, error) { return text, entra.CheckTenant(text) }

func hostName(at *string) value { return parsed(at, "host", bareHost) }

// bareHost takes a host without a port, and writes it as others compare it.
func bareHost(text string) (string, error) {
	host, port, err := azure.NormalizeHost(text)
	if err != nil {
		return "", fmt.Errorf("%q is no host: %w; write it like proxy.corp.example", text, err)
	}
	if port != 0 {
		return "", fmt.Errorf("%q has a port; write %s", text, host)
	}
	return host, nil
}

// optionalHost is a bareHost that routes can name, or none.
func optionalHost(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	host, err := bareHost(text)
	if _, notAddress := netip.ParseAddr(host); err == nil && notAddress == nil {
		return "", fmt.Errorf("%q is an address, which no route names; write the host that clients mean", text)
	}
	return host, err
}

// resolver takes the address of a DNS server.
func resolver(text string) (netip.AddrPort, error) {
	at, err := netip.ParseAddrPort(text)
	if addr, addrErr := netip.ParseAddr(text); addrErr == nil {
		at, err = netip.AddrPortFrom(addr, 53), nil
	}
	if err != nil || at.Port() == 0 || at.Addr().IsUnspecified() {
		return at, fmt.Errorf("%q is no address of a DNS server; write it like 10.0.0.53 or [2001:db8::53]:5353", text)
	}
	return at, nil
}

// permitName is one of authority.permit.
func permitName(at *string) value { return parsed(at, "DNS suffix or host", permit) }

func permit(text string) (string, error) {
	host, err := bareHost(strings.TrimPrefix(text, "*."))
	if err != nil {
		return "", err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return "", errors.New("the authority never signs for an address; name a DNS suffix or a host")
	}
	if strings.Contains(host, "_") || strings.HasPrefix(host, "-") || strings.HasSuffix(host, "-") || strings.Contains(host, ".-") || strings.Contains(host, "-.") {
		return "", fmt.Errorf("%q is no name of a TLS server; use letters, digits, dots, and hyphens inside a label", text)
	}
	labels := strings.Split(host, ".")
	if len(labels) == 1 {
		return "", fmt.Errorf("%q reaches over a whole top-level domain, so that a stolen authority could sign for all of it; name a longer suffix, or a host", text)
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return "", fmt.Errorf("%q ends in a number, as addresses do; name a DNS suffix or a host", text)
	}
	return host, nil
}

// anyName takes a name as it stands; route.Compile checks it.
func anyName(text string) (string, error) { return text, nil }

// kind says what cloud may be.
func (v cloudValue) kind() string {
	return orList(append([]string{autoCloud}, azure.CloudNames()...)) + ", or a mapping"
}

func (v cloudValue) current() string { return v.at.name }

func (v cloudValue) decode(s *source, path string, n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		v.at.definition = &azure.Definition{}
		definitionKeys(v.at.definition, &v.at.file).decode(s, path, n)
		return
	}
	if n.Kind != yaml.ScalarNode {
		wants(s, path, n, "a name or a mapping", autoCloud)
		return
	}
	names := append([]string{autoCloud}, azure.CloudNames()...)
	for _, name := range names {
		if n.Value == name {
			v.at.name = name
			return
		}
	}
	s.fail(path, "no cloud is called %q; use %s, or a mapping that defines one", n.Value, orList(names))
}
