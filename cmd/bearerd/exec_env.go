package main

import (
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/bearerd/bearerd/proxy/authority/trust"
)

// direct lists what never goes through the proxy: this machine, IMDS and the
// WireServer. Clients differ in what they read, so that the addresses stand
// beside their networks; none takes an IPv6 network well.
var direct = []string{"localhost", "127.0.0.1", "::1", "127.0.0.0/8", "169.254.169.254", "169.254.0.0/16", "168.63.129.16"}

// directJava is direct in Java's words (java.net's "Networking Properties").
const directJava = "localhost|127.*|[::1]|169.254.*|168.63.129.16"

// commandEnv gives the environment of a command whose calls go through proxy:
// base, with proxy variables in both cases, and the trust of runtimes. routed are
// the names that routes have, with everything under them.
func commandEnv(base []string, proxy netip.AddrPort, routed []string, runtimes trust.Runtimes) []string {
	getenv := lookup(base)
	noProxy := slices.Concat(direct, others(getenv("NO_PROXY")+","+getenv("no_proxy"), routed))
	env := slices.Concat(base, runtimes.Variables)
	set := func(name, value string) { env = append(env, name+"="+value) }
	url := "http://" + proxy.String()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY"} {
		set(name, url)
		set(strings.ToLower(name), url)
	}
	set("NO_PROXY", strings.Join(noProxy, ","))
	set("no_proxy", strings.Join(noProxy, ","))
	set("NODE_USE_ENV_PROXY", "1")
	// The JVM takes the last of what is said twice.
	set("JAVA_TOOL_OPTIONS", strings.TrimSpace(getenv("JAVA_TOOL_OPTIONS")+" "+javaOptions(proxy, runtimes.JavaStore)))
	return env
}

// lookup is os.Getenv on a list, where the last one counts.
func lookup(env []string) func(name string) string {
	return func(name string) string {
		for _, v := range slices.Backward(env) {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

func javaOptions(proxy netip.AddrPort, store string) string {
	host, port := proxy.Addr().String(), proxy.String()[strings.LastIndexByte(proxy.String(), ':')+1:]
	options := []string{
		"-Dhttp.proxyHost=" + host, "-Dhttp.proxyPort=" + port,
		"-Dhttps.proxyHost=" + host, "-Dhttps.proxyPort=" + port,
		"-Dhttp.nonProxyHosts=" + directJava, // https heeds it too
		"-Djavax.net.ssl.trustStoreType=PKCS12", "-Djavax.net.ssl.trustStorePassword=" + trust.Password,
	}
	// The JVM splits at spaces but within quotes.
	return strings.Join(options, " ") + ` "-Djavax.net.ssl.trustStore=` + store + `"`
}

// others gives the entries of a NO_PROXY that the user has set but for those that
// would lead routed calls past the proxy: they were meant for another one.
func others(noProxy string, routed []string) []string {
	var kept []string
	for entry := range strings.FieldsFuncSeq(noProxy, func(r rune) bool { return r == ',' || r == ' ' }) {
		name := strings.ToLower(strings.TrimLeft(entry, "*."))
		if before, port, ok := strings.Cut(name, ":"); ok && !strings.Contains(port, ":") {
			name = before
		}
		if name == "" || slices.Contains(direct, entry) || slices.Contains(kept, entry) ||
			slices.ContainsFunc(routed, func(r string) bool { return under(name, r) || under(r, name) }) {
			continue
		}
		// A pattern within a name is some clients' own.
		if slices.ContainsFunc(routed, func(r string) bool { ok, err := path.Match(name, r); return ok || err != nil }) {
			continue
		}
		kept = append(kept, entry)
	}
	return kept
}

// under says whether host is name, or under it.
func under(host, name string) bool { return host == name || strings.HasSuffix(host, "."+name) }
