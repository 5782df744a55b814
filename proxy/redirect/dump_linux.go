package redirect

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// kernelRule is a rule as the kernel tells it. It is read here, and not by the
// library, which leaves out the expressions that it does not know: a rule that
// somebody has narrowed by one would look untouched.
type kernelRule struct {
	code    string // its expressions, spelled by spellCode
	comment string
}

// rulesOf gives the table's rules by chain, each chain's in their order.
func rulesOf(table string) (map[string][]kernelRule, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	name, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: unix.NFTA_RULE_TABLE, Data: []byte(table + "\x00")}})
	if err != nil {
		return nil, err
	}
	header := []byte{byte(nftables.TableFamilyINet), unix.NFNETLINK_V0, 0, 0} // struct nfgenmsg
	messages, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE, Flags: netlink.Request | netlink.Dump},
		Data:   append(header, name...),
	})
	if err != nil {
		return nil, err
	}
	found := make(map[string][]kernelRule)
	for _, m := range messages {
		if len(m.Data) < len(header) {
			return nil, fmt.Errorf("a rule of %d bytes is too short", len(m.Data))
		}
		attributes, err := netlink.UnmarshalAttributes(m.Data[len(header):])
		if err != nil {
			return nil, err
		}
		var chain string
		var r kernelRule
		for _, a := range attributes {
			switch a.Type {
			case unix.NFTA_RULE_CHAIN:
				chain = strings.TrimSuffix(string(a.Data), "\x00")
			case unix.NFTA_RULE_EXPRESSIONS:
				if r.code, err = spellCode(a.Data); err != nil {
					return nil, err
				}
			case unix.NFTA_RULE_USERDATA:
				r.comment, _ = userdata.GetString(a.Data, userdata.TypeComment)
			}
		}
		found[chain] = append(found[chain], r)
	}
	return found, nil
}

// code spells the rule's expressions as the kernel's are.
func (r *rule) code() (string, error) {
	var list []netlink.Attribute
	for _, e := range r.exprs {
		data, err := expr.Marshal(byte(nftables.TableFamilyINet), e)
		if err != nil {
			return "", err
		}
		list = append(list, netlink.Attribute{Type: unix.NFTA_LIST_ELEM, Data: data})
	}
	data, err := netlink.MarshalAttributes(list)
	if err != nil {
		return "", err
	}
	return spellCode(data)
}

// spellCode writes a list of expressions in one way: attributes sorted, and
// those left out that the kernel adds and that say nothing more.
func spellCode(list []byte) (string, error) {
	elements, err := netlink.UnmarshalAttributes(list)
	if err != nil {
		return "", err
	}
	var words []string
	for _, element := range elements {
		parts, err := netlink.UnmarshalAttributes(element.Data)
		if err != nil {
			return "", err
		}
		var name, body string
		for _, part := range parts {
			switch part.Type &^ netlink.Nested {
			case unix.NFTA_EXPR_NAME:
				name = strings.TrimSuffix(string(part.Data), "\x00")
			case unix.NFTA_EXPR_DATA:
				if body, err = spellAttributes(name, part.Data); err != nil {
					return "", err
				}
			}
		}
		words = append(words, name+"("+body+")")
	}
	return strings.Join(words, " "), nil
}

// nested are the attributes that hold others, by what they belong to.
var nested = map[string][]uint16{
	"cmp":       {unix.NFTA_CMP_DATA},
	"immediate": {unix.NFTA_IMMEDIATE_DATA},
	"bitwise":   {unix.NFTA_BITWISE_MASK, unix.NFTA_BITWISE_XOR},
	"data":      {unix.NFTA_DATA_VERDICT},
}

// implied are attributes that say nothing: the kernel tells them where they were
// not given, or the other way round.
var implied = map[string][]string{
	"bitwise": {fmt.Sprintf("%d=00000000", 6)},                                                                    // NFTA_BITWISE_OP: mask and xor
	"nat":     {fmt.Sprintf("%d=00000002", unix.NFTA_NAT_FLAGS), fmt.Sprintf("%d=00000003", unix.NFTA_NAT_FLAGS)}, // address and port are given
	"reject":  {fmt.Sprintf("%d=00", unix.NFTA_REJECT_ICMP_CODE)},
}

func spellAttributes(of string, data []byte) (string, error) {
	attributes, err := netlink.UnmarshalAttributes(data)
	if err != nil {
		return "", err
	}
	var words []string
	for _, a := range attributes {
		kind := a.Type &^ (netlink.Nested | netlink.NetByteOrder)
		text := hex.EncodeToString(a.Data)
		if slices.Contains(nested[of], kind) {
			inner := "data"
			if of == "data" {
				inner = "verdict"
			}
			if text, err = spellAttributes(inner, a.Data); err != nil {
				return "", err
			}
			text = "{" + text + "}"
		}
		word := fmt.Sprintf("%d=%s", kind, text)
		if !slices.Contains(implied[of], word) {
			words = append(words, word)
		}
	}
	slices.Sort(words)
	return strings.Join(words, " "), nil
}
