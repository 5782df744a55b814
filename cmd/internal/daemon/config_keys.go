package daemon

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"path/filepath"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/bearerd/bearerd/imds"
	identitysource "github.com/bearerd/bearerd/imds/source"
	"github.com/bearerd/bearerd/proxy"
	"github.com/bearerd/bearerd/proxy/audit"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/caller"
	"github.com/bearerd/bearerd/proxy/route"
)

// This file is the one list of the configuration's keys. What a key takes, its
// default, and what the reference in docs/configuration.md says about it stand
// in one line.

// keys are the keys of the file.
func (c *Config) keys() object {
	return object{
		{"cloud", cloudValue{&c.cloud}, "The cloud whose hosts and audiences hold. auto: the one that IMDS names, else public. A mapping defines one (see cloud)."},
		{"identity", identity(&c.Identity), "The managed identity of routes that name none. At most one id; none: the system-assigned identity or, where there is none, the only user-assigned one."},
		{"unmatched", oneOf(&c.RefuseUnmatched, word[bool]{"tunnel", false}, word[bool]{"refuse", true}), "What becomes of hosts that no route names: tunnel forwards them without a token and without a look inside, refuse answers 403."},
		{"own", own(&c.Own), "What becomes of a call that brings a live credential of its own (an unexpired token, a SAS): pass forwards it untouched, replace attaches the machine's token instead, refuse answers 403. A token for another service of the cloud counts as none."},
		{"names", list(&c.Names, hostName), "More host names by which callers reach the proxy, for base URLs. The listeners' addresses and localhost are known anyway."},
		{"listen", shown{list(&c.Listen, func(l *Listener) value { return l.keys() }), "`127.0.0.1:8180`"}, "Where callers connect: proxy requests and base URLs alike."},
		{"routes", shown{given{list(&c.routes, func(r *routeSetting) value { return r.keys() }), &c.hasRoutes}, "Key Vault, Storage, and ARM for reading"}, "Which calls get a token. The first that takes the whole call wins; a host that any route names is never tunnelled. An empty list routes nothing."},
		{"entra", object{
			{"tenants", list(&c.Entra.Tenants, func(s *string) value { return parsed(s, "GUID or domain name", tenant) }), "Their tenants, each as the applications write it: by its id, by a domain name, or both. Goes with clients."},
			{"clients", list(&c.Entra.Clients, func(s *string) value { return parsed(s, "GUID", client) }), "Their client ids."},
		}, "Applications that log in to Entra with a client secret or a certificate, whatever that is, and get a placeholder, which stands for the machine's token at the routes' services. All other logins are passed on. The cloud's login hosts are then intercepted, and are reached by the base URL http://127.0.0.1:8180/entra/... as well."},
		{"imds", c.IMDS.keys(), "How tokens are asked for. The documented limits, 20 requests a second and 5 at once, are the whole machine's: leave room for other programs."},
		{"upstream", c.Upstream.keys(), "The way out."},
		{"limits", c.Limits.keys(), "What callers can make the proxy hold."},
		{"drain", object{
			{"min", duration(&c.Drain.Min, 0, maxDrain), "How long new calls are still taken after the order to end, for load balancers to notice."},
			{"max", duration(&c.Drain.Max, 0, maxDrain), "How long calls under way may take after the order to end. Not less than min."},
		}, "How the daemon ends."},
		{"redirect", c.Redirect.keys(), "What bearerd redirect apply installs: whose calls are led to a transparent listener, and who may reach IMDS. Linux only."},
		{"authority", object{
			{"cert_file", path(&c.Authority.CertFile), "An intermediate of your own, followed by its issuers up to the root, in PEM. It must be name-constrained. Goes with key_file. Empty: the authority in state_dir."},
			{"key_file", path(&c.Authority.KeyFile), "Its key."},
			{"permit", list(&c.Authority.Permit, permitName), "More DNS suffixes and hosts that the local authority may sign for, beside those of the routes."},
		}, "The local certificate authority, which intercepted callers trust."},
		{"state_dir", path(&c.StateDir), "The folder of the local authority's file. Made with mode 0700 if it is missing."},
		{"admin", object{
			{"address", address(&c.Admin.Address), "Where /metrics, the probes and the status page are served. Nobody is asked for a credential there."},
		}, "The administrator's listener."},
		{"audit", c.Audit.keys(), "The audit stream: a record for each call to a routed host, each token given out in mode imds and each login answered in Entra's place, never sampled ([operations.md](operations.md#audit))."},
		{"log", object{
			{"level", oneOf(&c.Log.Level, word[zapcore.Level]{"debug", zapcore.DebugLevel}, word[zapcore.Level]{"info", zapcore.InfoLevel}, word[zapcore.Level]{"warn", zapcore.WarnLevel}, word[zapcore.Level]{"error", zapcore.ErrorLevel}), "The least severe lines that are written."},
			{"format", oneOf(&c.Log.Format, same(LogAuto), same(LogJSON), same(LogConsole)), "json for programs, console for people. auto: console where standard error is a terminal, else json."},
			{"access", oneOf(&c.Log.Access, word[proxy.AccessLog]{"none", proxy.AccessNone}, word[proxy.AccessLog]{"errors", proxy.AccessErrors}, word[proxy.AccessLog]{"all", proxy.AccessAll}), "Which requests get a line: errors are answers of 400 and above, and broken ones."},
		}, "What the daemon writes to standard error."},
	}
}

func (l *Listener) keys() object {
	return object{
		{"address", shown{address(&l.Address), "required"}, "IP:PORT, or unix:PATH. Port 0 is any free one."},
		{"mode", oneOf(&l.Mode, word[Mode]{"explicit", ModeExplicit}, word[Mode]{"transparent", ModeTransparent}, word[Mode]{"imds", ModeIMDS}), "explicit: proxy requests and base URLs. imds: what IMDS answers to apps that ask it for tokens by themselves, for the identities and audiences of the routes; it hands tokens out, on loopback, a unix socket, or IMDS's own 169.254.169.254:80 with insecure_allow_network. transparent: connections that a redirect of the firewall, or a hosts entry, led here; those to routed hosts are intercepted, any other is passed on to where it was going. On Linux only."},
		{"host", parsed(&l.Host, "host", optionalHost), "The one host of clients that name none, for they send no SNI. In mode transparent; give each such host a loopback address of its own."},
		{"tls", l.TLS.keys(), "TLS towards callers. With a certificate (cert_file, authority or acme) the listener is an https proxy. min_version and rsa hold for intercepted calls too, and need no certificate."},
		{"insecure_allow_network", boolean(&l.InsecureAllowNetwork), "Take an address that is not loopback's without asking for client certificates: everybody who reaches it may then use the machine's identity."},
		{"proxy_protocol_from", list(&l.ProxyProtocolFrom, func(p *netip.Prefix) value { return parsed(p, "address or prefix", anyPrefix) }), "Load balancers that send the PROXY protocol, version 2. Each of their connections must begin with its header, and the caller's address is the one in it; from other addresses the header is no more than a malformed request."},
	}
}

func (t *TLS) keys() object {
	return object{
		{"min_version", oneOf(&t.MinVersion, word[uint16]{"1.2", 0}, word[uint16]{"1.0", tls.VersionTLS10}, word[uint16]{"1.1", tls.VersionTLS11}, word[uint16]{"1.3", tls.VersionTLS13}), "Lowest version of TLS. 1.0 and 1.1 have known weaknesses, and are for clients that know nothing newer."},
		{"rsa", boolean(&t.RSA), "Also take clients that know RSA alone: certificates by an RSA authority of their own, and key exchange without forward secrecy."},
		{"cert_file", path(&t.CertFile), "The listener's certificate, followed by its issuers, in PEM. Goes with key_file. Both are read again when they change."},
		{"key_file", path(&t.KeyFile), "Its key."},
		{"authority", boolean(&t.Authority), "The local authority signs the listener's certificate, for the names of the file's own names."},
		{"client_ca", path(&t.ClientCA), "Authorities, in PEM, one of which must have signed the certificate of every caller. Read again when it changes. Only where the listener has a certificate."},
		{"acme", object{
			{"directory", parsed(&t.ACME.Directory, "URL", acmeDirectory), "The ACME server's directory, as https://acme-v02.api.letsencrypt.org/directory. Naming it agrees to the server's terms."},
			{"email", text(&t.ACME.Email, "mail address"), "Where the server's operator reaches you. May be empty."},
			{"domains", list(&t.ACME.Domains, acmeDomain), "Names to get a certificate for, each its own."},
			{"eab", object{
				{"key_id", text(&t.ACME.EAB.KeyID, "text"), "The external account's key id."},
				{"key_file", path(&t.ACME.EAB.KeyFile), "File with its key, in base64url."},
			}, "An external account to bind to, which some servers ask for."},
			{"http_address", shown{parsed(&t.ACME.HTTPAddress, "IP:PORT", httpAddress), "`\"\"`"}, "Where HTTP-01 is answered while a challenge is under way; port 80 of the domains must lead there. Empty: TLS-ALPN-01 on the listener itself, where port 443 of the domains must lead."},
		}, "A certificate by ACME, kept in state_dir and renewed when a third of its life is left."},
	}
}

func (r *routeSetting) keys() object {
	return object{
		{"name", text(&r.rule.Name, "text"), "What logs, metrics and reasons call the route. Empty: made from the service, or the first host."},
		{"service", text(&r.rule.Service, "text"), "A service of the cloud: keyvault, managedhsm, storage, arm and more. Empty: the one that the hosts belong to, else an API of your own, which needs an audience."},
		{"hosts", texts(&r.rule.Hosts, "HOST, HOST:PORT or *.SUFFIX"), "Which hosts. The star stands for one label. Empty: every name that is safely the service's. Without a port: 443, and 80 with plain http."},
		{"audience", text(&r.rule.Audience, "text"), "What tokens are asked for. Empty: the service's. It vouches for hosts that are not known to be the service's."},
		{"identity", shown{given{identity(&r.rule.Identity), &r.hasIdentity}, "the file's identity"}, "The identity of this route, in place of the file's as a whole: {} is the system-assigned one."},
		{"methods", texts(&r.rule.Methods, "method"), "Which methods, in capital letters. Empty: all."},
		{"paths", texts(&r.rule.Paths, "path"), "Which paths, unescaped: * is one segment, ** many. Empty: all."},
		{"operations", texts(&r.rule.Operations, "operation"), "Which operations, by the names in services.md: keyvault.secret.get, or storage.blob.* for all that begin so. Operations that give a credential (a key, a signature, a backup) have to be named in full, on every route with methods, paths, operations or require_header. Empty: all others."},
		{"callers", callers(&r.rule.Callers), "Who may make the call: whoever is in any of the lists. Where the kernel does not tell who calls, nobody may. Absent: everybody who can connect."},
		{"require_header", table[string]{&r.rule.RequireHeader, anyName, "header field", func(s *string) value { return secret{text(s, "text")} }}, "Fields that the call must carry, once, with that value: what a confused program that fetches a stranger's URL does not send."},
		{"gateway", text(&r.rule.Gateway, "text"), "Name of the base URL of the route's one host, or of the one of several where the service answers everybody (management.azure.com): http://127.0.0.1:8180/NAME/... Links to other hosts that the route names, such as Azure Resource Manager's regional ones, come back as http://127.0.0.1:8180/NAME~HOST/..."},
		{"required", boolean(&r.rule.Required), "Readiness waits for this route's token."},
		{"own", shown{given{own(&r.rule.Own), &r.hasOwn}, "the file's own"}, "As the file's own, for this route."},
		{"upgrades", texts(&r.rule.Upgrades, "websocket"), "Protocols that a call may switch to."},
	}
}

// callers takes who a route is for.
func callers(names *caller.Names) value {
	accounts := func(at *[]caller.Account, parse func(string) (caller.Account, error)) value {
		return list(at, func(a *caller.Account) value { return account(a, parse) })
	}
	return checked{object{
		{"users", accounts(&names.Users, caller.ParseUser), "Users. Names are looked up when the file is read."},
		{"groups", accounts(&names.Groups, caller.ParseGroup), "Groups. Over a unix socket those of the process count, over TCP those that the system's database has for its user."},
		{"cgroups", list(&names.Cgroups, func(p *string) value { return parsed(p, "path", caller.ParseCgroup) }), "Control groups (version 2), such as /system.slice/payroll.service, and all below them. One need not be there yet."},
		{"certificates", list(&names.Certificates, func(n *string) value { return parsed(n, "name", caller.ParseCertificate) }), "Names of client certificates, where a listener asks for them (tls.client_ca): its DNS names, URIs and mail addresses or, where it has none of these, its common name."},
	}, func(s *source, path string) {
		if names.Empty() && !s.failedUnder(path) {
			s.fail(path, "it names nobody; name a user, a group or a cgroup, or remove it to let everybody call")
		}
	}}
}

// identity takes the ids of a managed identity.
func identity(id *imds.Identity) value {
	return checked{object{
		{"source", shown{parsed(&id.Source, orList(identitysource.Names()), sourceName), "detected"}, "Where the tokens come from. Absent: what the environment tells (IDENTITY_ENDPOINT, MSI_ENDPOINT, AZURE_FEDERATED_TOKEN_FILE), else imds."},
		{"client_id", parsed(&id.ClientID, "GUID", guid), "A user-assigned identity by its client id."},
		{"object_id", parsed(&id.ObjectID, "GUID", guid), "The same by its object (principal) id."},
		{"resource_id", text(&id.ResourceID, "text"), "The same by its resource id, /subscriptions/..."},
	}, func(s *source, path string) {
		if err := checkIdentity(*id); err != nil {
			s.fail(path, "%w", err)
		}
	}}
}

func (i *IMDS) keys() object {
	const why = "for IMDS's documented limits are 20 requests a second and 5 at once for the whole machine"
	return object{
		{"endpoint", parsed(&i.Endpoint, "URL", endpoint), "Where IMDS answers: scheme and host. Another one is for tests."},
		{"rate", rate(&i.Rate, 20, why), "Requests a second, over all identities and audiences."},
		{"burst", number(&i.Burst, 1, 20, why), "Requests that may follow each other at once after a pause."},
		{"concurrency", number(&i.Concurrency, 1, 5, why), "Requests in flight."},
		{"token_wait", duration(&i.TokenWait, 0, 5*time.Minute), "How long a call waits for a token before it is answered 503."},
		{"idle_after", duration(&i.IdleAfter, time.Minute, 30*24*time.Hour), "How long nobody may have used a token before it is no longer refreshed. Those of required routes always are."},
	}
}

func (u *Upstream) keys() object {
	var url, credentials string
	var noProxy []string
	return object{
		{"ca_file", path(&u.CAFile), "Certificates, in PEM, that are trusted beside the system's roots."},
		{"connect_to", connectTo{table[string]{&u.ConnectTo, anyName, "HOST or HOST:PORT", func(s *string) value { return text(s, "IP:PORT") }}}, "What is dialled in place of a host, or of one port of it. TLS still verifies the host's name. The one way to reach a routed host on loopback or link-local addresses."},
		{"proxy", later{object{
			{"url", text(&url, "URL"), "The proxy."},
			{"credentials_file", path(&credentials), "User and password."},
			{"no_proxy", texts(&noProxy, "suffix, address or prefix"), "Hosts that are dialled directly."},
		}, "this version dials upstreams directly, so that the proxy would be passed by; remove it"}, "A proxy on the way out. Not in this version."},
		{"resolvers", list(&u.Resolvers, func(r *netip.AddrPort) value { return parsed(r, "IP or IP:PORT", resolver) }), "DNS servers to ask directly. Empty: the system's. With a transparent listener these are asked past the hosts file and systemd-resolved, which answers from it; a hosts entry that steers apps would steer bearerd too."},
		{"allow_addresses", list(&u.AllowAddresses, func(p *netip.Prefix) value { return parsed(p, "address or prefix", prefix) }), "Loopback, link-local or other clouds' metadata addresses that tunnels may reach. IMDS, the WireServer and the proxy's own listeners stay forbidden."},
	}
}

func (l *Limits) keys() object {
	return object{
		{"connections", number(&l.Connections, 1, 1_000_000, ""), "Callers' connections."},
		{"connections_per_caller", number(&l.ConnectionsPerCaller, 1, 1_000_000, ""), "Connections of one caller: a user of this machine, or another machine's address."},
		{"header_bytes", size(&l.HeaderBytes, 4<<10, 1<<20), "A request's header section."},
		{"header_timeout", duration(&l.HeaderTimeout, time.Second, 5*time.Minute), "How long a caller may take to send it, and for a TLS handshake."},
		{"idle_timeout", duration(&l.IdleTimeout, time.Second, time.Hour), "How long a connection is kept between requests."},
		{"streams", number(&l.Streams, 1, 10_000, ""), "Concurrent HTTP/2 streams of a connection."},
		{"spool", size(&l.Spool, 1<<10, 16<<20), "How much of a body is kept, to repeat a call whose token was refused."},
		{"spool_total", size(&l.SpoolTotal, 1<<10, 16<<30), "All bodies kept. Not less than spool."},
	}
}

func (a *Audit) keys() value {
	return checked{object{
		{"to", parsed(&a.To, "journald, stdout or an absolute path", auditPlace), "Where it goes: journald, stdout, or an absolute path, which is opened anew at SIGHUP. Empty: it is not written."},
		{"on_error", oneOf(&a.Refuse, word[bool]{"continue", false}, word[bool]{"refuse", true}), "What becomes of calls while it cannot be written, on a full disk say: continue lets them go on, and records that find no room in memory are lost and counted; refuse answers them 503 (BearerdAuditUnavailable)."},
	}, func(s *source, path string) {
		if a.Refuse && a.To == "" && !s.failedUnder(path) {
			s.fail(path, "on_error says refuse, and nothing is written without to; name where the records go, or remove it")
		}
	}}
}

// auditPlace takes where the audit stream goes.
func auditPlace(text string) (string, error) {
	if text == "" || text == audit.Journald || text == audit.Stdout || filepath.IsAbs(text) {
		return text, nil
	}
	return "", errors.New("not journald, stdout or an absolute path; write one of them")
}

func own(at *route.Own) value {
	return oneOf(at, word[route.Own]{"pass", route.OwnPass}, word[route.Own]{"replace", route.OwnReplace}, word[route.Own]{"refuse", route.OwnRefuse})
}

func same(text string) word[string] { return word[string]{text, text} }

// cloudValue takes a cloud's name, or a mapping that defines one.
type cloudValue struct{ at *cloudSetting }

// definitionKeys are the keys of a cloud that the file defines.
func definitionKeys(d *azure.Definition, file *string) object {
	return object{
		{"name", shown{text(&d.Name, "text"), "required without file"}, "What people call the cloud. With file: which of its clouds, needed only where it has several, or no name."},
		{"base", text(&d.Base, "text"), "The cloud that this one starts from: public, usgov or china. Empty: none."},
		{"file", path(file), "In place of base, a file with what the cloud's Azure Resource Manager answers to `/metadata/endpoints?api-version=2022-09-01`: Key Vault, Managed HSM, Storage and Azure Resource Manager as it tells them. It is read again at a reload."},
		{"login", text(&d.Login, "host"), "Where tenants sign in. Empty: the base's or the file's."},
		{"services", list(&d.Services, func(s *azure.ServiceDefinition) value {
			return object{
				{"name", shown{text(&s.Name, "text"), "required"}, "What routes call it. The name of one of the base's or the file's adds to that one."},
				{"audience", text(&s.Audience, "text"), "What tokens are asked for. Empty only where the base or the file has it."},
				{"like", text(&s.Like, "text"), "keyvault, managedhsm, storage or arm, where the service follows the rules of that one (header fields, challenges, paths)."},
				{"hosts", texts(&s.Hosts, "host"), "Exact names."},
				{"suffixes", texts(&s.Suffixes, "DNS suffix"), "The service's as a whole: one label in front of each. Only where no stranger can own a name under it."},
			}
		}), "Services beside the base's or the file's."},
	}
}
