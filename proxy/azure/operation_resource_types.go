package azure

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
