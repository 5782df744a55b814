package route

import (
	"net/http"

	"github.com/bearerd/bearerd/proxy/azure"
)

// Defaults gives the rules that hold where there is no configuration: Key
// Vault, Storage, and Azure Resource Manager for reading.
//
// Only ARM is held to reading. There a write can change what the machine's
// identity may do; in a vault or a storage account, the identity's role
// assignments say what it may do, and an app that cannot write its blobs is
// not served.
func Defaults(cloud *azure.Cloud) []Rule {
	rules := []Rule{
		{Service: "keyvault"},
		{Service: "storage"},
		{Service: "arm", Methods: []string{http.MethodGet, http.MethodHead}, Gateway: "arm"},
	}
	known := rules[:0]
	for _, r := range rules {
		if _, ok := cloud.Service(r.Service); ok {
			known = append(known, r)
		}
	}
	return known
}
