package learn

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/route"
)

// ReportOptions are what a report says beside what was seen. Cloud and Routes are
// required.
type ReportOptions struct {
	Cloud  *azure.Cloud
	Routes *route.Table // that hold now
	Now    time.Time
	// Principal gives the object id of whom an identity's tokens are issued to;
	// "" where it is not known. It is a token's own word.
	Principal func(imds.Identity) string
}

// Report gives what was learned: a configuration of routes that takes what was
// seen and nothing else, and in its comments what is to be done in Azure.
func (r *Recorder) Report(o ReportOptions) []byte {
	w := &writer{o: o, snapshot: r.snapshot()}
	w.compare()
	w.head(r.since)
	w.routes()
	w.refused()
	w.unrouted()
	w.roles()
	w.credentials()
	return w.text.Bytes()
}

type writer struct {
	o ReportOptions
	snapshot
	text                  bytes.Buffer
	saysIdentity, saysOwn bool
}

func (w *writer) line(format string, args ...any) { fmt.Fprintf(&w.text, format+"\n", args...) }

// comment writes a line that the configuration does not have. The attack is a
// name that ends the line, and goes on as a route or a command.
func (w *writer) comment(format string, args ...any) {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, fmt.Sprintf(format, args...))
	w.line("%s", strings.TrimRight("# "+text, " "))
}

// section begins a part in the comments.
func (w *writer) section(title string) {
	w.line("")
	w.comment("== %s", title)
}

func (w *writer) head(since time.Time) {
	w.comment("What bearerd learned from %s to %s. The routes below take what was seen in that time, and nothing else:", stamp(since), stamp(w.o.Now))
	w.comment("read them before you use them, for whoever could call could also teach. `bearerd check --config` takes this file;")
	w.comment("its routes replace those of the configuration. What is to be done in Azure stands behind them, as comments.")
	if w.dropped > 0 {
		w.comment("INCOMPLETE: %d calls found no room in memory and are not in here.", w.dropped)
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// routes writes the routes.
func (w *writer) routes() {
	all := learnedRoutes(w.calls)
	w.line("")
	w.unseen(all)
	if len(all) == 0 {
		w.line("routes: []")
		return
	}
	w.line("routes:")
	for _, l := range all {
		w.route(l)
	}
}

// unseen tells which routes are left out, and which gateways with them.
func (w *writer) unseen(all []*learned) {
	for _, r := range w.o.Routes.Routes() {
		if !slices.ContainsFunc(all, func(l *learned) bool { return l.from.Name == r.Name }) {
			w.comment("%s has taken no call and is left out.", r)
		}
		if r.Gateway != "" && !slices.ContainsFunc(all, func(l *learned) bool { return l.gateway == r.Gateway }) {
			w.comment("The gateway %s has taken no call and is left out.", r.Gateway)
		}
	}
}

func (w *writer) route(l *learned) {
	r := l.from
	if l.suspended {
		w.line("  # No route takes these calls; %s comes closest.", r)
	} else {
		w.line("  # From %s.", r)
	}
	begin := "  - "
	field := func(key, value string) {
		w.line("%s%s: %s", begin, key, value)
		begin = "    "
	}
	service, known := w.o.Cloud.Service(r.Service.Name)
	if known {
		field("service", r.Service.Name)
	}
	field("hosts", list(l.hosts))
	if !known || service.Audience != r.Audience {
		field("audience", quote(r.Audience))
	}
	if w.saysIdentity {
		field("identity", identity(r.Identity))
	}
	if !l.suspended && len(r.Methods) > 0 {
		field("methods", list(r.Methods))
	}
	if !l.suspended && len(r.Paths) > 0 {
		field("paths", list(r.Paths))
	}
	if len(l.people) > 0 {
		field("callers", people(l.people))
	} else {
		w.line("    # Some of these calls came from nobody that is known, so that everybody may make them.")
	}
	if required := r.RequiredHeader(); len(required) > 0 {
		field("require_header", pairs(required))
	}
	if l.gateway != "" {
		field("gateway", l.gateway)
	}
	if r.Required {
		field("required", "true")
	}
	if w.saysOwn {
		field("own", r.Own.String())
	}
	if upgrades := r.Upgrades(); len(upgrades) > 0 {
		field("upgrades", list(upgrades))
	}
	w.line("    operations:")
	for _, operation := range l.operations() {
		w.line("      - %s%s", operation, remark(l.does[operation]))
	}
}

// compare finds out whether any route has another identity, or another Own, than
// what holds where nothing is said. Then every route says it, for the process's own
// word may be another too.
func (w *writer) compare() {
	look := func(r *route.Route) {
		w.saysIdentity = w.saysIdentity || r.Identity != imds.Identity{}
		w.saysOwn = w.saysOwn || r.Own != route.OwnPass
	}
	for _, r := range w.o.Routes.Routes() {
		look(r)
	}
	for i := range w.calls {
		look(w.calls[i].from)
	}
}

// remark says beside an operation what a reader should know before allowing it.
func remark(t *tally) string {
	text := fmt.Sprintf(" # %s", count(t.calls, "call"))
	if t.op.Mints {
		text += "; it GIVES A CREDENTIAL that works past bearerd: remove it unless that is meant"
	}
	if t.denied > 0 {
		text += fmt.Sprintf("; the service refused %d", t.denied)
	}
	return text
}

// refused tells which calls the routes will not take.
func (w *writer) refused() {
	var some bool
	for i := range w.calls {
		c := &w.calls[i]
		if c.blocked == 0 {
			continue
		}
		if !some {
			some = true
			w.section("Calls that the routes above refuse, for no restricted route takes them. Send them plainly, or give the host a route without restrictions")
		}
		w.comment("%s at %s by %s, %s: %s", c.operation, c.host, c.name, count(c.blocked, "call"), c.obstacle)
	}
}

// unrouted tells which of Azure's hosts were called past the routes.
func (w *writer) unrouted() {
	var some bool
	for _, h := range w.hosts {
		if !some {
			some = true
			w.section("Hosts of Azure's that no route names. What was called there is not known: name them in a route to learn it")
		}
		what := "logins, perhaps with a client secret; see the key entra"
		if service, ok := w.o.Cloud.ServiceOf(h.host); ok {
			what = "service: " + service.Name
		}
		w.comment("%s, %s (%s)", h.host, count(h.calls, "connection"), what)
	}
}

// roles writes the commands that give the identities their roles.
func (w *writer) roles() {
	places, operations := placesOf(w.calls, w.o.Cloud)
	if len(places) == 0 {
		return
	}
	w.section("Roles that the calls need, and no more. Remove what the identity has beside them")
	for _, p := range places {
		principal := unknownPrincipal
		if w.o.Principal != nil {
			if id := w.o.Principal(p.identity); isID(id) {
				principal = id
			}
		}
		w.comment("")
		w.comment("%s, at %s", p.identity, p.title())
		if principal == unknownPrincipal {
			w.comment("PRINCIPAL is the identity's object id, which no token has told.")
		}
		lines, notes := p.commands(operations[p], principal)
		for _, note := range notes {
			w.comment("no role for %s", note)
		}
		for _, command := range lines {
			w.comment("%s", command)
		}
	}
}

// credentials lists what still brings a credential.
func (w *writer) credentials() {
	names := [kinds]string{
		SharedKey: "a shared key", Signature: "a shared access signature", ClientSecret: "a placeholder, of a login with a client secret", OwnToken: "a token of its own",
	}
	notes := [kinds]string{
		SharedKey:    "the machine's token has replaced it: the key is needed no more",
		Signature:    "it passed: take it out of the application",
		ClientSecret: "the machine's token has replaced it: the secret is needed no more",
		OwnToken:     "it passed: a user's, or of a login that bearerd does not answer",
	}
	w.section("Calls that still bring a credential")
	some := len(w.logins) > 0
	for kind, name := range names {
		for i := range w.calls {
			if c := &w.calls[i]; name != "" && c.brought[kind] > 0 {
				some = true
				w.comment("%s: %s at %s by %s, %s; %s", name, c.operation, c.host, c.name, count(c.brought[kind], "call"), notes[kind])
			}
		}
	}
	for _, l := range w.logins {
		w.comment("a client secret: login of %s for %s by %s, %s", quote(l.client), quote(l.audience), l.name, count(l.calls, "login"))
	}
	if !some {
		w.comment("none")
	}
	w.keys()
}

// keys tells which accounts' keys can be switched off.
func (w *writer) keys() {
	signed := make(map[string]uint64)
	for i := range w.calls {
		c := &w.calls[i]
		if p := placeOf(c, w.o.Cloud); p.kind == "storage" && p.name != "" {
			signed[p.name] += c.brought[Signature]
		}
	}
	for _, account := range slices.Sorted(maps.Keys(signed)) {
		if signed[account] > 0 {
			w.comment("%s: its keys are needed while %s still bring signatures made with them.", account, count(signed[account], "call"))
			continue
		}
		w.comment("Nothing that came through bearerd needs the keys of %s:", account)
		w.comment("az storage account update --name %s --allow-shared-key-access false", account)
	}
}

func count(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.FormatUint(n, 10) + " " + what + "s"
}

// quote writes a text so that YAML reads the same, and no line of ours ends in it.
func quote(text string) string { return strconv.QuoteToASCII(text) }

func list(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = quote(text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func pairs(values map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		all = append(all, quote(name)+": "+quote(values[name]))
	}
	return "{" + strings.Join(all, ", ") + "}"
}

func people(who []person) string {
	var users, certificates []string
	for _, p := range who {
		if p.user != "" {
			users = append(users, p.user)
		} else {
			certificates = append(certificates, p.certificate)
		}
	}
	var parts []string
	if len(users) > 0 {
		parts = append(parts, "users: "+list(users))
	}
	if len(certificates) > 0 {
		parts = append(parts, "certificates: "+list(certificates))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func identity(id imds.Identity) string {
	var parts []string
	for _, part := range [...]struct{ key, value string }{
		{"source", id.Source}, {"client_id", id.ClientID}, {"object_id", id.ObjectID}, {"resource_id", id.ResourceID},
	} {
		if part.value != "" {
			parts = append(parts, part.key+": "+quote(part.value))
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// isID reports whether a text is an id as Entra writes it. The attack is a token
// whose claim becomes a command in an administrator's shell.
func isID(text string) bool {
	return len(text) == 36 && strings.Trim(strings.ToLower(text), "0123456789abcdef-") == ""
}
