package rig

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Zone gives the addresses of a name, in small letters and without its last dot;
// false says that there is no such name.
type Zone func(name string) (addresses []netip.Addr, ok bool)

// Names is the zone of the names in the map.
func Names(names map[string][]string) Zone {
	return func(name string) (addresses []netip.Addr, ok bool) {
		texts, ok := names[name]
		for _, text := range texts {
			addresses = append(addresses, netip.MustParseAddr(text))
		}
		return addresses, ok
	}
}

// ServeDNS answers datagrams until it is stopped.
func (z Zone) ServeDNS(packets net.PacketConn) (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		question := make([]byte, 4<<10)
		for {
			n, from, err := packets.ReadFrom(question)
			if err != nil {
				return
			}
			if answer, err := z.answer(question[:n], nil); err == nil {
				_, _ = packets.WriteTo(answer, from) // whoever asks asks again
			}
		}
	}()
	return func() {
		packets.Close()
		<-done
	}
}

// answerStream answers one question, which has its length in front (RFC 1035,
// section 4.2.2).
func (z Zone) answerStream(conn io.ReadWriter) error {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	question := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, question); err != nil {
		return err
	}
	answer, err := z.answer(question, []byte{0, 0})
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint16(answer, uint16(len(answer)-2))
	_, err = conn.Write(answer)
	return err
}

// answer appends the answer to a question.
func (z Zone) answer(question, to []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Response, m.Additionals = true, nil
	for _, q := range m.Questions {
		addresses, ok := z(strings.ToLower(strings.TrimSuffix(q.Name.String(), ".")))
		if !ok {
			m.RCode = dnsmessage.RCodeNameError
		}
		for _, a := range addresses {
			r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}}
			switch {
			case a.Is4() && q.Type == dnsmessage.TypeA:
				r.Body = &dnsmessage.AResource{A: a.As4()}
			case a.Is6() && q.Type == dnsmessage.TypeAAAA:
				r.Body = &dnsmessage.AAAAResource{AAAA: a.As16()}
			default:
				continue
			}
			m.Answers = append(m.Answers, r)
		}
	}
	return m.AppendPack(to)
}
