//go:build e2e && linux

package redirect

import (
	"net"
	"os"
	"testing"
	"time"
)

// The addresses of the world.
const (
	service4   = "10.9.0.2:443"
	service6   = "[fd00:9::2]:443"
	otherHost  = "10.7.0.2:443"
	imds       = "169.254.169.254:80"
	wireServer = "168.63.129.16"
	linkLocal4 = "169.254.20.10:443" // as a node's DNS cache has it
	linkLocal6 = "[fe80::9%h0]:443"
)

// world is an app host, Azure behind its network card, and a container behind a
// bridge of the host's.
type world struct{ host, azure, container *namespace }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{newNamespace(t), newNamespace(t), newNamespace(t)}
	w.host.IP(`
		link add h0 type veth peer name a0 netns ` + w.azure.Path() + `
		addr add 10.9.0.1/24 dev h0
		addr add fd00:9::1/64 dev h0 nodad
		link set h0 up
		link add br0 type bridge
		addr add 172.30.0.1/24 dev br0
		link set br0 up
		link add hc0 type veth peer name c0 netns ` + w.container.Path() + `
		link set hc0 master br0 up`)
	w.azure.IP(`
		addr add 10.9.0.2/24 dev a0
		addr add 10.7.0.2/32 dev a0
		addr add fd00:9::2/64 dev a0 nodad
		addr add 169.254.169.254/32 dev a0
		addr add 168.63.129.16/32 dev a0
		addr add 169.254.20.10/32 dev a0
		addr add fe80::9/64 dev a0 nodad
		link set a0 up
		route add default via 10.9.0.1`)
	w.host.IP(`route add default via 10.9.0.2`)
	w.container.IP(`
		addr add 172.30.0.2/24 dev c0
		link set c0 up
		route add default via 172.30.0.1`)
	w.host.As(0, 0, func() {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
			t.Error(err)
		}
	})
	for address, name := range map[string]string{
		"10.9.0.2:443": "azure", "10.9.0.2:80": "azure", "10.9.0.2:22": "azure", "10.7.0.2:443": "azure", "[fd00:9::2]:443": "azure",
		"169.254.169.254:80": "imds", "168.63.129.16:80": "wireserver", "168.63.129.16:443": "wireserver",
		linkLocal4: "neighbour", "[fe80::9%a0]:443": "neighbour",
	} {
		w.azure.listen(address, name)
	}
	for address, name := range map[string]string{
		"127.0.0.1:8443": "proxy", "[::1]:8443": "proxy", "127.0.0.1:443": "local", "10.9.0.1:8080": "probed",
	} {
		w.host.listen(address, name)
	}
	return w
}

// echo answers each datagram with itself.
func (n *namespace) echo(address string) {
	n.t.Helper()
	var c net.PacketConn
	var err error
	n.As(0, 0, func() { c, err = net.ListenPacket("udp", address) })
	if err != nil {
		n.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 100)
		for {
			count, from, err := c.ReadFrom(buffer)
			if err != nil {
				return
			}
			c.WriteTo(buffer[:count], from)
		}
	}()
	n.t.Cleanup(func() { c.Close(); <-done })
}

// ask sends a datagram as a user, from a port, and wants it back.
func (n *namespace) ask(uid int, from, to string) (err error) {
	n.t.Helper()
	n.As(uid, 0, func() {
		var local *net.UDPAddr
		if local, err = net.ResolveUDPAddr("udp", from); err != nil {
			return
		}
		d := net.Dialer{LocalAddr: local}
		var c net.Conn
		if c, err = d.Dial("udp", to); err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err = c.Write([]byte("hello")); err == nil {
			_, err = c.Read(make([]byte, 10))
		}
	})
	return err
}
