package proxy

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"github.com/bearerd/bearerd/proxy/azure"
)

// switchProtocols turns the connection into a pipe once the service has agreed
// to speak WebSocket.
func (x *exchange) switchProtocols(answer *http.Response, sent *requestEdits) *problem {
	upstream, ok := answer.Body.(io.ReadWriteCloser)
	if !ok || !sent.websocket || !strings.EqualFold(answer.Header.Get("Upgrade"), "websocket") {
		return problemf(http.StatusBadGateway, CodeUpstreamUnreachable, "%s switched to a protocol that was not asked for", x.call.Host)
	}
	raw, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return problemf(http.StatusBadRequest, CodeBadRequest, "this connection cannot be upgraded")
	}
	conn := newCallerConn(raw, buffered.Reader)
	defer conn.Close()
	edits := editResponse(azure.Header(answer.Header), x.base, false)
	header := make(http.Header)
	edits.apply(header, answer.Header)
	delete(header, "Content-Type")
	header.Set("Connection", "Upgrade")
	header.Set("Upgrade", "websocket")
	x.status = http.StatusSwitchingProtocols
	if err := writeSwitch(raw, header); err != nil {
		return clientGone(err)
	}
	x.received, x.sent = x.s.pipe("", conn, upstream)
	return nil
}

func writeSwitch(w io.Writer, header http.Header) error {
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	// A bytes.Buffer takes every write.
	_ = header.Write(&b)
	b.WriteString("\r\n")
	_, err := w.Write(b.Bytes())
	return err
}
