package redirect

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// rule is one rule in both forms: what nft reads, and what the kernel takes.
// Its methods add to both what nft would make of the text, the kernel's own
// checks of family and protocol included.
type rule struct {
	text    []string
	exprs   []expr.Any
	comment string
	family  byte // that the rule holds packets to; 0: any
	tcp     bool // it holds them to TCP
}

// String gives the rule as nft reads it.
func (r *rule) String() string {
	text := strings.Join(r.text, " ")
	if r.comment != "" {
		text += ` comment "` + r.comment + `"`
	}
	return text
}

// maxComment is the longest comment that nft takes.
const maxComment = 127

// about names what the rule is for.
func (r *rule) about(text string) *rule {
	r.comment = text[:min(len(text), maxComment)]
	return r
}

func (r *rule) add(text string, exprs ...expr.Any) *rule {
	r.text = append(r.text, text)
	r.exprs = append(r.exprs, exprs...)
	return r
}

const (
	reg1 = unix.NFT_REG_1
	reg2 = unix.NFT_REG_2
)

func equals(data []byte) *expr.Cmp {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: data}
}

// isFamily holds the rule to IPv4 or IPv6.
func (r *rule) isFamily(family byte) *rule {
	if r.family == 0 {
		r.family = family
		r.exprs = append(r.exprs, &expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg1}, equals([]byte{family}))
	}
	return r
}

// familyOnly does so in words, where nothing else in the rule implies it.
func (r *rule) familyOnly(family byte) *rule {
	name := map[byte]string{unix.NFPROTO_IPV4: "ipv4", unix.NFPROTO_IPV6: "ipv6"}[family]
	r.text = append(r.text, "meta nfproto "+name)
	return r.isFamily(family)
}

func (r *rule) isTCP() *rule {
	if !r.tcp {
		r.tcp = true
		r.exprs = append(r.exprs, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1}, equals([]byte{unix.IPPROTO_TCP}))
	}
	return r
}

func (r *rule) tcpOnly() *rule {
	r.text = append(r.text, "meta l4proto tcp")
	return r.isTCP()
}

func (r *rule) port(port uint16) *rule {
	return r.isTCP().add(fmt.Sprintf("tcp dport %d", port),
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		equals(binary.BigEndian.AppendUint16(nil, port)))
}

// opening holds the rule to packets that begin a connection.
func (r *rule) opening() *rule {
	const syn, ack = 0x02, 0x10
	return r.isTCP().add("tcp flags & (syn | ack) == syn",
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 1, Mask: []byte{syn | ack}, Xor: []byte{0}},
		equals([]byte{syn}))
}

// address gives where a family keeps the destination.
func address(family byte) (keyword string, at *expr.Payload) {
	if family == unix.NFPROTO_IPV4 {
		return "ip daddr", &expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
	}
	return "ip6 daddr", &expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseNetworkHeader, Offset: 24, Len: 16}
}

func familyOf(a netip.Addr) byte {
	if a.Is4() {
		return unix.NFPROTO_IPV4
	}
	return unix.NFPROTO_IPV6
}

// to holds the rule to a prefix. Of one that ends with a byte, nft compares the
// bytes before alone.
func (r *rule) to(p netip.Prefix) *rule {
	family := familyOf(p.Addr())
	keyword, at := address(family)
	text := p.String()
	if p.IsSingleIP() {
		text = p.Addr().String()
	}
	r.isFamily(family)
	if p.Bits()%8 == 0 {
		at.Len = uint32(p.Bits() / 8)
		return r.add(keyword+" "+text, at, equals(p.Addr().AsSlice()[:at.Len]))
	}
	mask := make([]byte, at.Len)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return r.add(keyword+" "+text, at,
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: at.Len, Mask: mask, Xor: make([]byte, at.Len)},
		equals(p.Addr().AsSlice()))
}

func (r *rule) by(s selector) *rule {
	switch s.kind {
	case byUser:
		return r.add(fmt.Sprintf("meta skuid %d", s.id), &expr.Meta{Key: expr.MetaKeySKUID, Register: reg1}, equals(binaryutil.NativeEndian.PutUint32(s.id)))
	case byGroup:
		return r.add(fmt.Sprintf("meta skgid %d", s.id), &expr.Meta{Key: expr.MetaKeySKGID, Register: reg1}, equals(binaryutil.NativeEndian.PutUint32(s.id)))
	}
	return r.add(fmt.Sprintf("socket cgroupv2 level %d ", s.group.level)+`"`+s.group.text+`"`,
		&expr.Socket{Key: expr.SocketKeyCgroupv2, Level: s.group.level, Register: reg1},
		equals(binaryutil.NativeEndian.PutUint64(s.group.id)))
}

// byOther holds the rule to packets of sockets that have an owner, who is not
// root. The kernel knows none where a process has closed its end already.
func (r *rule) byOther() *rule {
	return r.add("meta skuid != 0", &expr.Meta{Key: expr.MetaKeySKUID, Register: reg1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: binaryutil.NativeEndian.PutUint32(0)})
}

func (r *rule) leave() *rule  { return r.add("return", &expr.Verdict{Kind: expr.VerdictReturn}) }
func (r *rule) accept() *rule { return r.add("accept", &expr.Verdict{Kind: expr.VerdictAccept}) }

func (r *rule) goTo(chain string) *rule {
	return r.add("goto "+chain, &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain})
}

// refuse answers at once, so that nobody waits for a time-out.
func (r *rule) refuse() *rule {
	return r.isTCP().add("reject with tcp reset", &expr.Reject{Type: unix.NFT_REJECT_TCP_RST})
}

func (r *rule) dnat(to netip.AddrPort) *rule {
	family := familyOf(to.Addr())
	keyword := "dnat ip to "
	if family == unix.NFPROTO_IPV6 {
		keyword = "dnat ip6 to "
	}
	return r.add(keyword+to.String(),
		&expr.Immediate{Register: reg1, Data: to.Addr().AsSlice()},
		&expr.Immediate{Register: reg2, Data: binary.BigEndian.AppendUint16(nil, to.Port())},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(family), RegAddrMin: reg1, RegAddrMax: reg1, RegProtoMin: reg2, RegProtoMax: reg2, Specified: true})
}
