package listen

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
)

var errRecorded = errors.New("recorded")

// recordingConn keeps what a client says first, and answers nothing.
type recordingConn struct {
	net.Conn
	said []byte
}

func (c *recordingConn) Write(p []byte) (int, error) {
	c.said = append(c.said, p...)
	return len(p), nil
}
func (c *recordingConn) Read([]byte) (int, error) { return 0, errRecorded }

// helloOf gives the first bytes of a client of crypto/tls.
func helloOf(tb testing.TB, config *tls.Config) []byte {
	tb.Helper()
	conn := &recordingConn{}
	if err := tls.Client(conn, config).Handshake(); !errors.Is(err, errRecorded) {
		tb.Fatal(err)
	}
	return conn.said
}

// inRecords spreads the one record of a hello over records of so many bytes.
func inRecords(hello []byte, size int) []byte {
	var spread []byte
	for rest := hello[recordHeader:]; len(rest) > 0; {
		n := min(size, len(rest))
		spread = append(spread, recordHandshake, 3, 1, byte(n>>8), byte(n))
		spread = append(spread, rest[:n]...)
		rest = rest[n:]
	}
	return spread
}

// withExtension adds an extension to a hello, before those that it has.
func withExtension(tb testing.TB, hello []byte, kind uint16, data []byte) []byte {
	tb.Helper()
	c := cursor(hello[recordHeader+messageHeader:])
	if !c.skip(2+32) || !c.skipVector(1) || !c.skipVector(2) || !c.skipVector(1) {
		tb.Fatal("no hello")
	}
	at := len(hello) - len(c) + 2
	added := binary.BigEndian.AppendUint16(nil, kind)
	added = append(binary.BigEndian.AppendUint16(added, uint16(len(data))), data...)
	grown := bytes.Join([][]byte{hello[:at], added, hello[at:]}, nil)
	binary.BigEndian.PutUint16(grown[at-2:], uint16(len(grown)-at))
	body := len(grown) - recordHeader - messageHeader
	grown[recordHeader+1], grown[recordHeader+2], grown[recordHeader+3] = byte(body>>16), byte(body>>8), byte(body)
	if body+messageHeader > maxRecord {
		return inRecords(grown, maxRecord)
	}
	binary.BigEndian.PutUint16(grown[3:], uint16(body+messageHeader))
	return grown
}

type sniffCase struct {
	name string
	sent []byte
	want Opening
	open bool // more bytes are waited for
}

func sniffCases(tb testing.TB) []sniffCase {
	const name = "payroll.vault.azure.net"
	named := Opening{ProtocolTLS, name}
	hello := helloOf(tb, &tls.Config{ServerName: name})
	old := helloOf(tb, &tls.Config{ServerName: name, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10})
	many := make([]string, 300) // more than one record holds
	for i := range many {
		many[i] = strings.Repeat("p", 100) + string(rune('a'+i%26))
	}
	changed := func(at int, to byte) []byte {
		c := bytes.Clone(hello)
		c[at] = to
		return c
	}
	http := func(text string, name string) sniffCase {
		return sniffCase{text, []byte(text), Opening{ProtocolHTTP, name}, false}
	}
	unknown := func(text string) sniffCase { return sniffCase{name: text, sent: []byte(text)} }
	return []sniffCase{
		{"a hello of crypto/tls", hello, named, false},
		{"of TLS 1.0", old, named, false},
		{"of TLS 1.2", helloOf(tb, &tls.Config{ServerName: name, MaxVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}), named, false},
		{"of a client of HTTP/2 alone", helloOf(tb, &tls.Config{ServerName: name, NextProtos: []string{"h2"}}), named, false},
		{"without a name", helloOf(tb, &tls.Config{InsecureSkipVerify: true}), Opening{Protocol: ProtocolTLS}, false},
		{"for an address", helloOf(tb, &tls.Config{ServerName: "192.0.2.1"}), Opening{Protocol: ProtocolTLS}, false},
		{"larger than a record", helloOf(tb, &tls.Config{ServerName: name, NextProtos: many}), named, false},
		{"with GREASE ECH", withExtension(tb, hello, 0xfe0d, append([]byte{0, 0, 1, 0, 1, 7, 0, 32}, make([]byte, 250)...)), named, false},
		{"with early data behind it", append(bytes.Clone(hello), 23, 3, 3, 0, 1, 0), named, false},
		{"in records of one byte", inRecords(hello, 1), named, false},
		{"in records of 7 bytes", inRecords(hello, 7), named, false},
		{"of 60 KiB", withExtension(tb, hello, 0xff01, make([]byte, 60<<10)), named, false},
		{"cut short", hello[:len(hello)-1], Opening{}, true},
		{"a header alone", hello[:5], Opening{}, true},
		{"no handshake", changed(0, 23), Opening{}, false},
		{"no TLS", changed(1, 2), Opening{}, false},
		{"three bytes", hello[:3], Opening{}, true},
		{"a record of no bytes", []byte{22, 3, 1, 0, 0, 22}, Opening{}, false},
		{"a record that is too long", []byte{22, 3, 1, 0x40, 1}, Opening{}, false},
		{"another message", changed(5, 2), Opening{}, false},
		{"a hello that can never fit", []byte{22, 3, 1, 0, 4, 1, 1, 0, 0}, Opening{}, false},
		{"a session id that is too long", changed(recordHeader+messageHeader+2+32, 255), Opening{}, false},
		{"an alert between", append(inRecords(hello, 100)[:105], 21, 3, 1, 0, 2, 1, 0), Opening{}, false},
		{"nothing", nil, Opening{}, true},

		http("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "a.example"),
		http("GET / HTTP/1.1\nhost:\t a.example:80 \n\n", "a.example:80"),
		http("POST /x HTTP/1.0\r\nAccept: */*\r\nHOST: a.example\r\n", "a.example"),
		http("GET / HTTP/1.0\r\n\r\nHost: body.example\r\n", ""),
		http("GET http://b.example/x?http://c HTTP/1.1\r\nHost: a.example\r\n\r\n", "b.example"),
		http("GET /x?u=http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "a.example"),
		http("CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n", "b.example:443"),
		http("GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n", "a.example"),
		unknown("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		unknown("SSH-2.0-OpenSSH_9.9\r\n"),
		unknown("EHLO mail.example\r\n"),
		unknown("PING\r\n"),
		unknown("GET /\r\n"), // HTTP/0.9
		unknown("\x00\x00\x00\x17database"),
		unknown("A\x00"),
		unknown("get / HTTP/1.1\r\n"),
		unknown(strings.Repeat("A", 100)),
		{"a request line without an end", []byte("GET / HT"), Opening{}, true},
		{"a header without an end", []byte("GET / HTTP/1.1\r\nAccept: " + strings.Repeat("x", 5000)), Opening{}, true},
		{"a header that is too long", []byte("GET / HTTP/1.1\r\nAccept: " + strings.Repeat("x", MaxOpening) + "\r\nHost: a.example\r\n"), Opening{}, false},
	}
}

// sniff gives what is known when r has ended.
func sniff(r io.Reader) (s *Sniffer, done bool) {
	s = new(Sniffer)
	for {
		done, err := s.Fill(r)
		if done || err != nil {
			return s, done
		}
	}
}

func TestSniff(t *testing.T) {
	for _, tc := range sniffCases(t) {
		s, done := sniff(bytes.NewReader(tc.sent))
		if s.Opening() != tc.want || done == tc.open {
			t.Errorf("%.60q: %+v, known: %t", tc.name, s.Opening(), done)
		}
		if !bytes.HasPrefix(tc.sent, s.Bytes()) {
			t.Errorf("%.60q: other bytes were kept than were sent", tc.name)
		}
	}
}

// What a caller is does not depend on how the network cut its bytes.
func TestSniffSplitAtEveryByte(t *testing.T) {
	for _, tc := range sniffCases(t) {
		if s, done := sniff(iotest.OneByteReader(bytes.NewReader(tc.sent))); s.Opening() != tc.want || done == tc.open {
			t.Errorf("%.60q, byte by byte: %+v, known: %t", tc.name, s.Opening(), done)
		}
		if len(tc.sent) > 8<<10 {
			continue
		}
		for at := range tc.sent {
			s, done := sniff(io.MultiReader(bytes.NewReader(tc.sent[:at]), bytes.NewReader(tc.sent[at:])))
			if s.Opening() != tc.want || done == tc.open {
				t.Fatalf("%.60q, split at %d: %+v, known: %t", tc.name, at, s.Opening(), done)
			}
		}
	}
}

func TestSniffingGoesOnAfterATimeout(t *testing.T) {
	hello := helloOf(t, &tls.Config{ServerName: "a.example"})
	var s Sniffer
	if done, err := s.Fill(iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(hello)))); done || err != nil {
		t.Fatal(done, err)
	}
	if done, err := s.Fill(iotest.ErrReader(iotest.ErrTimeout)); done || err != iotest.ErrTimeout {
		t.Fatal(done, err)
	}
	if done, err := s.Fill(bytes.NewReader(hello[1:])); !done || err != nil || s.Opening().Name != "a.example" {
		t.Errorf("%t, %v, %+v", done, err, s.Opening())
	}
}

func TestSniffingAllocatesLittle(t *testing.T) {
	hello := helloOf(t, &tls.Config{ServerName: "a.example"})
	r := bytes.NewReader(hello)
	if n := testing.AllocsPerRun(100, func() {
		r.Reset(hello)
		var s Sniffer
		if done, _ := s.Fill(r); !done {
			t.Fatal("not known")
		}
	}); n > 3 { // the Sniffer, 4 KiB, the name
		t.Errorf("%v allocations", n)
	}
}

func FuzzSniff(f *testing.F) {
	for i, tc := range sniffCases(f) {
		f.Add(tc.sent, uint16(i*7))
	}
	f.Fuzz(func(t *testing.T, sent []byte, cut uint16) {
		whole, wholeDone := sniff(bytes.NewReader(sent))
		at := int(cut) % (len(sent) + 1)
		for name, r := range map[string]io.Reader{
			"cut":          io.MultiReader(bytes.NewReader(sent[:at]), bytes.NewReader(sent[at:])),
			"byte by byte": iotest.OneByteReader(bytes.NewReader(sent)),
		} {
			s, done := sniff(r)
			if s.Opening() != whole.Opening() || done != wholeDone {
				t.Errorf("%s: %+v %t, whole: %+v %t", name, s.Opening(), done, whole.Opening(), wholeDone)
			}
			if len(s.Bytes()) > MaxOpening || !bytes.HasPrefix(sent, s.Bytes()) {
				t.Errorf("%s: %d bytes were kept of %d", name, len(s.Bytes()), len(sent))
			}
		}
		if !wholeDone && len(sent) >= MaxOpening {
			t.Error("it would read for ever")
		}
		// The name that is acted on is the one that crypto/tls would read.
		if o := whole.Opening(); o.Protocol == ProtocolTLS && o.Name != "" {
			var read string
			server := tls.Server(&replayConn{r: bytes.NewReader(sent)}, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				read = h.ServerName
				return nil, errRecorded
			}})
			if err := server.Handshake(); errors.Is(err, errRecorded) && read != o.Name {
				t.Errorf("SNI is %q here and %q to crypto/tls", o.Name, read)
			}
		}
	})
}

// replayConn says what a client said, and takes any answer.
type replayConn struct {
	net.Conn
	r io.Reader
}

func (c *replayConn) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c *replayConn) Write(p []byte) (int, error) { return len(p), nil }
