package source

import (
	"net/http"

	"github.com/bearerd/bearerd/imds"
)

// advice tells an operator what to do next about an endpoint's answer, or about
// none.
func advice(name string, e *imds.Error) string {
	where, identity := placeOf(name)
	switch e.Class {
	case imds.Throttled:
		return where + " limits its callers; bearerd waits and asks again"
	case imds.Updating:
		return where + " or the identity is not ready; bearerd asks again"
	case imds.Malformed:
		return "something else than " + where + " seems to answer; check the variables that name it, and proxies in between"
	case imds.NotAssigned, imds.Denied:
		return identity
	case imds.Misconfigured:
		return "check the route's audience; if it is right, " + identity
	}
	if e.Status >= http.StatusInternalServerError {
		return where + " has a passing failure; bearerd asks again"
	}
	return "check that " + where + " can be reached from here; bearerd asks again"
}

// placeOf names the endpoint of a source, and says where its identities are
// looked after.
func placeOf(name string) (where, identity string) {
	switch name {
	case AppService:
		return "App Service's identity endpoint", "assign the identity to the app (az webapp identity assign, az containerapp identity assign)"
	case Arc:
		return "the Azure Arc agent", "check that the machine is connected (azcmagent show) and the identity assigned to it"
	case ServiceFabric:
		return "Service Fabric's identity endpoint", "check the identity in the application's manifest and resource"
	case AzureML:
		return "Azure ML's identity endpoint", "check the identity of the compute (az ml compute show)"
	case CloudShell:
		return "Cloud Shell's endpoint", "start Cloud Shell anew; its user must be signed in"
	default:
		return "Entra", "check that the identity has a federated credential for the cluster's issuer and this service account (az identity federated-credential list)"
	}
}
