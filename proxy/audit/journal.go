package audit

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// journalSocket is where journald takes entries
// (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/).
const journalSocket = "/run/systemd/journal/socket"

// journal is journald as a sink: one datagram for each record. A record has a
// bounded length, so that none needs the protocol's way for long ones.
type journal struct {
	path string
	conn net.Conn // nil: the last attempt failed
}

func openJournal(path string) (*journal, error) {
	if path == "" {
		path = journalSocket
	}
	j := &journal{path: path}
	return j, j.reopen()
}

func (j *journal) write(records []Record) (whole int, err error) {
	if j.conn == nil {
		if err := j.reopen(); err != nil {
			return 0, err
		}
	}
	for i := range records {
		if err = j.conn.SetWriteDeadline(time.Now().Add(stalled)); err == nil {
			_, err = j.conn.Write(records[i].entry())
		}
		if err != nil {
			j.conn.Close()
			j.conn = nil // journald may have been started anew
			return i, err
		}
	}
	return len(records), nil
}

func (j *journal) reopen() error {
	conn, err := net.Dial("unixgram", j.path)
	if err != nil {
		return fmt.Errorf("journald does not answer: %w; start it, or name another place", err)
	}
	if j.conn != nil {
		j.conn.Close()
	}
	j.conn = conn
	return nil
}

func (j *journal) close() error {
	if j.conn == nil {
		return nil
	}
	return j.conn.Close()
}

// entry is the record as journald takes it: the line as the message, and what
// one looks for as fields beside it.
func (r *Record) entry() []byte {
	var b bytes.Buffer
	add := func(name, value string) {
		switch {
		case value == "":
		case strings.Contains(value, "\n"):
			b.WriteString(name + "\n")
			b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(value))))
			b.WriteString(value + "\n")
		default:
			b.WriteString(name + "=" + value + "\n")
		}
	}
	b.WriteString("MESSAGE=")
	r.writeTo(&b) // JSON holds no line break but the one at its end
	add("PRIORITY", "6")
	add("SYSLOG_IDENTIFIER", "bearerd-audit")
	add("BEARERD_EVENT", string(r.Event))
	add("BEARERD_REQUEST_ID", r.RequestID)
	add("BEARERD_USER", r.User)
	add("BEARERD_CGROUP", r.Cgroup)
	add("BEARERD_ROUTE", r.Route)
	add("BEARERD_ACTION", r.Action)
	add("BEARERD_OBJECT_ID", r.ObjectID)
	add("BEARERD_OPERATION", r.Operation)
	if r.Mints {
		add("BEARERD_MINTS", "true")
	}
	add("BEARERD_HOST", r.Host)
	if r.Status != 0 {
		add("BEARERD_STATUS", strconv.Itoa(r.Status))
	}
	add("BEARERD_CODE", r.Code)
	add("BEARERD_SERVICE_REQUEST_ID", r.ServiceRequestID)
	add("BEARERD_CLIENT_REQUEST_ID", r.ClientRequestID)
	return b.Bytes()
}
