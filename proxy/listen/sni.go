package listen

// Of TLS (RFC 8446, sections 4 and 5.1; RFC 6066, section 3).
const (
	recordHandshake     = 22
	recordHeader        = 5
	maxRecord           = 1 << 14
	messageHeader       = 4
	clientHello         = 1
	extensionServerName = 0
	nameTypeHost        = 0
)

// helloWalk reads a ClientHello, which may be spread over any number of records,
// each byte once.
type helloWalk struct {
	next    int    // where the next record begins
	message []byte // what the records so far hold
}

func (w *helloWalk) walk(b []byte) (Opening, bool) {
	unreadable := Opening{}
	for {
		record := b[min(w.next, len(b)):]
		if len(record) > 0 && record[0] != recordHandshake || len(record) > 1 && record[1] != 3 {
			return unreadable, true
		}
		if len(record) < recordHeader {
			return Opening{}, false
		}
		length := int(record[3])<<8 | int(record[4])
		if length == 0 || length > maxRecord {
			return unreadable, true
		}
		if len(record) < recordHeader+length {
			return Opening{}, false
		}
		w.next += recordHeader + length
		fragment := record[recordHeader : recordHeader+length : recordHeader+length]
		if w.message == nil {
			w.message = fragment // nearly always all of it; appending makes a copy
		} else {
			w.message = append(w.message, fragment...)
		}
		m := cursor(w.message)
		if w.message[0] != clientHello {
			return unreadable, true
		}
		if len(m) < messageHeader {
			continue
		}
		m.skip(1)
		body, ok := m.vector(3)
		if ok {
			name, ok := serverName(body)
			if !ok {
				return unreadable, true
			}
			return Opening{ProtocolTLS, name}, true
		}
		if size := int(w.message[1])<<16 | int(w.message[2])<<8 | int(w.message[3]); messageHeader+size > MaxOpening {
			return unreadable, true
		}
	}
}

// serverName finds the name in the body of a ClientHello. It is empty where the
// client sends none.
func serverName(hello cursor) (string, bool) {
	// legacy_version, random, legacy_session_id, cipher_suites and
	// legacy_compression_methods.
	if !hello.skip(2+32) || !hello.skipVector(1) || !hello.skipVector(2) || !hello.skipVector(1) {
		return "", false
	}
	if len(hello) == 0 {
		return "", true // TLS 1.2 and older may have no extensions
	}
	extensions, ok := hello.vector(2)
	for ok && len(extensions) > 0 {
		var kind int
		var data cursor
		if kind, ok = extensions.number(2); !ok {
			break
		}
		if data, ok = extensions.vector(2); ok && kind == extensionServerName {
			return hostName(data)
		}
	}
	return "", ok
}

// hostName reads the data of a server_name extension.
func hostName(data cursor) (string, bool) {
	list, ok := data.vector(2)
	for ok && len(list) > 0 {
		var kind int
		var name cursor
		if kind, ok = list.number(1); !ok {
			break
		}
		if name, ok = list.vector(2); ok && kind == nameTypeHost {
			return string(name), true
		}
	}
	return "", ok
}

// cursor is what is left to read of a message. What it gives is false where
// that is too short.
type cursor []byte

func (c *cursor) skip(n int) bool {
	if len(*c) < n {
		return false
	}
	*c = (*c)[n:]
	return true
}

// number reads a number of so many bytes.
func (c *cursor) number(size int) (n int, ok bool) {
	if len(*c) < size {
		return 0, false
	}
	for _, b := range (*c)[:size] {
		n = n<<8 | int(b)
	}
	return n, c.skip(size)
}

// vector reads what follows its own length, a number of so many bytes.
func (c *cursor) vector(size int) (cursor, bool) {
	n, ok := c.number(size)
	if !ok || len(*c) < n {
		return nil, false
	}
	v := (*c)[:n]
	return v, c.skip(n)
}

func (c *cursor) skipVector(size int) bool {
	_, ok := c.vector(size)
	return ok
}
