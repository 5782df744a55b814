package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// checkItself asks the daemon what others ask it, over its own sockets. The
// administrator's /status takes the locks of the caches, the configuration and
// the listeners; a listener's answer needs its loop, and a place among the
// connections.
func (d *Daemon) checkItself(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := d.askStatus(ctx); err != nil {
		return fmt.Errorf("ask the administrator's listener: %w", err)
	}
	if d.draining.Load() {
		return nil // callers' doors are being closed
	}
	for _, l := range d.callersDoors() {
		if !l.answersKnocks() {
			continue
		}
		// One that a reload has closed meanwhile need not answer, nor one whose
		// connections are all taken: that is what the limit is for.
		if err := l.knock(ctx); err != nil && !l.retired.Load() && !d.draining.Load() && !d.limits.Full() {
			return fmt.Errorf("connect to %s: %w", l.config.Address, err)
		}
	}
	return nil
}

func (d *Daemon) askStatus(ctx context.Context) error {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.adminDoor.dial(ctx)
	}}
	host := "localhost"
	if tcp, ok := d.adminDoor.Addr().(*net.TCPAddr); ok {
		host = fmt.Sprintf("localhost:%d", tcp.Port)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/status", nil)
	if err != nil {
		return err
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", answer.Status)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// dial connects to the door.
func (l *door) dial(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, l.Addr().Network(), l.Addr().String())
}

// answersKnocks reports whether plain HTTP is spoken there to whoever comes.
func (l *door) answersKnocks() bool {
	return l.config.Mode != ModeTransparent && !l.config.TLS.IsServed() && len(l.config.ProxyProtocolFrom) == 0
}

// knock sends a request without a Host, which net/http answers by itself: it is
// no call, and neither the log nor the metrics count it as one. A connection
// that is closed without a word has met the limit of one caller's, and was
// accepted for all that.
func (l *door) knock(ctx context.Context) error {
	conn, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		return ignoreClosed(err)
	}
	const want = "HTTP/1.1 400 "
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil {
		if n > 0 {
			return err
		}
		return ignoreClosed(err)
	}
	if string(got) != want {
		return fmt.Errorf("it answers %q", strings.TrimSpace(string(got)))
	}
	return nil
}

// ignoreClosed is nil for a connection that its other end closed.
func ignoreClosed(err error) error {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}
