package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/redirect"
)

const imdsAddress = "169.254.169.254"

// environment looks at the proxy variables. bearerd takes no proxy from them, and
// the programs that doctor is called to help probably have the same.
func (e *examination) environment() []finding {
	var found []finding
	for _, name := range []string{"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"} {
		value := e.getenv(name)
		if value == "" {
			continue
		}
		f := finding{Check: "proxy variables", Level: levelNote, Subject: name, Seen: "it names another proxy than bearerd, which takes none from the environment: routed calls of programs with this variable go there"}
		if e.isOurs(value) {
			f.Seen = "it leads to bearerd"
		}
		found = append(found, f)
		if strings.HasSuffix(strings.ToLower(name), "http_proxy") || strings.HasPrefix(strings.ToLower(name), "all") {
			if !e.bypasses(imdsAddress) {
				found = append(found, finding{Check: "proxy variables", Level: levelWarn, Subject: name,
					Seen: "programs that ask IMDS themselves send that through the proxy, and IMDS refuses it",
					Do:   "add IMDS to NO_PROXY:", Command: "export NO_PROXY=\"$NO_PROXY,169.254.169.254,168.63.129.16,localhost,127.0.0.1\""})
			}
		}
	}
	if found == nil {
		return []finding{{Check: "proxy variables", Seen: "none is set"}}
	}
	return found
}

// isOurs reports whether a proxy's URL leads to a listener of the configuration.
func (e *examination) isOurs(proxy string) bool {
	u, err := url.Parse(proxy)
	if err != nil || u.Host == "" {
		if u, err = url.Parse("http://" + proxy); err != nil {
			return false
		}
	}
	host := u.Hostname()
	if host == "localhost" {
		host = "127.0.0.1"
	}
	at, err := netip.ParseAddrPort(net.JoinHostPort(host, u.Port()))
	return err == nil && slices.Contains(e.ownAddresses(), at)
}

// bypasses reports whether NO_PROXY names a host.
func (e *examination) bypasses(host string) bool {
	for entry := range strings.SplitSeq(e.getenv("NO_PROXY")+","+e.getenv("no_proxy"), ",") {
		entry = strings.TrimSpace(entry)
		if entry == host || entry == "*" {
			return true
		}
		if p, err := netip.ParsePrefix(entry); err == nil && p.Contains(netip.MustParseAddr(host)) {
			return true
		}
	}
	return false
}

// machine asks IMDS which cloud this is, which also tells whether it is there.
func (e *examination) machine(ctx context.Context) []finding {
	e.cloud = e.config.LikelyCloud()
	if !e.config.AsksIMDS() {
		return []finding{{Check: "IMDS", Level: levelNote, Seen: "no route's tokens come from it, so that it is not asked"}}
	}
	where := e.config.IMDS.Endpoint
	way, known := wayTo(where)
	var found []finding
	if redirect.ProxyAgentRuns(e.proc) {
		found = append(found, finding{Check: "IMDS", Level: levelWarn,
			Seen: "the Guest Proxy Agent runs, which takes connections to IMDS before the kernel's rules see them, where the Metadata Security Protocol is on; redirect.guard_imds does not hold there",
			Do:   fmt.Sprintf("name bearerd's user (%s) in the rules of the virtual machine's proxyAgentSettings, and set them to enforce", e.config.Redirect.DaemonUser)})
	}
	environment, err := e.imds.Environment(ctx)
	if err != nil {
		f := failed("IMDS", where, err)
		if known {
			f.Seen += " (asked by " + way + ")"
		}
		return append(found, f)
	}
	f := finding{Check: "IMDS", Subject: where}
	named, ok := azure.CloudFromEnvironment(environment)
	_, auto := e.config.Cloud()
	switch {
	case !ok:
		f.Level, f.Seen, f.Do = levelWarn, fmt.Sprintf("it names the cloud %q, which is not known", environment), "define it under cloud"
	case auto:
		f.Seen = "it answers and names the cloud " + named.Name
		e.cloud = named
	case named.Name != e.cloud.Name:
		f.Level, f.Seen, f.Do = levelWarn, fmt.Sprintf("it names the cloud %s, and the configuration says %s", named.Name, e.cloud.Name), "correct cloud, unless that is meant"
	default:
		f.Seen = "it answers, and its cloud is the configuration's"
	}
	if known {
		f.Seen += ", by " + way
	}
	return append(found, f)
}

// wayTo tells the interface and the address by which the kernel sends to an
// endpoint. No packet is sent for it.
func wayTo(endpoint string) (string, bool) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", false
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil {
		return "", false // its name would have to be asked for
	}
	conn, err := net.Dial("udp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return "no route at all", true
	}
	defer conn.Close()
	from := conn.LocalAddr().(*net.UDPAddr).IP
	interfaces, err := net.Interfaces()
	if err != nil {
		return from.String(), true
	}
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(from) {
				return fmt.Sprintf("%s (%s)", i.Name, from), true
			}
		}
	}
	return from.String(), true
}

// identities asks for each token that the routes need, one after another, for
// IMDS's limits are the whole machine's.
func (e *examination) identities(ctx context.Context) []finding {
	var found []finding
	var told []imds.Identity
	for _, k := range daemon.Keys(e.table, false) {
		subject := fmt.Sprintf("%s (%s)", k.Audience, k.Identity)
		token, err := e.tokens.Token(ctx, k.Identity, k.Audience)
		if err != nil {
			found = append(found, tokenFailed(subject, err))
			continue
		}
		e.mu.Lock()
		e.got[tokenKey{k.Identity, k.Audience}] = token
		e.mu.Unlock()
		found = append(found, finding{Check: "token", Subject: subject, Seen: fmt.Sprintf("it is valid for %s", inMinutes(token.Expires().Sub(e.now())))})
		e.noteClock(token)
		claims, err := token.Claims()
		if err != nil {
			found = append(found, finding{Check: "identity", Level: levelNote, Subject: k.Identity.String(), Seen: "its token does not tell whose it is: " + err.Error()})
			continue
		}
		if !slices.Contains(told, k.Identity) {
			told = append(told, k.Identity)
			found = append(found, identityFinding(k.Identity, claims))
		}
	}
	return found
}

// inMinutes gives a duration without seconds.
func inMinutes(d time.Duration) string {
	d = d.Round(time.Minute)
	if m := d % time.Hour / time.Minute; m != 0 {
		return fmt.Sprintf("%dh%dm", d/time.Hour, m)
	}
	return fmt.Sprintf("%dh", d/time.Hour)
}

// tokenFailed tells why there is no token.
func tokenFailed(subject string, err error) finding {
	f := failed("token", subject, err)
	if e, ok := errors.AsType[*imds.Error](err); ok {
		f.Do = e.Hint()
		f.Seen = strings.TrimSuffix(strings.TrimSuffix(err.Error(), f.Do), "; ")
		f.Seen = strings.TrimPrefix(f.Seen, "token for "+subject+" ")
		if e.Class == imds.Throttled {
			f.Seen = "IMDS throttles this machine: " + f.Seen
		}
	}
	return f
}

// identityFinding tells whose the tokens are and, where the configuration leaves
// that to IMDS, how to keep to it: where a user-assigned identity is the
// machine's only one, IMDS picks another as soon as a policy adds a
// system-assigned one.
func identityFinding(id imds.Identity, claims imds.Claims) finding {
	f := finding{Check: "identity", Subject: id.String(), Seen: fmt.Sprintf("tokens are issued to object id %s, client id %s", claims.ObjectID, claims.AppID)}
	if claims.ResourceID != "" {
		f.Seen += ", of " + claims.ResourceID
	}
	if line := daemon.Pin(claims); line != "" && !id.Pinned() {
		f.Level = levelWarn
		f.Seen += "; IMDS picks it for none is configured, and as long as it is the only one"
		f.Do, f.Command = "pin it in the configuration:", line
	}
	return f
}

// clockTolerance is how far a clock may be off before it is called wrong:
// services allow five minutes.
const clockTolerance = 5 * time.Minute

// noteClock takes over what a token tells of its issuer's clock.
func (e *examination) noteClock(token *imds.Token) {
	if ahead := token.ClockAhead(); ahead > 0 {
		e.seeClock("the token's issuer", ahead)
		return
	}
	if claims, err := token.Claims(); err == nil && claims.NotBefore.Sub(e.now()) > clockTolerance {
		e.seeClock("the token's issuer", e.now().Sub(claims.NotBefore))
	}
}

func (e *examination) seeClock(who string, ahead time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clocks = append(e.clocks, clockSeen{who, ahead})
}

// clock compares this machine's with those of all who told the time.
func (e *examination) clock() []finding {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.clocks) == 0 {
		return nil
	}
	worst := slices.MaxFunc(e.clocks, func(a, b clockSeen) int { return int(a.ahead.Abs() - b.ahead.Abs()) })
	if worst.ahead.Abs() <= clockTolerance {
		return []finding{{Check: "clock", Seen: fmt.Sprintf("it agrees with %s to %s", worst.who, max(worst.ahead.Abs().Round(time.Second), time.Second))}}
	}
	way := "ahead of"
	if worst.ahead < 0 {
		way = "behind"
	}
	return []finding{{Check: "clock", Level: levelFail, Seen: fmt.Sprintf("this machine's is %s %s's by %s", way, worst.who, inMinutes(worst.ahead.Abs())), Do: "set it:", Command: "timedatectl set-ntp true"}}
}

// dated notes what the answers say of the time.
type dated struct {
	inner http.RoundTripper
	e     *examination
	who   string
}

// RoundTrip implements http.RoundTripper.
func (d *dated) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := d.inner.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		d.e.seeClock(d.who, d.e.now().Sub(date))
	}
	return answer, nil
}
