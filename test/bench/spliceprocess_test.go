package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"github.com/bearerd/bearerd/metrics"
	"github.com/bearerd/bearerd/proxy"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/dial"
	"github.com/bearerd/bearerd/proxy/listen"
	"github.com/bearerd/bearerd/proxy/route"
)

// spliceCommand and relayCommand make this program what passes a connection on:
// bearerd's transparent listener, or the plainest relay that Go can be.
const (
	spliceCommand = "splice"
	relayCommand  = "relay"
)

// servePassing runs one of the two: its name, where to listen, where to lead to.
func servePassing(args []string) error {
	if len(args) != 3 {
		return errors.New("it takes a command and two addresses")
	}
	to, err := netip.ParseAddrPort(args[2])
	if err != nil {
		return err
	}
	if args[0] == relayCommand {
		return serveRelay(args[1], to)
	}
	return serveSplice(args[1], to)
}

// serveSplice is what a daemon makes of a transparent listener, but that the
// destination is given: no firewall is needed, which would cost both the same.
func serveSplice(address string, to netip.AddrPort) error {
	cloud, _ := azure.CloudNamed("public")
	table, err := route.Compile(route.Defaults(cloud), cloud)
	if err != nil {
		return err
	}
	dialer, err := dial.New(dial.Options{Allow: []netip.Prefix{netip.PrefixFrom(to.Addr(), to.Addr().BitLen())}})
	if err != nil {
		return err
	}
	server, err := proxy.New(proxy.Options{Settings: proxy.Settings{Routes: table}, Dialer: dialer, Authority: noAuthority{}, Metrics: metrics.New("")})
	if err != nil {
		return err
	}
	l, err := listen.Open(context.Background(), listen.Options{Address: address, Limits: listen.NewLimits(listen.LimitOptions{})})
	if err != nil {
		return err
	}
	return server.ServeTransparent(l, proxy.TransparentOptions{Destination: func(net.Conn) (netip.AddrPort, bool) { return to, true }})
}

// noAuthority is for connections that are never intercepted.
type noAuthority struct{}

// Leaf implements proxy.Authority.
func (noAuthority) Leaf(context.Context, string) (*tls.Certificate, error) {
	return nil, errors.New("nothing is to be intercepted")
}

// serveRelay copies between sockets, which io.Copy does by splice(2).
func serveRelay(address string, to netip.AddrPort) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			far, err := net.Dial("tcp", to.String())
			if err != nil {
				fmt.Println(err)
				return
			}
			defer far.Close()
			var both sync.WaitGroup
			both.Go(func() {
				_, _ = io.Copy(far, conn)
				_ = far.(*net.TCPConn).CloseWrite()
			})
			_, _ = io.Copy(conn, far)
			_ = conn.(*net.TCPConn).CloseWrite()
			both.Wait()
		}()
	}
}
