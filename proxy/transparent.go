package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/listen"
)

// silence is how long a caller may say nothing before its destination is
// connected to, for in many protocols the server speaks first.
const silence = 3 * time.Second

// TransparentOptions are what one transparent listener is made of. The zero
// value is usable.
type TransparentOptions struct {
	// Host is the one host of callers that name none, as azure.NormalizeHost
	// gives it. Empty: there is none.
	Host string
	// Interception is how TLS is spoken to callers whose calls are intercepted.
	Interception Interception
	// Destination tells where a connection was meant to go, and whether a
	// redirect sent it here instead; nil: listen.Destination.
	Destination func(net.Conn) (at netip.AddrPort, redirected bool)
}

// ServeTransparent takes connections that were meant for others until Shutdown
// or Close, and then gives nil. Those to routed hosts are intercepted; any other
// is passed on to where it was going, byte for byte.
func (s *Server) ServeTransparent(l net.Listener, o TransparentOptions) error {
	if o.Destination == nil {
		o.Destination = listen.Destination
	}
	if !s.transparent.add(l) {
		return nil
	}
	defer s.transparent.remove(l)
	interception := s.newInterception(o.Interception)
	for {
		conn, err := l.Accept()
		if err != nil {
			if s.transparent.isClosed() {
				return nil
			}
			return err
		}
		go s.serveArrival(conn, o, interception)
	}
}

// outcome is what becomes of a connection to a transparent listener, as the
// metrics name it.
type outcome string

const (
	intercepted outcome = "intercepted"
	spliced     outcome = "spliced"
	unreachable outcome = "unreachable" // its destination gave no connection
	refused     outcome = "refused"     // there is nowhere to pass it on to
	left        outcome = "left"        // the caller broke off before it was known
)

// arrival is one connection to a transparent listener, until it is known what
// becomes of it.
type arrival struct {
	s          *Server
	settings   *snapshot // those of its start, then those of the decision
	conn       net.Conn
	tls        *tls.Config    // of intercepted callers
	at         netip.AddrPort // where it was meant to go
	redirected bool           // false: a name leads here, and there is nowhere else
	sniffer    listen.Sniffer
	host       string   // that it names; empty: none that can be read
	greeter    *greeter // of a silent caller's destination; nil: it was not silent
	started    time.Time

	received, sent int64 // of a splice
}

func (s *Server) serveArrival(conn net.Conn, o TransparentOptions, interception *tls.Config) {
	if !s.handlers.enter() {
		conn.Close()
		return
	}
	defer s.handlers.leave()
	release := context.AfterFunc(s.base, func() { conn.Close() })
	defer release()
	a := &arrival{s: s, tls: interception, settings: s.settings.Load(), conn: conn, started: s.now()}
	a.at, a.redirected = o.Destination(conn)
	result, err := a.decide(o.Host)
	switch result {
	case intercepted:
		s.metrics.TransparentConnection(string(intercepted))
		a.greeter.end()
		release() // the inner server ends it from here on
		a.intercept()
		return
	case spliced:
		if err = a.splice(); err != nil {
			result = unreachable
			s.metrics.UpstreamError(causeOf(err))
		}
	}
	if result != spliced {
		s.metrics.TransparentConnection(string(result))
	}
	if reset, ok := conn.(interface{ SetLinger(int) error }); ok && (result == unreachable || result == refused) {
		_ = reset.SetLinger(0) // the next best to a connection that is refused
	}
	a.greeter.end()
	conn.Close()
	a.log(result, err)
}

// decide hears the caller out, and says what is to become of the connection;
// the error tells why where that is nothing.
func (a *arrival) decide(defaultHost string) (outcome, error) {
	known, err := a.hear()
	a.settings = a.s.settings.Load() // it may have been silent since the day before
	if a.isOurOwn() {
		return refused, errors.New("it is bearerd's own, and was redirected back to it; leave bearerd's user out of the redirect")
	}
	if known {
		a.host = hostOf(a.sniffer.Opening(), defaultHost)
	}
	silent := len(a.sniffer.Bytes()) == 0
	switch {
	case a.host != "" && a.settings.named(a.host):
		return intercepted, nil
	case err != nil && !isTimeout(err) && (!errors.Is(err, io.EOF) || silent && !a.redirected):
		return left, nil
	case a.settings.refuseUnmatched && a.host != "":
		return refused, fmt.Errorf("no route names %s, and other hosts are refused", a.host)
	case a.settings.refuseUnmatched:
		return refused, errors.New("it names no host, and what no route names is refused")
	case !a.redirected && a.host != "":
		return refused, fmt.Errorf("no route names %s, and no redirect led the connection here, so that there is nowhere to pass it on to; add a route, or remove the hosts entry", a.host)
	case !a.redirected:
		return refused, errors.New("it names no host, and no redirect led it here, so that there is nowhere to pass it on to; have the client send SNI, or give it a listener with a host of its own")
	}
	return spliced, nil
}

// hear reads until the caller has said what the connection is. Where it keeps
// silent its destination is connected to, and whoever speaks first decides:
// browsers open connections that they use later, and some servers greet.
func (a *arrival) hear() (known bool, err error) {
	a.allow(silence)
	for begun, waited := false, false; ; {
		known, err = a.sniffer.Fill(a.conn)
		switch {
		case known:
			return true, nil
		case err == nil && !begun:
			begun = true
			a.allow(a.s.headerTimeout)
		case err == nil:
		case begun || waited || !isTimeout(err) || a.isOurOwn():
			return false, err
		case a.redirected && !a.settings.refuseUnmatched:
			waited = true
			a.allow(0)
			a.greeter = a.s.greet(a.at.String(), func() { _ = a.conn.SetReadDeadline(longAgo()) })
		default:
			waited = true
			a.allow(max(a.s.headerTimeout-silence, time.Nanosecond))
		}
	}
}

// allow bounds how long the caller may take from now on; 0: for ever.
func (a *arrival) allow(d time.Duration) {
	var until time.Time
	if d > 0 {
		until = time.Now().Add(d)
	}
	_ = a.conn.SetReadDeadline(until) // where it fails, so does the next read
}

func (a *arrival) isOurOwn() bool { return a.s.ours.made(a.conn.RemoteAddr(), a.at) }

// hostOf gives the host that an opening names, as routes know it.
func hostOf(o listen.Opening, defaultHost string) string {
	if o.Protocol == listen.ProtocolUnknown {
		return ""
	}
	if o.Name == "" {
		return defaultHost
	}
	host, port, err := azure.NormalizeHost(o.Name)
	if err != nil || port != 0 && o.Protocol == listen.ProtocolTLS {
		return ""
	}
	return host
}

// intercept hands the connection to the inner server. Where no route takes the
// port, that is what its calls are told.
func (a *arrival) intercept() {
	a.allow(0)
	conn := &callerConn{Conn: a.conn, host: a.host, port: a.at.Port(), steering: steeredTransparently, who: caller.Of(a.conn), early: a.sniffer.Bytes()}
	if a.sniffer.Opening().Protocol == listen.ProtocolTLS {
		a.s.inner.offer(tls.Server(conn, a.tls))
	} else {
		a.s.inner.offer(conn)
	}
}

// splice moves bytes between the caller and its destination until both are done.
func (a *arrival) splice() error {
	upstream, err := a.destination()
	if err != nil {
		return err
	}
	defer upstream.Close()
	a.s.metrics.TransparentConnection(string(spliced))
	a.allow(0)
	conn := &callerConn{Conn: a.conn, early: a.sniffer.Bytes()}
	a.sniffer = listen.Sniffer{} // the splice may outlive its opening by days
	host := a.host
	if host == "" {
		host = a.at.String() // no route names it, but all may be refused one day
	} else if a.s.learner != nil {
		a.s.learner.Unrouted(host)
	}
	a.received, a.sent = a.s.pipe(host, conn, upstream)
	a.s.metrics.Tunnelled(a.received, a.sent)
	return nil
}

// destination connects to where the caller was going, or takes the connection
// that there is.
func (a *arrival) destination() (net.Conn, error) {
	if a.greeter == nil {
		return a.s.dialer.DialContext(a.s.base, "tcp", a.at.String())
	}
	g := a.greeter
	a.greeter = nil
	return g.take()
}

// log writes the line of a connection that was not intercepted; one that was
// has a line for each request.
func (a *arrival) log(result outcome, err error) {
	if access := a.settings.access; access == AccessNone || access == AccessErrors && err == nil {
		return
	}
	level := zapcore.InfoLevel
	if result == unreachable {
		level = zapcore.WarnLevel
	}
	line := a.s.log.Check(level, "connection")
	if line == nil {
		return
	}
	fields := []zap.Field{
		zap.String("steering", string(steeredTransparently)), zap.Stringer("caller", caller.Of(a.conn)), zap.String("remote", a.conn.RemoteAddr().String()),
		zap.Stringer("destination", a.at), zap.String("host", cut(a.host)), zap.String("outcome", string(result)),
		zap.Duration("took", a.s.now().Sub(a.started)), zap.Int64("received", a.received), zap.Int64("sent", a.sent),
	}
	if err != nil {
		fields = append(fields, zap.String("cause", cut(err.Error())))
	}
	line.Write(fields...)
}
