package azure

import "strings"

// Check is a call that reads next to nothing and changes nothing, by which a
// person sees whether an identity may use a service. All of them are GET.
type Check struct {
	Target string // path and query
	Header []Field
	Reads  string // what is read, for people
	// Grant is the command, of the Azure CLI, that gives an identity what the
	// call needs. PRINCIPAL stands for the identity's object id.
	Grant string
}

// CheckOf gives the call for a host of the service's. Where no such call is known
// there is none.
func (s *Service) CheckOf(host string) (Check, bool) {
	name, _, _ := strings.Cut(host, ".")
	assign := func(role, scope string) string {
		return `az role assignment create --assignee-object-id PRINCIPAL --assignee-principal-type ServicePrincipal --role "` + role + `" --scope ` + scope
	}
	switch s.kind {
	case vaultKind:
		return Check{
			Target: "/secrets?api-version=7.4&maxresults=1", Reads: "the names of secrets",
			Grant: assign("Key Vault Secrets User", "$(az keyvault show --name "+name+" --query id --output tsv)"),
		}, true
	case hsmKind:
		return Check{
			Target: "/keys?api-version=7.4&maxresults=1", Reads: "the names of keys",
			Grant: `az keyvault role assignment create --hsm-name ` + name + ` --assignee-object-id PRINCIPAL --assignee-principal-type ServicePrincipal --role "Managed HSM Crypto User" --scope /keys`,
		}, true
	case armKind:
		return Check{
			Target: "/subscriptions?api-version=2022-12-01", Reads: "the subscriptions that the identity has a role in",
			Grant: assign("Reader", "/subscriptions/SUBSCRIPTION"),
		}, true
	case storageKind:
		return s.storageCheck(host, name, assign)
	}
	return Check{}, false
}

func (s *Service) storageCheck(host, account string, assign func(role, scope string) string) (Check, bool) {
	c := Check{Header: []Field{{Name: "X-Ms-Version", Value: "2021-12-02"}}}
	role := "Storage Blob Data Reader"
	switch s.apiOf(&Call{Host: host}) {
	case blobAPI:
		c.Target, c.Reads = "/?comp=list&maxresults=1", "the names of containers"
	case dfsAPI:
		c.Target, c.Reads = "/?resource=account&maxResults=1", "the names of file systems"
	case queueAPI:
		c.Target, c.Reads, role = "/?comp=list&maxresults=1", "the names of queues", "Storage Queue Data Reader"
	case tableAPI:
		c.Target, c.Reads, role = "/Tables?$top=1", "the names of tables", "Storage Table Data Reader"
		c.Header = append(c.Header, Field{Name: "Accept", Value: "application/json;odata=nometadata"})
	default: // files: no role of an identity's gives their account's list
		return Check{}, false
	}
	c.Grant = assign(role, "$(az storage account show --name "+account+" --query id --output tsv)")
	return c, true
}
