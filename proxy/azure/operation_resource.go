package azure

import (
	"fmt"
	"strings"
)

// armTable has the types by provider.
type armTable struct {
	providers     []armProvider
	group         armEntry // a resource group
	subscription  armEntry
	generic       armEntry
	action        Operation
	credential    Operation
	batch         Operation
	functionToken Operation
	template      Operation // the deployment of one
}

type armProvider struct {
	name  string
	types []armEntry
}

type armEntry struct {
	types               []string
	read, write, remove Operation
	actions             []armAction
}

type armAction struct {
	segment string
	op      Operation
}

func compileARM() (table armTable, list []OperationInfo) {
	add := func(name, request string, mints, template bool) Operation {
		op := Operation{Name: name, Mints: mints, template: template}
		list = append(list, OperationInfo{op, request})
		return op
	}
	entry := func(t armType, at string) armEntry {
		name, template := "arm."+t.name, t.traits&isTemplate != 0
		var e armEntry
		if t.types != "" || t.provider == "" {
			e.read = add(name+".read", "GET|HEAD "+at, t.traits&readMints != 0, false)
			e.write = add(name+".write", "PUT|PATCH "+at, t.traits&writeMints != 0, template)
			e.remove = add(name+".delete", "DELETE "+at, false, template)
		}
		if t.types != "" {
			e.types = strings.Split(t.types, "/")
		}
		for action := range strings.FieldsSeq(t.actions) {
			action, mints := strings.CutSuffix(action, "!")
			called, segment, differs := strings.Cut(action, "=")
			if !differs {
				segment = called
			}
			e.actions = append(e.actions, armAction{segment, add(name+"."+called, "POST "+at+"/"+segment, mints, template)})
		}
		return e
	}
	for _, t := range armTypes() {
		last := len(table.providers) - 1
		if last < 0 || table.providers[last].name != t.provider {
			for _, p := range table.providers {
				if p.name == t.provider {
					panic("azure: the types of one provider stand apart: " + t.provider)
				}
			}
			table.providers = append(table.providers, armProvider{name: t.provider})
			last++
		}
		at := fmt.Sprintf("…/%s/%s", t.provider, t.types)
		e := entry(t, strings.TrimSuffix(at, "/"))
		if e.write.Name == "arm.deployment.write" {
			table.template = e.write
		}
		table.providers[last].types = append(table.providers[last].types, e)
	}
	table.group = entry(armType{name: "resourcegroup", actions: "exporttemplate moveresources validatemoveresources"}, "/subscriptions/ID/resourceGroups/NAME")
	table.subscription = entry(armType{name: "subscription"}, "/subscriptions/ID")
	table.generic = armEntry{
		read:   add("arm.read", "GET|HEAD of anything else", false, false),
		write:  add("arm.write", "PUT|PATCH of anything else", false, false),
		remove: add("arm.delete", "DELETE of anything else", false, false),
	}
	table.action = add("arm.action", "POST of any other action", false, false)
	table.credential = add("arm.credential", "any other request whose last segment speaks of listing, keys, secrets, credentials, passwords, tokens, signatures or access", true, false)
	table.functionToken = add("arm.webapp.functiontoken", "GET …/functions/admin/token", true, false)
	table.batch = Operation{Name: "arm.batch", batch: armBatch}
	list = append(list, OperationInfo{table.batch, "POST /batch"})
	return table, list
}

// find gives the operation of a call to Azure Resource Manager
// (https://learn.microsoft.com/azure/azure-resource-manager/management/resource-providers-and-types).
// A path that may be read in two ways is still read by a GET, whichever it is.
func (t *armTable) find(c *Call, method string) Operation {
	if reason := overridesPath(c); reason != "" {
		return unknown(armKind, reason)
	}
	verb := verbOf(method)
	reads := verb == verbGet || verb == verbHead
	var s segments
	switch {
	case verb == 0 || verb == verbMerge || verb == verbOptions:
		return unknown(armKind, notDocumented)
	case !s.split(c.Path):
		return unknown(armKind, "its path has too many segments")
	}
	if reads && endsIn(c.Path, "/functions/admin/token") {
		return t.functionToken
	}
	doubt, simple := "", isSimple(c.Path)
	if !simple {
		doubt = doubtOf(c.Path, true)
	}
	if doubt == "" && strings.Contains(strings.TrimLeft(c.Path, "/"), "//") {
		doubt = "it has an empty segment" // behind the scope, which may begin with a slash of its own
	}
	for i := 0; !simple && doubt == "" && i < s.n; i += 2 {
		if !isPlainName(s.at[i]) || i+1 < s.n && readsAs(s.at[i], "providers") && !isPlainName(s.at[i+1]) {
			doubt = "a type or provider in its path holds what no documented one has"
		}
	}
	if doubt != "" {
		if reads && !mentions(c.Path, "/list") && !mentions(c.Path, "sharedkey") && !mentions(c.Path, "readonlykeys") {
			return t.generic.read
		}
		return unknown(armKind, doubt)
	}
	switch {
	case s.n == 1 && readsAs(s.at[0], "batch"):
		if verb != verbPost {
			return unknown(armKind, notDocumented)
		}
		return t.batch
	case s.n > 0 && readsAs(s.last(), "$batch"):
		return unknown(armKind, "a batch of this kind holds calls that are not read")
	}
	// A path is pairs of a type and a name. The last provider is that of the
	// resource; those before are what it extends. The attack is a resource with
	// the name "providers", behind which an action would seem none.
	provider := -1
	for i := 0; i+1 < s.n; i += 2 {
		if readsAs(s.at[i], "providers") {
			provider = i
		}
	}
	if provider >= 0 {
		return t.ofProvider(s.at[provider+1], s.at[provider+2:s.n], verb)
	}
	return t.ofScope(s.at[:s.n], verb)
}

// ofScope judges what has no provider: subscriptions, resource groups, and
// what else hangs on them.
func (t *armTable) ofScope(path []string, verb verbs) Operation {
	switch n := len(path); {
	case n == 0 || !readsAs(path[0], "subscriptions"):
	case n == 1 && verb&(verbGet|verbHead) != 0, n == 2:
		return t.judge(&t.subscription, path[n:], verb)
	case n == 3 && readsAs(path[2], "resourcegroups") && verb&(verbGet|verbHead) != 0, n == 4 && readsAs(path[2], "resourcegroups"):
		return t.judge(&t.group, path[n:], verb)
	case n == 5 && readsAs(path[2], "resourcegroups") && verb == verbPost:
		return t.judge(&t.group, path[4:], verb)
	}
	// The first versions of the API had templates without a provider.
	for _, segment := range path {
		if readsAs(segment, "deployments") && verb&(verbGet|verbHead) == 0 {
			return t.template
		}
	}
	return t.judge(&t.generic, path, verb)
}

// ofProvider judges a resource: path is what follows the provider, a type and
// a name in turn, and an action where it ends in a type and the verb is POST.
func (t *armTable) ofProvider(provider string, path []string, verb verbs) Operation {
	own := path
	var action []string
	if verb == verbPost && len(path)%2 == 1 {
		own, action = path[:len(path)-1], path[len(path)-1:]
	}
	isEscaped := strings.IndexByte(provider, '%') >= 0
	for i := range t.providers {
		if name := t.providers[i].name; len(name) != len(provider) && !isEscaped || !readsAs(provider, name) {
			continue
		}
		for j := range t.providers[i].types {
			// Neither a POST to a resource nor what else is done with a provider
			// as such is in the table.
			e := &t.providers[i].types[j]
			if e.matches(own) && (action != nil || verb != verbPost && len(e.types) > 0) {
				return t.judge(e, action, verb)
			}
		}
	}
	return t.judge(&t.generic, path, verb)
}

// matches reports whether a path is one of the entry's resources, or their
// list.
func (e *armEntry) matches(path []string) bool {
	if (len(path)+1)/2 != len(e.types) {
		return false
	}
	for i, want := range e.types {
		if !readsAs(path[2*i], want) {
			return false
		}
	}
	return true
}

// judge gives an entry's operation. rest ends in what a POST does, and begins
// with a type.
func (t *armTable) judge(e *armEntry, rest []string, verb verbs) Operation {
	last := ""
	if len(rest) > 0 {
		last = rest[len(rest)-1]
	}
	switch verb {
	case verbGet, verbHead:
		// A list of keys that GET gives is one all the same.
		if e == &t.generic && len(rest)%2 == 1 && givesKey(last) {
			return t.credential
		}
		return e.read
	case verbPut, verbPatch:
		return e.write
	case verbDelete:
		return e.remove
	}
	for i := range e.actions {
		if readsAs(last, e.actions[i].segment) {
			return e.actions[i].op
		}
	}
	if speaksOfCredential(last) || len(rest) > 1 && len(rest)%2 == 0 && speaksOfCredential(rest[len(rest)-2]) {
		return t.credential
	}
	return t.action
}

// last gives the last segment.
func (s *segments) last() string {
	if s.n == 0 {
		return ""
	}
	return s.at[s.n-1]
}

// givesKey reports whether a GET of what is called so gives keys away, as few
// do.
func givesKey(segment string) bool {
	var text [64]byte
	name := unescapeLower(&text, segment)
	return len(name) >= 4 && string(name[:4]) == "list" || hasWord(name, "sharedkey") || hasWord(name, "readonlykeys")
}

// speaksOfCredential reports whether the name of an action lets expect that it
// gives a credential. It is better wrong than one too few: such an action can
// still be named.
func speaksOfCredential(segment string) bool {
	var text [64]byte
	name := unescapeLower(&text, segment)
	if len(name) == len(text) { // perhaps cut off
		return true
	}
	for _, word := range [...]string{"list", "key", "secret", "credential", "password", "token", "sas", "access", "connectionstring", "url", "uri", "publish", "certificate", "kubeconfig"} {
		if hasWord(name, word) {
			return true
		}
	}
	return false
}

// unescapeLower writes escaped text, in lower case, as far as there is room.
func unescapeLower(text *[64]byte, escaped string) []byte {
	n := 0
	for i := 0; i < len(escaped) && n < len(text); i++ {
		c := escaped[i]
		if c == '%' && i+2 < len(escaped) && unhex(escaped[i+1]) >= 0 && unhex(escaped[i+2]) >= 0 {
			c = byte(unhex(escaped[i+1])<<4 | unhex(escaped[i+2]))
			i += 2
		}
		text[n] = lower(c)
		n++
	}
	return text[:n]
}

// mentions reports whether escaped text holds a word, which is in lower case.
func mentions(escaped, word string) bool {
	for i := range len(escaped) {
		if endsIn(escaped[:i+1], word) {
			return true
		}
	}
	return false
}

func hasWord(text []byte, word string) bool {
	for i := 0; i+len(word) <= len(text); i++ {
		if string(text[i:i+len(word)]) == word {
			return true
		}
	}
	return false
}

// endsIn reports whether an escaped path ends in want, which is in lower case,
// whatever is escaped in it, and whatever slashes follow.
func endsIn(path, want string) bool {
	i, j := len(path), len(want)
	for trailing := true; j > 0; {
		if i == 0 {
			return false
		}
		c, width := path[i-1], 1
		if i >= 3 && path[i-3] == '%' && unhex(path[i-2]) >= 0 && unhex(path[i-1]) >= 0 {
			c, width = byte(unhex(path[i-2])<<4|unhex(path[i-1])), 3
		}
		i -= width
		if trailing && c == '/' {
			continue
		}
		trailing = false
		if j--; lower(c) != want[j] {
			return false
		}
	}
	return true
}
