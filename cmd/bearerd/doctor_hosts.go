package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bearerd/bearerd/proxy/dial"
	"github.com/bearerd/bearerd/proxy/route"
)

const (
	// hostsAtOnce is how many hosts are looked at side by side.
	hostsAtOnce = 8
	// hostPatience is how long one connection may take.
	hostPatience = 8 * time.Second
	// aliasPatience is how long the DNS servers may take to tell of aliases.
	aliasPatience = 3 * time.Second
)

// routedHost is a host that a route names in full.
type routedHost struct {
	route *route.Route
	host  string
	port  string
}

func (h routedHost) address() string { return net.JoinHostPort(h.host, h.port) }

// routedHosts lists the hosts that the routes name in full, each once for each
// identity and audience. Those under a suffix cannot be listed.
func (e *examination) routedHosts() (all []routedHost, suffixes int) {
	for _, r := range e.table.Routes() {
		for _, name := range r.Hosts {
			if strings.HasPrefix(name, "*") {
				suffixes++
				continue
			}
			h := routedHost{route: r, host: name, port: "443"}
			if host, port, err := net.SplitHostPort(name); err == nil {
				h.host, h.port = host, port
			}
			if !slices.ContainsFunc(all, func(o routedHost) bool {
				return o.address() == h.address() && o.route.Audience == r.Audience && o.route.Identity == r.Identity
			}) {
				all = append(all, h)
			}
		}
	}
	return all, suffixes
}

// eachHost runs a check of every host, some side by side, and gives the findings
// in the order of the hosts.
func eachHost(hosts []routedHost, check func(routedHost) []finding) (found []finding) {
	results := make([][]finding, len(hosts))
	turn := make(chan struct{}, hostsAtOnce)
	var wg sync.WaitGroup
	for i, h := range hosts {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			results[i] = check(h)
		})
	}
	wg.Wait()
	return slices.Concat(results...)
}

// hosts looks up the routed hosts and connects to them.
func (e *examination) hosts(ctx context.Context) []finding {
	all, suffixes := e.routedHosts()
	var once []routedHost
	for _, h := range all {
		if !slices.ContainsFunc(once, func(o routedHost) bool { return o.address() == h.address() }) {
			once = append(once, h)
		}
	}
	found := eachHost(once, func(h routedHost) []finding { return e.host(ctx, h) })
	if suffixes > 0 {
		found = append(found, finding{Check: "DNS", Level: levelNote, Seen: fmt.Sprintf("routes also take all hosts under %d suffixes, which cannot be looked at: name a host in a route to have it checked", suffixes)})
	}
	return found
}

func (e *examination) host(ctx context.Context, h routedHost) []finding {
	ctx, cancel := context.WithTimeout(ctx, hostPatience)
	defer cancel()
	targets, byOperator, err := e.dialer.Lookup(ctx, h.address())
	if err != nil {
		return []finding{lookupFailed(h.host, err)}
	}
	found := []finding{e.where(ctx, h.host, targets, byOperator)}
	conn, err := e.dialer.DialContext(ctx, "tcp", h.address())
	if err != nil {
		return append(found, finding{Check: "TCP", Level: levelFail, Subject: h.address(), Seen: "no connection: " + plainError(err), Do: connectAdvice(targets[0].Addr())})
	}
	defer conn.Close()
	secure := tls.Client(conn, &tls.Config{ServerName: h.host, RootCAs: e.config.Upstream.RootCAs, NextProtos: []string{"http/1.1"}})
	if err := secure.HandshakeContext(ctx); err != nil {
		return append(found, tlsFailed(h, err))
	}
	leaf := secure.ConnectionState().PeerCertificates[0]
	return append(found, finding{Check: "TLS", Subject: h.address(), Seen: fmt.Sprintf("%s at %s, with a certificate by %s until %s",
		tls.VersionName(secure.ConnectionState().Version), conn.RemoteAddr(), cmp.Or(leaf.Issuer.CommonName, leaf.Issuer.String()), leaf.NotAfter.UTC().Format(time.DateOnly))})
}

func lookupFailed(host string, err error) finding {
	if forbidden, ok := errors.AsType[*dial.ForbiddenError](err); ok {
		return finding{Check: "DNS", Level: levelFail, Subject: host, Seen: fmt.Sprintf("it leads to %s, %s", forbidden.Address, forbidden.Reason), Do: forbidden.Cure}
	}
	f := finding{Check: "DNS", Level: levelFail, Subject: host, Seen: plainError(err), Do: "check the DNS servers (/etc/resolv.conf), or name some under upstream.resolvers"}
	if unknown, ok := errors.AsType[*net.DNSError](err); ok && unknown.IsNotFound {
		f.Do = "correct the name in the route; for a private endpoint, link its private DNS zone to this machine's network"
	}
	return f
}

// privateLink is in the names of private endpoints' zones.
const privateLink = ".privatelink."

// where tells what a host's name leads to.
func (e *examination) where(ctx context.Context, host string, targets []netip.AddrPort, byOperator bool) finding {
	f := finding{Check: "DNS", Subject: host}
	first := targets[0].Addr()
	if byOperator {
		f.Seen = fmt.Sprintf("%s is dialled, by upstream.connect_to", targets[0])
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, aliasPatience)
	defer cancel()
	aliases, err := e.names.Aliases(ctx, host)
	linked := strings.Contains(host, privateLink) || slices.ContainsFunc(aliases, func(a string) bool { return strings.Contains(a, privateLink) })
	switch {
	case first.IsPrivate() && linked:
		f.Seen = fmt.Sprintf("%s, a private endpoint", first)
	case first.IsPrivate():
		f.Seen = fmt.Sprintf("%s, a private address", first)
	case linked:
		f.Level = levelWarn
		f.Seen = fmt.Sprintf("%s, a public address, though the name is an alias of a private endpoint's (%s)", first, aliases[0])
		f.Do = "link the private DNS zone to this machine's network, where calls are meant to stay in it"
	default:
		f.Seen = fmt.Sprintf("%s, a public address", first)
	}
	if err != nil {
		f.Seen += "; whether it is a private endpoint's is not known: " + plainError(err)
	}
	return f
}

func connectAdvice(to netip.Addr) string {
	if to.IsPrivate() {
		return "check that the private endpoint is approved, and that routes, peerings and network security groups let this machine reach it on port 443"
	}
	return "check that a firewall or network security group lets this machine out to port 443"
}

func tlsFailed(h routedHost, err error) finding {
	f := finding{Check: "TLS", Level: levelFail, Subject: h.address(), Seen: plainError(err), Do: "check what stands between this machine and the service"}
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok && unknown.Cert != nil {
		f.Seen = fmt.Sprintf("its certificate is by %q, which is not trusted", unknown.Cert.Issuer.String())
		f.Do = "if a firewall of yours opens TLS, have it leave this host out, or add its authority to upstream.ca_file; if there is none, somebody is in between"
	}
	if other, ok := errors.AsType[x509.HostnameError](err); ok {
		f.Seen = fmt.Sprintf("the certificate is for %s", strings.Join(other.Certificate.DNSNames, ", "))
		f.Do = "check upstream.connect_to and DNS: another host answers there"
	}
	if old, ok := errors.AsType[x509.CertificateInvalidError](err); ok && old.Reason == x509.Expired {
		f.Seen = "the certificate is expired or not valid yet"
		f.Do = "compare this machine's clock; else the service's certificate has to be renewed"
	}
	return f
}

// plainError leaves out what the finding's subject says.
func plainError(err error) string {
	if unknown, ok := errors.AsType[*net.DNSError](err); ok {
		return "its name is not resolved: " + unknown.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}
