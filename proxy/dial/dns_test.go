package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// dnsServer answers from a zone: lines as in a zone file, by owner and type.
type dnsServer struct {
	addr netip.AddrPort

	mu      sync.Mutex // guards what follows
	records []dns.RR
	rcode   map[string]int // by name
	mute    map[uint16]bool
	cutUDP  bool // truncate every answer by UDP
	noEDNS  bool
	asked   []string // "A vault.example. udp"
}

func startDNS(tb testing.TB, zone ...string) *dnsServer {
	tb.Helper()
	s := &dnsServer{rcode: make(map[string]int), mute: make(map[uint16]bool)}
	for _, line := range zone {
		rr, err := dns.NewRR(line)
		if err != nil {
			tb.Fatal(err)
		}
		s.records = append(s.records, rr)
	}
	var packets net.PacketConn
	var l net.Listener
	for l == nil { // until a port is free for both
		var err error
		if packets, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			tb.Fatal(err)
		}
		if l, err = net.Listen("tcp", packets.LocalAddr().String()); err != nil {
			packets.Close()
		}
	}
	s.addr = packets.LocalAddr().(*net.UDPAddr).AddrPort()
	var serving sync.WaitGroup
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: s}, {Listener: l, Handler: s}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		serving.Go(func() { server.ActivateAndServe() })
		<-started
		tb.Cleanup(func() { server.Shutdown() })
	}
	tb.Cleanup(func() { packets.Close(); l.Close(); serving.Wait() })
	return s
}

// ServeDNS implements dns.Handler. It follows no alias.
func (s *dnsServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, kind := q.Question[0].Name, q.Question[0].Qtype
	network := w.LocalAddr().Network()
	s.asked = append(s.asked, fmt.Sprintf("%s %s %s", dns.TypeToString[kind], at, network))
	if s.mute[kind] {
		return
	}
	r := new(dns.Msg).SetReply(q)
	switch {
	case s.noEDNS && q.IsEdns0() != nil:
		r.Rcode = dns.RcodeFormatError
	case s.rcode[at] != 0:
		r.Rcode = s.rcode[at]
	case s.cutUDP && network == "udp":
		r.Truncated = true
	default:
		for _, rr := range s.records {
			if h := rr.Header(); strings.EqualFold(h.Name, at) && (h.Rrtype == kind || h.Rrtype == dns.TypeCNAME) {
				r.Answer = append(r.Answer, rr)
			}
		}
	}
	w.WriteMsg(r)
}

func (s *dnsServer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *dnsServer) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(slices.Values(s.asked))
}

func lookUp(tb testing.TB, d *DNS, name string) ([]string, *net.DNSError) {
	tb.Helper()
	addrs, err := d.LookupNetIP(tb.Context(), "ip", name)
	var failure *net.DNSError
	if err != nil && !errors.As(err, &failure) {
		tb.Fatalf("%s: %v is no DNSError", name, err)
	}
	var texts []string
	for _, a := range addrs {
		texts = append(texts, a.String())
	}
	return texts, failure
}

func TestDNSAnswers(t *testing.T) {
	s := startDNS(t,
		"vault.example. 60 IN A 10.0.0.5", "vault.example. 60 IN AAAA 2001:db8::5",
		"four.example. 60 IN A 10.0.0.6", "six.example. 60 IN AAAA 2001:db8::6",
		"payroll.vault.azure.net. 60 IN CNAME payroll.privatelink.vaultcore.azure.net.",
		"payroll.privatelink.vaultcore.azure.net. 60 IN CNAME other.example.", "other.example. 60 IN A 10.0.0.7",
		"circle.example. 60 IN CNAME round.example.", "round.example. 60 IN CNAME circle.example.",
		"nothing.example. 60 IN TXT x",
	)
	s.set(func() { s.rcode["gone.example."] = dns.RcodeNameError })
	for name, want := range map[string][]string{
		"vault.example": {"10.0.0.5", "2001:db8::5"}, "VAULT.example.": {"10.0.0.5", "2001:db8::5"},
		"four.example": {"10.0.0.6"}, "six.example": {"2001:db8::6"}, "payroll.vault.azure.net": {"10.0.0.7"},
	} {
		if got, err := lookUp(t, NewDNS([]netip.AddrPort{s.addr}), name); !slices.Equal(got, want) || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"gone.example": "no such host", "nothing.example": "the name has no address",
		"circle.example": "more than 8 aliases follow one another",
	} {
		if got, err := lookUp(t, NewDNS([]netip.AddrPort{s.addr}), name); err == nil || err.Err != want || err.IsNotFound != (name != "circle.example") {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestDNSLongAnswersComeByTCP(t *testing.T) {
	s := startDNS(t, "vault.example. 60 IN A 10.0.0.5")
	s.set(func() { s.cutUDP = true })
	if got, err := lookUp(t, NewDNS([]netip.AddrPort{s.addr}), "vault.example"); !slices.Equal(got, []string{"10.0.0.5"}) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, want := s.questions(), []string{"A vault.example. tcp", "A vault.example. udp", "AAAA vault.example. tcp", "AAAA vault.example. udp"}; !slices.Equal(got, want) {
		t.Errorf("asked %q", got)
	}
}

func TestDNSAnswersAreKeptForTheirTime(t *testing.T) {
	s := startDNS(t, "kept.example. 60 IN A 10.0.0.5", "fleeting.example. 0 IN A 10.0.0.6",
		"alias.example. 0 IN CNAME kept.example.", "short.example. 1 IN A 10.0.0.7")
	d := NewDNS([]netip.AddrPort{s.addr})
	for name, want := range map[string]int{"kept.example": 2, "fleeting.example": 4, "alias.example": 8} {
		s.set(func() { s.asked = nil })
		for range 2 {
			lookUp(t, d, name)
		}
		if got := s.questions(); len(got) != want {
			t.Errorf("%s: asked %q", name, got)
		}
	}
	lookUp(t, d, "short.example")
	if left := time.Until(d.known["short.example."].until); left > time.Second || left <= 0 {
		t.Errorf("an answer of 1 s is kept for %s", left)
	}
	d.keep("short.example.", []netip.Addr{netip.IPv6Loopback()}, time.Nanosecond)
	if got, err := lookUp(t, d, "short.example"); !slices.Equal(got, []string{"10.0.0.7"}) {
		t.Errorf("after its time: %v, %v", got, err)
	}
	for i := range 3 * maxNames {
		d.keep(fmt.Sprintf("n%d.example.", i), []netip.Addr{netip.IPv6Loopback()}, time.Hour)
	}
	if len(d.known) > maxNames {
		t.Errorf("%d names are kept", len(d.known))
	}
}

func TestDNSNextServer(t *testing.T) {
	good := startDNS(t, "vault.example. 60 IN A 10.0.0.5")
	for name, bad := range map[string]func(*dnsServer){
		"SERVFAIL": func(s *dnsServer) { s.rcode["vault.example."] = dns.RcodeServerFailure },
		"REFUSED":  func(s *dnsServer) { s.rcode["vault.example."] = dns.RcodeRefused },
		"silence":  func(s *dnsServer) { s.mute[dns.TypeA], s.mute[dns.TypeAAAA] = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			s := startDNS(t)
			s.set(func() { bad(s) })
			if got, err := lookUp(t, NewDNS([]netip.AddrPort{s.addr, good.addr}), "vault.example"); !slices.Equal(got, []string{"10.0.0.5"}) || err != nil {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	s := startDNS(t)
	s.set(func() { s.rcode["vault.example."] = dns.RcodeServerFailure })
	if _, err := lookUp(t, NewDNS([]netip.AddrPort{s.addr}), "vault.example"); err == nil || err.IsNotFound || !err.IsTemporary || err.Err != fmt.Sprintf("the DNS server %v failed: SERVFAIL", s.addr) {
		t.Errorf("%+v", err)
	}
	// NXDOMAIN is an answer: the next server is not to be asked.
	s.set(func() { s.rcode["vault.example."] = dns.RcodeNameError })
	if _, err := lookUp(t, NewDNS([]netip.AddrPort{s.addr, good.addr}), "vault.example"); err == nil || !err.IsNotFound {
		t.Errorf("%+v", err)
	}
}

func TestDNSServerThatKnowsNoEDNS(t *testing.T) {
	s := startDNS(t, "vault.example. 60 IN A 10.0.0.5")
	s.set(func() { s.noEDNS = true })
	if got, err := lookUp(t, NewDNS([]netip.AddrPort{s.addr}), "vault.example"); !slices.Equal(got, []string{"10.0.0.5"}) {
		t.Errorf("%v, %v", got, err)
	}
}

// Some servers never answer for the family that they do not know.
func TestDNSOneFamilyDoesNotWaitForTheOther(t *testing.T) {
	s := startDNS(t, "vault.example. 60 IN A 10.0.0.5")
	s.set(func() { s.mute[dns.TypeAAAA] = true })
	began := time.Now()
	got, err := lookUp(t, NewDNS([]netip.AddrPort{s.addr}), "vault.example")
	if took := time.Since(began); !slices.Equal(got, []string{"10.0.0.5"}) || err != nil || took > serverTimeout {
		t.Errorf("%v, %v after %s", got, err, took)
	}
}

func TestDNSEndsWithItsContext(t *testing.T) {
	s := startDNS(t)
	s.set(func() { s.mute[dns.TypeA], s.mute[dns.TypeAAAA] = true, true })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := NewDNS([]netip.AddrPort{s.addr}).LookupNetIP(ctx, "ip", "vault.example")
	var failure *net.DNSError
	if !errors.As(err, &failure) || !failure.IsTimeout || time.Since(began) > serverTimeout {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

func TestDNSAnswerThatLeadsBackToUsIsRefused(t *testing.T) {
	s := startDNS(t, "vault.example. 60 IN A 127.0.0.1")
	d := newDialer(t, Options{
		Resolver: NewDNS([]netip.AddrPort{s.addr}),
		Own:      func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:443")} },
	})
	var forbidden *ForbiddenError
	if _, err := d.DialContext(t.Context(), "tcp", "vault.example:443"); !errors.As(err, &forbidden) || forbidden.Reason != ownListener.reason() ||
		!strings.Contains(forbidden.Cure, "upstream.resolvers") {
		t.Errorf("%v", err)
	}
}

func TestSystemServers(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	behind := write("behind", "nameserver 10.0.0.1\nnameserver 2001:db8::1\nsearch example\n")
	for text, want := range map[string]string{
		"nameserver 10.1.0.1\noptions ndots:5\n":          "[10.1.0.1:53]",
		"nameserver 127.0.0.53\noptions edns0 trust-ad\n": "[10.0.0.1:53 [2001:db8::1]:53]",
		"nameserver 127.0.0.54\n":                         "[10.0.0.1:53 [2001:db8::1]:53]",
		"nameserver fe80::1%eth0\nnameserver 10.1.0.2\n":  "[[fe80::1%eth0]:53 10.1.0.2:53]",
		"search example\n":                                "names no DNS server; name DNS servers in upstream.resolvers",
	} {
		servers, err := serversOf(write("resolv.conf", text), behind)
		if got := fmt.Sprint(servers, err); !strings.Contains(got, want) {
			t.Errorf("%q: %s", text, got)
		}
	}
	if _, err := serversOf(filepath.Join(dir, "none"), behind); err == nil || !strings.Contains(err.Error(), "upstream.resolvers") {
		t.Errorf("%v", err)
	}
}
