package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bearerd/bearerd/proxy/azure"
)

// answers are what a first configuration is made of.
type answers struct {
	identity string   // client id or resource id; empty: the system-assigned one
	hosts    []string // each HOST or HOST=AUDIENCE; none: the default routes
	users    []string // none: everybody
}

const configHead = `# What bearerd lends the machine's identity for. "bearerd check" tells the mistakes in this file, "bearerd explain URL" what becomes of a call;
# a reload (SIGHUP) takes changes over. All keys: docs/configuration.md.

`

const readOnly = "methods: [GET, HEAD] # a write can change what the identity may do"

const configTail = `
# Callers connect here, by HTTPS_PROXY=http://127.0.0.1:8180 or by base URL. Metrics, probes and /status are on 127.0.0.1:9180.
listen:
  - address: 127.0.0.1:8180

# A record for each call to a routed host; refuse answers 503 while it cannot be written.
# audit: {to: /var/log/bearerd/audit.log, on_error: refuse}
`

// config gives the text of the configuration.
func (a answers) config() string {
	var b strings.Builder
	b.WriteString(configHead)
	switch {
	case a.identity == "":
		b.WriteString("# The machine's system-assigned identity, or the only one that it has. A user-assigned one by its id:\n" +
			"# identity: {client_id: 00000000-0000-0000-0000-000000000001}\n")
	case strings.HasPrefix(a.identity, "/"):
		fmt.Fprintf(&b, "identity: {resource_id: %s}\n", strconv.Quote(a.identity))
	default:
		fmt.Fprintf(&b, "identity: {client_id: %s}\n", strconv.Quote(a.identity))
	}
	b.WriteString("\n# Hosts that no route names: tunnel passes them on without a token and without a look inside, refuse answers 403.\nunmatched: tunnel\n" +
		"\n# Which calls get a token. The first route that takes the whole call wins; a call to a named host that none takes is answered 403.\n" +
		"# A route is narrowed by methods: [GET], paths: [/secrets/*] and operations: [keyvault.secret.get]; required: true has readiness wait for its token.\nroutes:\n")
	if len(a.hosts) == 0 {
		a.route(&b, "service: keyvault")
		a.route(&b, "service: storage")
		a.route(&b, "service: arm", readOnly, "gateway: arm # http://127.0.0.1:8180/arm/...")
	}
	var taken []string
	for _, given := range a.hosts {
		host, audience, hasAudience := strings.Cut(given, "=")
		lines := []string{"hosts: [" + strconv.Quote(host) + "]"}
		if hasAudience {
			lines = append(lines, "audience: "+strconv.Quote(audience))
		}
		if isARM(host) {
			lines = append(lines, readOnly)
		}
		if name := gatewayName(host); name != "" && !slices.Contains(taken, name) {
			taken = append(taken, name)
			lines = append(lines, "gateway: "+name+" # http://127.0.0.1:8180/"+name+"/...")
		}
		a.route(&b, lines...)
	}
	b.WriteString(configTail)
	return b.String()
}

// route writes one route, and who may use it.
func (a answers) route(b *strings.Builder, lines ...string) {
	if len(a.users) > 0 {
		quoted := make([]string, len(a.users))
		for i, user := range a.users {
			quoted[i] = strconv.Quote(user)
		}
		lines = append(lines, "callers: {users: ["+strings.Join(quoted, ", ")+"]}")
	}
	b.WriteString("  - " + strings.Join(lines, "\n    ") + "\n")
}

// isARM reports whether a host is Azure Resource Manager's in any cloud.
func isARM(host string) bool {
	name, _, _ := strings.Cut(host, ":")
	return slices.ContainsFunc(azure.CloudNames(), func(cloud string) bool {
		c, ok := azure.CloudNamed(cloud)
		if !ok {
			return false
		}
		service, ok := c.ServiceOf(strings.ToLower(name))
		return ok && service.Name == "arm"
	})
}

// gatewayName gives the name of a host's base URL: its first label, or none
// where that could not be a name, or there are many hosts.
func gatewayName(host string) string {
	label, _, _ := strings.Cut(strings.ToLower(host), ".")
	for _, r := range label {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return ""
		}
	}
	if strings.Trim(label, "-") != label || len(label) > 63 {
		return ""
	}
	return label
}
