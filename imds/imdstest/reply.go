package imdstest

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"
)

const jsonType = "application/json; charset=utf-8"

// reply is an answer before it is sent. Without a status there is none: the
// connection ends.
type reply struct {
	status      int
	contentType string
	header      http.Header
	body        []byte
	cut         bool // the connection ends in the middle of the body
}

// refuse is an answer in the shape of IMDS's errors.
func refuse(status int, code, description string) reply {
	body, err := json.Marshal(map[string]string{"error": code, "error_description": description})
	if err != nil {
		panic("imdstest: " + err.Error()) // strings are always JSON
	}
	return reply{status: status, contentType: jsonType, body: body}
}

// retryAfter has an answer ask for a wait.
func (a *reply) retryAfter(after RetryAfter, now time.Time) {
	if after != nil {
		a.set("Retry-After", after(now))
	}
}

func (a *reply) set(name, value string) {
	if a.header == nil {
		a.header = make(http.Header)
	}
	a.header.Set(name, value)
}

// finish fills the header section in and gives the bytes of the body to send.
// They are less than was promised where the connection is to end in it.
func (a *reply) finish(h http.Header, now time.Time) []byte {
	for name, values := range a.header {
		h[name] = values
	}
	h.Set("Date", now.UTC().Format(http.TimeFormat))
	if a.contentType != "" {
		h.Set("Content-Type", a.contentType)
	}
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	if a.cut {
		return a.body[:len(a.body)/2]
	}
	return a.body
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := s.answer(r)
	if a.status == 0 {
		reset(w)
		return
	}
	body := a.finish(w.Header(), s.o.Now())
	w.WriteHeader(a.status)
	// A client that has left needs no answer; a short body ends the connection.
	_, _ = w.Write(body)
}

// reset ends a connection at once, where it can by RST.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it only makes the end more abrupt
	}
	_ = conn.Close() // there is nothing left to lose
}

// RoundTrip implements http.RoundTripper: it answers in the caller's own
// goroutine, without a network, so that a client can be tested in a bubble of
// testing/synctest.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	a := s.answer(r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if a.status == 0 {
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	}
	header := make(http.Header)
	body := io.Reader(bytes.NewReader(a.finish(header, s.o.Now())))
	if a.cut {
		body = io.MultiReader(body, broken{})
	}
	return &http.Response{
		Status: strconv.Itoa(a.status) + " " + http.StatusText(a.status), StatusCode: a.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(body), ContentLength: int64(len(a.body)), Request: r,
	}, nil
}

// broken is the end of a body that was promised to be longer.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
