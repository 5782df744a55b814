package azure

import "strings"

// places is a set of things that a path of a storage account may stand for.
type places uint16

const (
	atAccount places = 1 << iota
	atContainer
	atRoot // the same path, and what is in the root container or is the root directory
	atPath
	atMessages
	atMessage
	atTables
	atTable // an element of Tables
	atEntity
	atBatch
)

// storageTable is one API's requests, by the verb's bit.
type storageTable struct{ patterns [8][]storagePattern }

type storagePattern struct {
	at        places
	selectors [selectorCount]string // in lower case; empty: absent
	present   uint8                 // a bit for each selector that is there
	source    bool
	op        Operation
}

// selector is a parameter that decides what is done.
type selector uint8

const (
	selComp selector = iota
	selRestype
	selResource
	selAction
	selPeekonly
	selectorCount
)

func selectorNames() [selectorCount]string {
	return [...]string{"comp", "restype", "resource", "action", "peekonly"}
}

func compileStorage(api storageAPI) (table storageTable, list []OperationInfo) {
	for _, row := range append(storageRows(api), commonRows()...) {
		op := Operation{Name: row.name, Mints: row.traits&mints != 0}
		if row.traits&batches != 0 {
			if op.batch = blobBatch; api == tableAPI {
				op.batch = tableBatch
			}
		}
		methods, rest, _ := strings.Cut(row.request, " ")
		target, _, source := strings.Cut(rest, " + ")
		path, query, _ := strings.Cut(target, "?")
		p := storagePattern{at: placesNamed(path), source: source, op: op}
		for name, value := range params(query) {
			known := false
			for i, n := range selectorNames() {
				if n == name {
					p.selectors[i], known = strings.ToLower(value), true
					p.present |= 1 << i
				}
			}
			if !known {
				panic("azure: no parameter decides by the name " + name)
			}
		}
		verbs := parseVerbs(methods)
		for i := range table.patterns {
			if verbs&(1<<i) != 0 {
				table.patterns[i] = append(table.patterns[i], p)
			}
		}
		list = append(list, OperationInfo{op, requestText(api, row.request)})
	}
	for _, moved := range movedAway(api) {
		list = append(list, OperationInfo{Operation{Name: moved[0]}, moved[1]})
	}
	list = append(list, OperationInfo{Operation{Name: preflight}, "OPTIONS of any path"})
	return table, list
}

func placesNamed(path string) places {
	switch path {
	case "/":
		return atAccount
	case "/CONTAINER":
		return atContainer
	case "/CONTAINER/PATH":
		return atPath
	case "/CONTAINER/[PATH]":
		return atRoot | atPath
	case "/CONTAINER/messages":
		return atMessages
	case "/CONTAINER/messages/ID":
		return atMessage
	case "/Tables":
		return atTables
	case "/Tables(NAME)":
		return atTable
	case "/CONTAINER(KEYS)":
		return atEntity
	case "/$batch":
		return atBatch
	}
	panic("azure: no place is written as " + path)
}

// requestText puts the API's own words into a row's request.
func requestText(api storageAPI, request string) string {
	words := map[storageAPI][2]string{
		blobAPI: {"CONTAINER", "BLOB"}, dfsAPI: {"FILESYSTEM", "PATH"}, fileAPI: {"SHARE", "PATH"},
		queueAPI: {"QUEUE", ""}, tableAPI: {"TABLE", ""},
	}[api]
	request = strings.Replace(request, "CONTAINER/[PATH]", "CONTAINER/PATH", 1)
	return strings.Replace(strings.Replace(request, "PATH", words[1], 1), "CONTAINER", words[0], 1)
}

// find gives the operation of a call to one API of a storage account.
func (t *storageTable) find(c *Call, method string, api storageAPI) Operation {
	var at places
	var reason string
	switch api {
	case queueAPI:
		at, reason = queuePlace(c.Path)
	case tableAPI:
		at, reason = tablePlace(c.Path)
	default:
		at, reason = treePlace(c.Path)
	}
	var values [selectorCount]string
	if reason == "" {
		values, reason = selectorsOf(c.Query)
	}
	if reason == "" {
		reason = overridesPath(c)
	}
	source := false
	if reason == "" {
		source, reason = sourceOf(c, api)
	}
	if reason != "" {
		return unknown(storageKind, reason)
	}
	verb := verbOf(method)
	if verb == verbOptions {
		return Operation{Name: preflight}
	}
	for i := range t.patterns {
		if verb == 1<<i {
			if p := match(t.patterns[i], at, &values, source); p != nil {
				return p.op
			}
		}
	}
	return unknown(storageKind, notDocumented)
}

func match(patterns []storagePattern, at places, values *[selectorCount]string, source bool) *storagePattern {
	var present uint8
	for i, value := range values {
		if value != "" {
			present |= 1 << i
		}
	}
next:
	for i := range patterns {
		p := &patterns[i]
		if p.at&at == 0 || p.source != source || p.present != present {
			continue
		}
		for j := range p.selectors {
			if present&(1<<j) != 0 && !readsAs(values[j], p.selectors[j]) {
				continue next
			}
		}
		return p
	}
	return nil
}

// selectorsOf reads the parameters that decide. One that is there twice, or
// with no value, could be read in several ways, and so could a query that some
// server splits, trims or folds otherwise than Storage is known to.
func selectorsOf(query string) (values [selectorCount]string, reason string) {
	var seen [selectorCount]bool
	if strings.IndexByte(query, ';') >= 0 {
		return values, "its query has a semicolon, where some servers split"
	}
	for name, value := range params(query) {
		if !isPlainName(name) {
			return values, "the name of a parameter holds what no documented one has"
		}
		if name == "" {
			continue
		}
		switch name[0] { // all that the names can begin with
		case 'c', 'r', 'a', 'p', 'C', 'R', 'A', 'P', '%':
		default:
			continue
		}
		for i, want := range selectorNames() {
			if !readsAs(name, want) {
				continue
			}
			if seen[i] {
				return values, "it names its operation twice"
			}
			if value == "" {
				return values, "a parameter that names its operation has no value"
			}
			seen[i], values[i] = true, value
			break
		}
	}
	if readsAs(values[selPeekonly], "false") {
		values[selPeekonly] = ""
	}
	return values, ""
}

// sourceOf reports whether a field names what is copied or moved, which makes
// the call another one.
func sourceOf(c *Call, api storageAPI) (source bool, reason string) {
	own := copySource
	if api == dfsAPI {
		own = renameSource
	}
	for _, name := range [...]string{copySource, renameSource} {
		_, count := c.first(name)
		switch {
		case count == 0:
		case name != own:
			return false, "it names a source that the API does not know"
		case count > 1:
			return false, "it names its source twice"
		case dropped(c, name):
			return false, "its Connection takes away the field that names its source"
		default:
			source = true
		}
	}
	return source, ""
}

// treePlace tells what a path of blobs, paths or files stands for. Slashes in
// their names may be escaped, as some clients do, behind the container.
func treePlace(path string) (at places, reason string) {
	if doubt := doubtOf(path, false); doubt != "" {
		return 0, doubt
	}
	container, below, _ := strings.Cut(path[1:], "/")
	switch {
	case container == "" && below == "":
		if path != "/" {
			return 0, "it has an empty segment"
		}
		return atAccount, ""
	case container == "":
		return 0, "it has an empty segment"
	}
	if doubt := doubtOf(container, true); doubt != "" {
		return 0, doubt
	}
	if below == "" {
		return atContainer | atRoot, ""
	}
	return atPath, ""
}

// queuePlace tells what a path of a queue host stands for.
func queuePlace(path string) (at places, reason string) {
	if doubt := doubtOf(path, true); doubt != "" {
		return 0, doubt
	}
	queue, below, _ := strings.Cut(path[1:], "/")
	messages, id, _ := strings.Cut(below, "/")
	switch {
	case path == "/":
		return atAccount, ""
	case queue == "" || strings.Contains(id, "/"):
		return 0, notDocumented
	case below == "":
		return atContainer, ""
	case !readsAs(messages, "messages"):
		return 0, notDocumented
	case id == "":
		return atMessages, ""
	}
	return atMessage, ""
}

// tablePlace tells what a path of a table host stands for: a name, with a key
// in parentheses behind it or without. A key may hold escaped slashes.
func tablePlace(path string) (at places, reason string) {
	if doubt := doubtOf(path, false); doubt != "" {
		return 0, doubt
	}
	if path == "/" {
		return atAccount, ""
	}
	name, key, keyed := path[1:], "", false
	for i := 0; i < len(name); i++ {
		if width := parenthesis(name[i:], '('); width > 0 {
			name, key, keyed = name[:i], name[i+width:], true
			break
		}
	}
	if doubt := doubtOf(name, true); doubt != "" {
		return 0, doubt
	}
	if name == "" || !isPlainName(name) || strings.Contains(key, "/") {
		return 0, notDocumented
	}
	if keyed {
		closing := max(0, len(key)-1)
		if strings.HasSuffix(key, "%29") {
			closing = len(key) - 3
		}
		if parenthesis(key[closing:], ')') == 0 {
			return 0, notDocumented
		}
		keyed = closing > 0
	}
	switch tables := readsAs(name, "tables"); {
	case tables && keyed:
		return atTable, ""
	case tables:
		return atTables, ""
	case readsAs(name, "$batch"):
		return atBatch, ""
	case keyed:
		return atEntity, ""
	}
	return atContainer, ""
}

// parenthesis gives the length of one at the beginning of escaped text, 0 where
// there is none.
func parenthesis(text string, which byte) int {
	switch {
	case text == "":
		return 0
	case text[0] == which:
		return 1
	case len(text) >= 3 && text[0] == '%' && unhex(text[1])<<4|unhex(text[2]) == int(which):
		return 3
	}
	return 0
}
