package source

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/bearerd/bearerd/imds"
)

// The names of the sources, as identities and configurations write them.
const (
	IMDS          = imds.SourceIMDS
	AppService    = "appservice" // App Service, Functions, Container Apps
	Arc           = "arc"
	ServiceFabric = "servicefabric"
	AzureML       = "azureml"
	CloudShell    = "cloudshell"
	Workload      = "workload" // AKS workload identity
	AzureCLI      = "azurecli"
)

// Names gives the names of all sources.
func Names() []string {
	return []string{IMDS, AppService, Arc, ServiceFabric, AzureML, CloudShell, Workload, AzureCLI}
}

// Source makes one attempt to get a token, and keeps nothing. Every failure is
// an *imds.Error. It is safe for concurrent use.
type Source interface {
	Token(ctx context.Context, id imds.Identity, audience string) (*imds.Token, error)
}

// Options are what sources are made of. The zero value works.
type Options struct {
	// Getenv reads what workload identity needs; nil: os.Getenv. It does not
	// reach MSAL, which reads the other sources' variables from the process's
	// environment.
	Getenv  func(name string) string
	Timeout time.Duration    // of one call, or one run of the Azure CLI; 0: 10 s
	Now     func() time.Time // nil: time.Now
	// Local carries calls to endpoints on this machine or in its sandbox, past
	// every proxy. nil: a transport of the package's own, which takes no proxy
	// from the environment and makes a connection for every call. Service
	// Fabric needs an *http.Transport.
	Local http.RoundTripper
	// Entra carries workload identity's calls to the authority, which is
	// elsewhere. nil: as for Local.
	Entra http.RoundTripper
	// Observe is told of every call's status, a number or "error", and
	// duration; of a run of the Azure CLI, "200" or "error". nil: nobody is.
	Observe func(status string, took time.Duration)
}

// Open makes the source of that name; IMDS is not one that this package makes.
// The error says what of the environment is missing.
func Open(name string, o Options) (Source, error) {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Timeout = cmp.Or(max(o.Timeout, 0), imds.DefaultTimeout)
	switch name {
	case AppService, Arc, ServiceFabric, AzureML, CloudShell:
		return openManaged(name, o)
	case Workload:
		return openWorkload(o)
	case AzureCLI:
		return newCLI(o), nil
	}
	return nil, fmt.Errorf("no identity source is called %.32q; name one of %s", name, strings.Join(slices.DeleteFunc(Names(), func(n string) bool { return n == IMDS }), ", "))
}

// wire carries calls through the transport, one at a time and untouched.
func (o Options) wire(transport http.RoundTripper) imds.Wire {
	return imds.Wire{HTTP: imds.NewHTTPClient(transport), Timeout: o.Timeout, Now: o.Now, Observe: o.Observe}
}

// himds is the agent that makes a machine an Azure Arc one.
const himds = "/opt/azcmagent/bin/himds"

// Detect names the source that the environment speaks of; IMDS where it speaks
// of none. The Azure CLI is never detected, for a machine may have one without
// meaning it. getenv nil: os.Getenv.
//
// A pod's workload identity goes before what the machine offers, as in
// azidentity's DefaultAzureCredential; the order of the rest is MSAL's.
func Detect(getenv func(name string) string) string {
	if getenv == nil {
		getenv = os.Getenv
	}
	set := func(name string) bool { return getenv(name) != "" }
	switch {
	case set(envTokenFile) && set(envTenantID):
		return Workload
	case set(envIdentityEndpoint) && set(envIdentityHeader) && set(envThumbprint):
		return ServiceFabric
	case set(envIdentityEndpoint) && set(envIdentityHeader):
		return AppService
	case set(envMSIEndpoint) && set(envMSISecret):
		return AzureML
	case set(envMSIEndpoint):
		return CloudShell
	case set(envIdentityEndpoint) && set(envIMDSEndpoint):
		return Arc
	}
	if _, err := os.Stat(himds); err == nil {
		return Arc
	}
	return IMDS
}

const (
	envIdentityEndpoint = "IDENTITY_ENDPOINT"
	envIdentityHeader   = "IDENTITY_HEADER"
	envThumbprint       = "IDENTITY_SERVER_THUMBPRINT"
	envMSIEndpoint      = "MSI_ENDPOINT"
	envMSISecret        = "MSI_SECRET"
	envIMDSEndpoint     = "IMDS_ENDPOINT"
	envTokenFile        = "AZURE_FEDERATED_TOKEN_FILE"
	envTenantID         = "AZURE_TENANT_ID"
	envClientID         = "AZURE_CLIENT_ID"
	envAuthorityHost    = "AZURE_AUTHORITY_HOST"
)

// refuse makes the error of an attempt that nobody was asked for.
func refuse(class imds.Class, id imds.Identity, audience string, err error, advice string) *imds.Error {
	return &imds.Error{Class: class, Audience: audience, Identity: id, Err: err, Advice: advice}
}

// check holds an identity to what every source demands of it: nobody is asked
// for another source's identity.
func check(name string, id imds.Identity, audience string) *imds.Error {
	if id.Source != name {
		return refuse(imds.Misconfigured, id, audience, fmt.Errorf("the identity is of another source than %s", name), "correct the route's identity")
	}
	if err := id.Validate(); err != nil {
		return refuse(imds.Misconfigured, id, audience, err, "correct the route's identity")
	}
	return nil
}
