package daemon

import (
	"fmt"
	"strings"

	"github.com/bearerd/bearerd/proxy/audit"
)

// logField is a name in the log's lines, and what it holds.
type logField struct{ name, means string }

// logFields lists every name. Programs read the log by them, so that one is
// never given another meaning.
func logFields() []logField {
	return []logField{
		{"time", "when, by RFC 3339 with nanoseconds"},
		{"level", "`debug`, `info`, `warn`, `error`"},
		{"msg", "what happened; `request` of a call, `connection` of one to a transparent listener that was not intercepted"},
		{"logger", "the library whose line it is"},
		{"error", "why something failed, for people"},

		{"request_id", "of a call: its `x-ms-client-request-id`, else the trace of its `traceparent`, else made. The audit stream has the same; nothing that is made here is sent on"},
		{"trace_id", "the trace that a call is part of, where it is kept: its own, or one that bearerd began"},
		{"steering", "how the call came: `connect`, `absolute`, `base`, `transparent`"},
		{"caller", "who called: user, cgroup, process and certificate, as far as known"},
		{"remote", "the caller's address"},
		{"method", "the method"},
		{"host", "the host"},
		{"path", "the path without the query, its first 200 bytes"},
		{"route", "the route's name; `unrouted`, or `intercepted` for the CONNECT before calls"},
		{"status", "what the caller got; 499: it left before"},
		{"took", "how long it took"},
		{"received", "bytes from the caller"},
		{"sent", "bytes to the caller"},
		{"operation", "what the call does ([services.md](services.md))"},
		{"mints", "true: it, or a call in its batch, asks for a credential that works past bearerd"},
		{"calls", "how many calls a batch holds"},
		{"code", "of an answer of bearerd's own ([errors.md](errors.md))"},
		{"message", "what that answer says"},
		{"cause", "what is behind it"},
		{"broken", "what broke the answer off"},
		{"login", "how a call to a login host ended: `answered`, `refused`, `described`, `passed`"},
		{"reason", "why a login was judged so"},
		{"client", "the client that logs in"},
		{"destination", "where a connection to a transparent listener was going"},
		{"outcome", "what became of it: `spliced`, `unreachable`, `refused`, `left`"},

		{"audience", "what a token is for"},
		{"identity", "whose it is, as configured"},
		{"expires", "when the token, or the certificate, ends"},
		{"refresh", "when the token is asked for again"},
		{"retry", "when, or after how long, it is tried again"},
		{"class", "what kind of failure ([operations.md](operations.md#tokens))"},
		{"ahead_at_least", "by how much the clock is ahead"},
		{"object_id", "the identity that tokens are issued to"},
		{"resource_id", "the same, by its resource"},
		{"previous_object_id", "the one before"},
		{"previous_resource_id", "the same, by its resource"},
		{"pin", "the line of the configuration that keeps the identity of now"},

		{"version", "bearerd's"},
		{"listen", "where callers connect"},
		{"listener", "one of those"},
		{"admin", "where the administrator's listener is"},
		{"cloud", "the cloud's name"},
		{"environment", "what IMDS calls the cloud"},
		{"routes", "the routes' names"},
		{"drain", "how long calls under way may take"},
		{"by", "the address of who gave an order"},
		{"balancer", "the load balancer"},
		{"to", "where the audit stream goes"},
		{"lost", "how many of its records are lost"},
		{"kinds", "how many kinds of calls were learned"},
		{"dropped", "how many calls found no room there"},
		{"earlier", "where the file of an earlier run is kept"},
		{"file", "a file"},
		{"files", "several"},
		{"reasons", "what keeps bearerd from being ready"},
		{"name", "the host, or wildcard, that a leaf is for"},
		{"domain", "the name that a certificate is for"},
		{"permitted", "what the authority may sign for"},
		{"sha256", "its fingerprint"},
	}
}

// writeLogReference gives the tables of docs/logs.md.
func writeLogReference() string {
	var b strings.Builder
	b.WriteString("## The log\n\n| field | means |\n| --- | --- |\n")
	for _, f := range logFields() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", f.name, f.means)
	}
	b.WriteString("\n## The audit stream\n\n| field | means |\n| --- | --- |\n")
	for _, f := range audit.Fields() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", f.Name, f.Means)
	}
	return b.String()
}
