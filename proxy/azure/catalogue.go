package azure

// row is one service of one cloud in the catalogue.
//
// A suffix may stand here only if strangers cannot receive what is sent to a
// name under it: the service's own front end answers for every name, and never
// hands a request's Authorization to the owner of the name. Where that does not
// hold, or nobody has said so, the row is exactOnly and routes name each host.
type row struct {
	name, audience string
	also           []string // more audiences of its tokens, of which IMDS is not asked
	kind           kind
	exactOnly      bool
	hosts          []string // answer for everybody
	suffixes       []string // one label in front of each
	likely         []string // the same, but no document says that they are the service's
	storageRoots   []string // {account}.{kind}.ROOT and {account}.privatelink.{kind}.ROOT
	storageZones   []string // {account}.z{00-99}.{kind}.ROOT
}

// cloudRow is one cloud in the catalogue.
type cloudRow struct {
	name string
	// environments are the names that instance metadata (azEnvironment) and
	// Microsoft's tools give the cloud.
	environments []string
	// logins are the hosts where its tenants sign in, one service by several
	// names; the first is what challenges name.
	logins   []string
	services []row
}

// catalogue is the one table of clouds and services. The clouds differ in names
// alone; Germany's has closed. The private-link names are those of Microsoft's
// "Azure Private Endpoint DNS configuration".
func catalogue() []cloudRow {
	return []cloudRow{
		{
			name:         "public",
			environments: []string{"AzurePublicCloud", "AzureCloud", "AzurePublic"},
			logins:       []string{"login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"},
			services: append([]row{
				{
					name: "keyvault", audience: "https://vault.azure.net", also: []string{keyvaultApp}, kind: vaultKind,
					suffixes: []string{"vault.azure.net", "vaultcore.azure.net", "privatelink.vaultcore.azure.net"},
				},
				{
					name: "managedhsm", audience: "https://managedhsm.azure.net", kind: hsmKind,
					suffixes: []string{"managedhsm.azure.net", "privatelink.managedhsm.azure.net"},
				},
				{
					name: "storage", audience: storageAudience, also: []string{storageApp}, kind: storageKind,
					storageRoots: []string{"core.windows.net"},
					storageZones: []string{"storage.azure.net"},
				},
				{
					name: "arm", audience: "https://management.azure.com/", also: []string{"https://management.core.windows.net/", armApp}, kind: armKind,
					hosts:    []string{"management.azure.com"},
					suffixes: []string{"management.azure.com"}, // westus.management.azure.com
				},
			}, publicOnly()...),
		},
		{
			name:         "usgov",
			environments: []string{"AzureUSGovernment", "AzureUSGovernmentCloud"},
			logins:       []string{"login.microsoftonline.us", "login.usgovcloudapi.net"},
			services: []row{
				{
					name: "keyvault", audience: "https://vault.usgovcloudapi.net", also: []string{keyvaultApp}, kind: vaultKind,
					suffixes: []string{"vault.usgovcloudapi.net", "vaultcore.usgovcloudapi.net", "privatelink.vaultcore.usgovcloudapi.net"},
				},
				{
					name: "managedhsm", audience: "https://managedhsm.usgovcloudapi.net", kind: hsmKind,
					likely: []string{"managedhsm.usgovcloudapi.net", "privatelink.managedhsm.usgovcloudapi.net"},
				},
				{
					name: "storage", audience: storageAudience, also: []string{storageApp}, kind: storageKind,
					storageRoots: []string{"core.usgovcloudapi.net"},
				},
				{
					name: "arm", audience: "https://management.usgovcloudapi.net/", also: []string{"https://management.core.usgovcloudapi.net/", armApp}, kind: armKind,
					hosts:  []string{"management.usgovcloudapi.net"},
					likely: []string{"management.usgovcloudapi.net"},
				},
			},
		},
		{
			name:         "china",
			environments: []string{"AzureChinaCloud", "AzureChina"},
			logins:       []string{"login.chinacloudapi.cn", "login.partner.microsoftonline.cn"},
			services: []row{
				{
					name: "keyvault", audience: "https://vault.azure.cn", also: []string{keyvaultApp}, kind: vaultKind,
					suffixes: []string{"vault.azure.cn", "vaultcore.azure.cn", "privatelink.vaultcore.azure.cn"},
				},
				{
					name: "managedhsm", audience: "https://managedhsm.azure.cn", kind: hsmKind,
					likely: []string{"managedhsm.azure.cn", "privatelink.managedhsm.azure.cn"},
				},
				{
					name: "storage", audience: storageAudience, also: []string{storageApp}, kind: storageKind,
					storageRoots: []string{"core.chinacloudapi.cn"},
				},
				{
					name: "arm", audience: "https://management.chinacloudapi.cn/", also: []string{"https://management.core.chinacloudapi.cn/", armApp}, kind: armKind,
					hosts:  []string{"management.chinacloudapi.cn"},
					likely: []string{"management.chinacloudapi.cn"},
				},
			},
		},
	}
}

// storageAudience is the same in every cloud.
const storageAudience = "https://storage.azure.com/"

// The ids of Microsoft's own applications, the same in every cloud, which some
// tokens have as their audience
// (https://learn.microsoft.com/troubleshoot/entra/entra-id/governance/verify-first-party-apps-sign-in).
const (
	armApp      = "797f4846-ba00-4fd7-ba43-dac1f8f63013"
	graphApp    = "00000003-0000-0000-c000-000000000000"
	keyvaultApp = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"
	storageApp  = "e406a681-f3d4-42a8-90b6-c2b029497af1"
)

// publicOnly lists the services whose audience is known for the public cloud
// alone.
func publicOnly() []row {
	return []row{
		{name: "appconfig", audience: "https://appconfig.azure.com", suffixes: []string{"azconfig.io", "privatelink.azconfig.io"}},
		{name: "search", audience: "https://search.azure.com", suffixes: []string{"search.windows.net", "privatelink.search.windows.net"}},
		{
			name: "cognitiveservices", audience: "https://cognitiveservices.azure.com",
			suffixes: []string{
				"cognitiveservices.azure.com", "privatelink.cognitiveservices.azure.com",
				"openai.azure.com", "privatelink.openai.azure.com",
			},
		},
		{name: "graph", audience: "https://graph.microsoft.com/", also: []string{graphApp}, hosts: []string{"graph.microsoft.com"}},
		{name: "loganalytics", audience: "https://api.loganalytics.io", hosts: []string{"api.loganalytics.io"}},

		// Anyone can own a Relay namespace under the suffix that these two
		// share, and Relay hands Authorization to its listener.
		{name: "servicebus", audience: "https://servicebus.azure.net/", exactOnly: true, suffixes: []string{"servicebus.windows.net"}},
		{name: "eventhubs", audience: "https://eventhubs.azure.net/", exactOnly: true, suffixes: []string{"servicebus.windows.net"}},

		// These two forward clients' connections to event handlers that the
		// owner of the name chooses, with the fields of the handshake.
		{name: "signalr", audience: "https://signalr.azure.com", exactOnly: true, suffixes: []string{"service.signalr.net"}},
		{name: "webpubsub", audience: "https://webpubsub.azure.com", exactOnly: true, suffixes: []string{"webpubsub.azure.com"}},

		// No document seen says who may own a name of these.
		{name: "monitor", audience: "https://monitor.azure.com/", exactOnly: true},
		{name: "kusto", audience: "https://kusto.kusto.windows.net", exactOnly: true},
		{name: "digitaltwins", audience: "https://digitaltwins.azure.net", exactOnly: true},
		{name: "eventgrid", audience: "https://eventgrid.azure.net", exactOnly: true},
		{name: "synapse", audience: "https://dev.azuresynapse.net", exactOnly: true},
	}
}

// strangers lists suffixes of Azure under which anyone can own a name and run
// code that receives what is sent to it, or have it forwarded. No pattern may
// reach under them, whoever configures it.
func strangers() []string {
	return []string{
		"servicebus.windows.net", "servicebus.usgovcloudapi.net", "servicebus.chinacloudapi.cn", // Relay
		"service.signalr.net", "webpubsub.azure.com", "webpubsub.azure.cn", // owners' event handlers
		"azurewebsites.net", "azurewebsites.us", "chinacloudsites.cn", // App Service, Functions
		"azure-api.net", "azure-api.us", "azure-api.cn", // API Management
		"azurecontainerapps.io", "azurecontainer.io", "azurestaticapps.net",
		"azureedge.net", "azurefd.net", "trafficmanager.net", "usgovtrafficmanager.net", // forward to any origin
		"cloudapp.net", "cloudapp.azure.com", "usgovcloudapp.net", "chinacloudapp.cn", // virtual machines
		"inference.ml.azure.com",                                                          // owners' containers
		"logic.azure.com",                                                                 // owners' workflows
		"web.core.windows.net", "web.core.usgovcloudapi.net", "web.core.chinacloudapi.cn", // static websites
	}
}
