package dial

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// serverTimeout is how long one server has for one question; the next one is
	// asked then.
	serverTimeout = 2 * time.Second
	// rounds is how often all servers are asked.
	rounds = 2
	// maxServers is as many as the system's own resolver takes (resolv.conf(5)).
	maxServers = 3
	// maxAliases bounds how often one question makes us ask another one.
	maxAliases = 8
	// familyDelay is how long the other family's addresses are waited for once
	// those of one are known (RFC 8305, section 3, "Resolution Delay").
	familyDelay = 50 * time.Millisecond
	// maxTTL bounds how long an answer is believed, whatever its owner says.
	maxTTL = 10 * time.Minute
	// maxNames bounds the answers kept, for callers choose what is asked.
	maxNames = 1024
	// udpSize is what crosses every network in one packet (DNS flag day 2020).
	udpSize = 1232
)

// DNS is a Resolver that asks DNS servers by itself. Go's own reads the hosts
// file, which under hosts-entry steering leads every routed name back to us.
// NewDNS makes one; it is safe for concurrent use and needs no closing.
type DNS struct {
	servers func() ([]netip.AddrPort, error)

	mu    sync.Mutex // guards what follows
	known map[string]answer
}

// answer is what was told of a name.
type answer struct {
	addrs []netip.Addr
	until time.Time
}

// NewDNS makes a DNS that asks the servers, in order. None: those of the system,
// read anew for each question.
func NewDNS(servers []netip.AddrPort) *DNS {
	d := &DNS{servers: systemServers, known: make(map[string]answer)}
	if len(servers) > 0 {
		d.servers = func() ([]netip.AddrPort, error) { return servers, nil }
	}
	return d
}

// LookupNetIP implements Resolver. A name is always taken whole: no search
// domain is tried. The addresses are not to be changed. The error is a
// *net.DNSError.
func (d *DNS) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	name := strings.ToLower(dns.Fqdn(host))
	if addrs := d.recall(name); addrs != nil {
		return addrs, nil
	}
	servers, err := d.servers()
	if err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: host}
	}
	addrs, ttl, err := askBoth(ctx, servers[:min(len(servers), maxServers)], name)
	if err != nil {
		return nil, err
	}
	d.keep(name, addrs, ttl)
	return addrs, nil
}

func (d *DNS) recall(name string) []netip.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a, ok := d.known[name]; ok && time.Now().Before(a.until) {
		return a.addrs
	}
	return nil
}

func (d *DNS) keep(name string, addrs []netip.Addr, ttl time.Duration) {
	if ttl <= 0 {
		return
	}
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.known[name]; !ok && len(d.known) >= maxNames {
		for other, a := range d.known {
			if !now.Before(a.until) {
				delete(d.known, other)
			}
		}
		for other := range d.known { // any one
			if len(d.known) < maxNames {
				break
			}
			delete(d.known, other)
		}
	}
	d.known[name] = answer{addrs, now.Add(min(ttl, maxTTL))}
}

// askBoth gives the addresses of both families, IPv4's first: where the other
// one leads nowhere, most machines have that. A name that has one family alone is
// no error, nor is a server that cannot tell of the other.
func askBoth(ctx context.Context, servers []netip.AddrPort, name string) ([]netip.Addr, time.Duration, error) {
	type result struct {
		addrs []netip.Addr
		ttl   time.Duration
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kinds := [...]uint16{dns.TypeA, dns.TypeAAAA}
	var results [len(kinds)]result
	done := make(chan struct{}, len(kinds))
	for i, kind := range kinds {
		go func() {
			r := &results[i]
			r.addrs, r.ttl, r.err = ask(ctx, servers, name, kind)
			if len(r.addrs) > 0 {
				// What the other one finds later is not worth waiting for.
				time.AfterFunc(familyDelay, cancel)
			}
			done <- struct{}{}
		}()
	}
	for range kinds {
		<-done
	}
	v4, v6 := results[0], results[1]
	if addrs := append(v4.addrs, v6.addrs...); len(addrs) > 0 {
		switch {
		case v4.err != nil || v6.err != nil:
			return addrs, 0, nil // the next call may learn more
		case len(v4.addrs) == 0:
			return addrs, v6.ttl, nil
		case len(v6.addrs) == 0:
			return addrs, v4.ttl, nil
		}
		return addrs, min(v4.ttl, v6.ttl), nil
	}
	err := cmp.Or(v4.err, v6.err)
	if err == nil {
		err = notFound(name, "the name has no address")
	}
	return nil, 0, err
}

func notFound(name, text string) error {
	return &net.DNSError{Err: text, Name: strings.TrimSuffix(name, "."), IsNotFound: true}
}

// ask gives the addresses of one family, which may be none, and for how long
// they hold. Servers usually follow aliases by themselves.
func ask(ctx context.Context, servers []netip.AddrPort, name string, kind uint16) ([]netip.Addr, time.Duration, error) {
	ttl := maxTTL
	at := name
	for range maxAliases {
		r, err := exchange(ctx, servers, at, kind)
		if err != nil {
			return nil, 0, err
		}
		if r.Rcode == dns.RcodeNameError {
			return nil, 0, notFound(name, "no such host")
		}
		addrs, end, least := follow(r.Answer, at)
		ttl = min(ttl, least)
		if len(addrs) > 0 || end == at || len(r.Ns) > 0 { // there, with a SOA, the alias has none
			return addrs, ttl, nil
		}
		at = end
	}
	return nil, 0, &net.DNSError{Err: fmt.Sprintf("more than %d aliases follow one another", maxAliases), Name: strings.TrimSuffix(name, ".")}
}

// follow walks the aliases in an answer from a name on, and gives the addresses
// at their end.
func follow(records []dns.RR, name string) (addrs []netip.Addr, end string, ttl time.Duration) {
	ttl = maxTTL
	for range len(records) + 1 {
		next := ""
		for _, rr := range records {
			h := rr.Header()
			if !strings.EqualFold(h.Name, name) {
				continue
			}
			switch rr := rr.(type) {
			case *dns.A:
				addrs = appendAddr(addrs, rr.A)
			case *dns.AAAA:
				addrs = appendAddr(addrs, rr.AAAA)
			case *dns.CNAME:
				next = rr.Target
			default:
				continue
			}
			ttl = min(ttl, time.Duration(h.Ttl)*time.Second)
		}
		if next == "" || len(addrs) > 0 {
			break
		}
		name = strings.ToLower(next)
	}
	return addrs, name, ttl
}

func appendAddr(addrs []netip.Addr, ip net.IP) []netip.Addr {
	if a, ok := netip.AddrFromSlice(ip); ok {
		return append(addrs, a.Unmap())
	}
	return addrs
}

// exchange gives the first answer that tells anything, be it that there is no
// such name. What one server cannot tell, the next one may.
func exchange(ctx context.Context, servers []netip.AddrPort, name string, kind uint16) (*dns.Msg, error) {
	failure := &net.DNSError{Err: "no DNS server is known", Name: strings.TrimSuffix(name, ".")}
	for round := range rounds {
		for _, server := range servers {
			q := new(dns.Msg).SetQuestion(name, kind)
			if round == 0 {
				q.SetEdns0(udpSize, false) // which old servers do not know
			}
			r, err := askServer(ctx, server, q)
			if ctx.Err() != nil {
				failure.Err, failure.IsTimeout = "no DNS server answered in time", true
				return nil, failure
			}
			failure.Server = server.String()
			switch {
			case err != nil:
				failure.Err, failure.IsTemporary = fmt.Sprintf("the DNS server %v gave no answer: %v", server, cause(err)), true
				late, ok := errors.AsType[net.Error](err)
				failure.IsTimeout = ok && late.Timeout()
			case r.Rcode == dns.RcodeSuccess, r.Rcode == dns.RcodeNameError:
				return r, nil
			default:
				failure.Err, failure.IsTemporary, failure.IsTimeout = fmt.Sprintf("the DNS server %v failed: %s", server, dns.RcodeToString[r.Rcode]), true, false
			}
		}
	}
	return nil, failure
}

// cause takes what package net says of the operation and the address off an
// error.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// askServer asks one server, by TCP as well where the answer is too long for
// UDP.
func askServer(ctx context.Context, server netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	r, err := askOver(ctx, "udp", server, q)
	if err == nil && r.Truncated {
		r, err = askOver(ctx, "tcp", server, q)
	}
	return r, err
}

func askOver(ctx context.Context, network string, server netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })() // long ago
	client := dns.Client{Net: network, UDPSize: udpSize, Timeout: serverTimeout}
	r, _, err := client.ExchangeWithConn(q, &dns.Conn{Conn: conn, UDPSize: udpSize})
	if err != nil {
		return nil, err
	}
	if len(r.Question) != 1 || !strings.EqualFold(r.Question[0].Name, q.Question[0].Name) || r.Question[0].Qtype != q.Question[0].Qtype {
		return nil, errors.New("it answered another question")
	}
	return r, nil
}
