package route

import (
	"strings"

	"github.com/bearerd/bearerd/proxy/azure"
)

// asksWebSocket reports whether the call asks for the switch to WebSocket (RFC
// 6455). Any other upgrade may be ignored (RFC 9110, section 7.8), and Java's
// client offers h2c with every plain call, so offers alone refuse nothing.
func asksWebSocket(c *azure.Call) bool {
	value, count := first(c, "Upgrade")
	if count <= 1 {
		return count == 1 && offersWebSocket(value)
	}
	return oneAsksWebSocket(c)
}

// oneAsksWebSocket is for several Upgrade fields, over which it cannot go
// without an allocation.
func oneAsksWebSocket(c *azure.Call) bool {
	for name, value := range c.Header.Each {
		if name == "Upgrade" && offersWebSocket(value) {
			return true
		}
	}
	return false
}

func offersWebSocket(upgrade string) bool {
	for protocol := range strings.SplitSeq(upgrade, ",") {
		name, _, _ := strings.Cut(strings.Trim(protocol, " \t"), "/")
		if strings.EqualFold(name, "websocket") {
			return true
		}
	}
	return false
}
