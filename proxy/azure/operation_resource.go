package azure

import (
	"fmt"
	"strings"
)

// armType is one type of resource that has operations of its own names. An
// action is the last segment of a POST; a "!" behind it says that it gives a
// credential that works past the proxy, and before an action stands what it is
// called where that differs: name=segment.
type armType struct {
	name     string // arm.NAME.read, .write, .delete, and .ACTION
	provider string
	types    string // of resources, without their names
	actions  string
	traits   armTrait
}

type armTrait uint8

const (
	readMints  armTrait = 1 << iota // reading it gives a credential
	writeMints                      // making it does
	isTemplate                      // what it changes stands in its body
)

// armTypes are the types whose operations most policies are about, from
// https://learn.microsoft.com/rest/api/azure/ and
// https://learn.microsoft.com/azure/role-based-access-control/permissions-reference.
// Of others an operation is arm.read, arm.write, arm.delete, arm.action or
// arm.credential.
func armTypes() []armType {
	const (
		machine = "start restart poweroff deallocate reapply redeploy reimage generalize capture converttomanageddisks performmaintenance simulateeviction assesspatches installpatches attachdetachdatadisks runcommand retrievebootdiagnosticsdata!"
		site    = "start stop restart sync publishxml! newpassword! slotsswap swapslot=applyslotconfig resetconfig=resetslotconfig listsyncfunctiontriggerstatus! syncfunctiontriggers backup restore"
		keys    = "listkeys! regeneratekey!"
		rules   = "listkeys! regeneratekeys!"
	)
	return []armType{
		{"vm", "microsoft.compute", "virtualmachines", machine, 0},
		{"vmextension", "microsoft.compute", "virtualmachines/extensions", "", 0},
		{"vmruncommand", "microsoft.compute", "virtualmachines/runcommands", "", 0},
		{"vmss", "microsoft.compute", "virtualmachinescalesets", "start restart poweroff deallocate redeploy reimage reimageall manualupgrade performmaintenance deleteinstances=delete setorchestrationservicestate", 0},
		{"vmssvm", "microsoft.compute", "virtualmachinescalesets/virtualmachines", machine, 0},
		{"disk", "microsoft.compute", "disks", "begingetaccess! endgetaccess", 0},
		{"disksnapshot", "microsoft.compute", "snapshots", "begingetaccess! endgetaccess", 0},
		{"image", "microsoft.compute", "images", "", 0},
		{"sshkey", "microsoft.compute", "sshpublickeys", "generatekeypair!", 0},

		{"storageaccount", "microsoft.storage", "storageaccounts", keys + " listaccountsas! listservicesas! revokeuserdelegationkeys failover restoreblobranges hnsonmigration aborthnsonmigration", 0},
		{"storageuser", "microsoft.storage", "storageaccounts/localusers", "listkeys! regeneratepassword!", 0},
		{"storagecontainer", "microsoft.storage", "storageaccounts/blobservices/containers", "lease setlegalhold clearlegalhold migrate", 0},
		{"fileshare", "microsoft.storage", "storageaccounts/fileservices/shares", "lease restore", 0},

		{"keyvault", "microsoft.keyvault", "vaults", "", 0},
		{"keyvaultaccesspolicy", "microsoft.keyvault", "vaults/accesspolicies", "", 0},
		{"keyvaultsecret", "microsoft.keyvault", "vaults/secrets", "", 0},
		{"keyvaultkey", "microsoft.keyvault", "vaults/keys", "", 0},
		{"deletedvault", "microsoft.keyvault", "locations/deletedvaults", "purge", 0},
		{"managedhsm", "microsoft.keyvault", "managedhsms", "", 0},

		{"roleassignment", "microsoft.authorization", "roleassignments", "", 0},
		{"roledefinition", "microsoft.authorization", "roledefinitions", "", 0},
		{"lock", "microsoft.authorization", "locks", "", 0},
		{"policyassignment", "microsoft.authorization", "policyassignments", "", 0},
		{"policydefinition", "microsoft.authorization", "policydefinitions", "", 0},
		{"identity", "microsoft.managedidentity", "userassignedidentities", "", 0},
		// Whoever holds the other side's key is the identity from then on.
		{"federatedcredential", "microsoft.managedidentity", "userassignedidentities/federatedidentitycredentials", "", writeMints},

		{"deployment", "microsoft.resources", "deployments", "validate whatif cancel exporttemplate", isTemplate},
		{"deploymentstack", "microsoft.resources", "deploymentstacks", "validate exporttemplate", isTemplate},
		{"deploymentscript", "microsoft.resources", "deploymentscripts", "", 0},
		{"tags", "microsoft.resources", "tags", "", 0},
		{"managementgroup", "microsoft.management", "managementgroups", "", 0},

		{"webapp", "microsoft.web", "sites", site, 0},
		{"webapp.slot", "microsoft.web", "sites/slots", site, 0},
		{"webapp.config", "microsoft.web", "sites/config", "list!", 0},
		{"webapp.slotconfig", "microsoft.web", "sites/slots/config", "list!", 0},
		{"webapp.function", "microsoft.web", "sites/functions", "listkeys! listsecrets!", 0},
		{"webapp.functionkey", "microsoft.web", "sites/functions/keys", "", writeMints},
		{"webapp.host", "microsoft.web", "sites/host", "listkeys! listsyncstatus! sync", 0},
		{"appserviceplan", "microsoft.web", "serverfarms", "", 0},
		{"containerapp", "microsoft.app", "containerapps", "start stop listsecrets! getauthtoken!", 0},
		{"containergroup", "microsoft.containerinstance", "containergroups", "start stop restart", 0},

		{"aks", "microsoft.containerservice", "managedclusters", "start stop listclusteradmincredential! listclusterusercredential! listclustermonitoringusercredential! rotateclustercertificates rotateserviceaccountsigningkeys resetaadprofile resetserviceprincipalprofile runcommand abort", 0},
		{"containerregistry", "microsoft.containerregistry", "registries", "listcredentials! regeneratecredential! generatecredentials! importimage schedulerun listbuildsourceuploadurl!", 0},

		{"vnet", "microsoft.network", "virtualnetworks", "", 0},
		{"nsg", "microsoft.network", "networksecuritygroups", "", 0},
		{"nic", "microsoft.network", "networkinterfaces", "", 0},
		{"publicip", "microsoft.network", "publicipaddresses", "", 0},
		{"loadbalancer", "microsoft.network", "loadbalancers", "", 0},
		{"privateendpoint", "microsoft.network", "privateendpoints", "", 0},
		{"dnszone", "microsoft.network", "dnszones", "", 0},
		{"privatednszone", "microsoft.network", "privatednszones", "", 0},
		{"vpnsharedkey", "microsoft.network", "connections/sharedkey", "", readMints | writeMints},

		{"sqlserver", "microsoft.sql", "servers", "", 0},
		{"sqldatabase", "microsoft.sql", "servers/databases", "pause resume export import failover", 0},
		{"cosmosdb", "microsoft.documentdb", "databaseaccounts", keys + " listconnectionstrings! readonlykeys! failoverprioritychange offlineregion onlineregion", 0},
		{"cosmosdbkey", "microsoft.documentdb", "databaseaccounts/readonlykeys", "", readMints},
		{"redis", "microsoft.cache", "redis", keys + " forcereboot flush", 0},
		{"servicebusrule", "microsoft.servicebus", "namespaces/authorizationrules", rules, 0},
		{"eventhubrule", "microsoft.eventhub", "namespaces/authorizationrules", rules, 0},
		{"cognitiveaccount", "microsoft.cognitiveservices", "accounts", keys, 0},
		{"searchservice", "microsoft.search", "searchservices", "listadminkeys! regenerateadminkey! listquerykeys!", 0},
		{"loganalytics", "microsoft.operationalinsights", "workspaces", "sharedkeys! regeneratesharedkey! purge", 0},
		{"resourcegraph", "microsoft.resourcegraph", "", "query=resources queryhistory=resourceshistory", 0},
	}
}

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
	table.batch = Operation{Name: "arm.batch", batch: true}
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
	doubt := doubtOf(c.Path, true)
	if doubt == "" && strings.Contains(strings.TrimLeft(c.Path, "/"), "//") {
		doubt = "it has an empty segment" // behind the scope, which may begin with a slash of its own
	}
	if doubt != "" {
		if reads && !mentions(c.Path, "/list") && !mentions(c.Path, "sharedkey") && !mentions(c.Path, "readonlykeys") {
			return t.generic.read
		}
		return unknown(armKind, doubt)
	}
	if s.n == 1 && readsAs(s.at[0], "batch") || s.n > 0 && readsAs(s.last(), "$batch") {
		return t.batch
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
