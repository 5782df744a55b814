package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"

	"github.com/bearerd/bearerd/imds"
)

// managed asks the endpoint of a managed identity that the process's environment
// names, in MSAL's words.
type managed struct {
	name     string
	endpoint origin
	wire     imds.Wire
}

// sourceOf gives MSAL's name of a source, what has to be in the environment for
// MSAL to find it, and the variable that holds its endpoint.
func sourceOf(name string) (msal managedidentity.Source, needs, endpoint string) {
	switch name {
	case AppService:
		return managedidentity.AppService, envIdentityEndpoint + " and " + envIdentityHeader, envIdentityEndpoint
	case ServiceFabric:
		return managedidentity.ServiceFabric, envIdentityEndpoint + ", " + envIdentityHeader + " and " + envThumbprint, envIdentityEndpoint
	case AzureML:
		return managedidentity.AzureML, envMSIEndpoint + " and " + envMSISecret, envMSIEndpoint
	case CloudShell:
		return managedidentity.CloudShell, envMSIEndpoint + " alone", envMSIEndpoint
	default:
		return managedidentity.AzureArc, envIdentityEndpoint + " and " + envIMDSEndpoint + ", or the agent " + himds, envIdentityEndpoint
	}
}

// arcEndpoint is where the agent answers if the environment does not say
// (https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication).
const arcEndpoint = "http://127.0.0.1:40342"

func openManaged(name string, o Options) (*managed, error) {
	want, needs, variable := sourceOf(name)
	// MSAL takes no source by name: it asks the one that it finds.
	found, err := managedidentity.GetSource()
	if err != nil || found != want {
		return nil, fmt.Errorf("the environment is not that of identity source %s: MSAL finds %s, and wants %s; set these, or name the source %s", name, found, needs, Detect(nil))
	}
	m := &managed{name: name, wire: o.wire(o.Local)}
	text := os.Getenv(variable)
	if text == "" && name == Arc {
		text = arcEndpoint
	}
	if m.endpoint, err = parseOrigin(text); err != nil {
		return nil, fmt.Errorf("%s in the environment: %w", variable, err)
	}
	// No call is made, and what this says is about the environment.
	if _, err := m.client(managedidentity.SystemAssigned(), m.attempt(imds.Identity{}, "")); err != nil {
		return nil, fmt.Errorf("identity source %s: %w", name, err)
	}
	return m, nil
}

// parseOrigin reads where an endpoint is. What it refuses is not quoted, for it
// may hold a password.
func parseOrigin(text string) (origin, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return origin{}, errors.New("it has to be a URL of http or https")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.Unmap() == netip.AddrFrom4([4]byte{169, 254, 169, 254}) {
		// IMDS's answers and its limits are source imds's.
		return origin{}, errors.New("it leads to IMDS; name the source imds")
	}
	return origin{u.Scheme, u.Host}, nil
}

func (m *managed) attempt(id imds.Identity, audience string) *attempt {
	return &attempt{name: m.name, id: id, audience: audience, wire: m.wire, endpoint: m.endpoint}
}

// client makes MSAL's client for one attempt.
func (*managed) client(id managedidentity.ID, a *attempt) (managedidentity.Client, error) {
	return managedidentity.New(id, managedidentity.WithHTTPClient(a), managedidentity.WithRetryPolicyDisabled())
}

// bypass makes MSAL look past its cache. These claims are not sent: no managed
// identity takes any.
const bypass = "{}"

// Token makes one attempt to get a token.
func (m *managed) Token(ctx context.Context, id imds.Identity, audience string) (*imds.Token, error) {
	if fail := check(m.name, id, audience); fail != nil {
		return nil, fail
	}
	a := m.attempt(id, audience)
	client, err := m.client(idOf(id), a)
	if err != nil { // an id of a kind that the source does not know
		return nil, refuse(imds.Misconfigured, id, audience, err, "correct the route's identity")
	}
	_, err = client.AcquireToken(ctx, audience, managedidentity.WithClaims(bypass))
	if m.name == Arc {
		if fail := a.arc(err); fail != nil {
			return nil, fail
		}
	}
	return a.result(err)
}

// idOf gives MSAL's word for an identity.
func idOf(id imds.Identity) managedidentity.ID {
	switch {
	case id.ClientID != "":
		return managedidentity.UserAssignedClientID(id.ClientID)
	case id.ObjectID != "":
		return managedidentity.UserAssignedObjectID(id.ObjectID)
	case id.ResourceID != "":
		return managedidentity.UserAssignedResourceID(id.ResourceID)
	}
	return managedidentity.SystemAssigned()
}

// result is the attempt's outcome. MSAL's own error counts, but not its words,
// which may quote an answer.
func (a *attempt) result(err error) (*imds.Token, error) {
	switch {
	case a.unpinned.Load():
		return nil, refuse(imds.Denied, a.id, a.audience,
			errors.New("the endpoint's certificate is not the one that "+envThumbprint+" names"), "restart bearerd with the cluster's present "+envThumbprint)
	case a.failed != nil:
		a.failed.Advice = advice(a.name, a.failed)
		return nil, a.failed
	case a.calls == 0:
		return nil, refuse(imds.Misconfigured, a.id, a.audience,
			errors.New("MSAL could make no request of the environment's values"), "check the variables that name the endpoint, and restart bearerd")
	case err != nil || a.token == nil:
		return nil, a.fail(imds.Malformed, "the answer is not what the source's protocol says", "check what answers at the endpoint that the environment names")
	}
	return a.token, nil
}

// fail makes the error of an answer that has a status but not the right sense.
func (a *attempt) fail(class imds.Class, what, advice string) *imds.Error {
	e := refuse(class, a.id, a.audience, errors.New(what), advice)
	e.Status = a.last.Status
	return e
}

// arc tells what can go wrong with Azure Arc alone, where the first answer is a
// challenge: the caller shows that it may read a file of the agent's.
func (a *attempt) arc(err error) *imds.Error {
	switch {
	case a.calls == 1 && a.last.Status == http.StatusUnauthorized:
		return a.fail(imds.Denied, "the agent's challenge names no key file that could be read",
			"run bearerd as a member of the group himds, which may read the .key files under /var/opt/azcmagent/tokens")
	case a.calls == 2 && a.token != nil && err != nil:
		// An older agent takes no notice of the id and answers for the machine.
		return a.fail(imds.Misconfigured, "the agent did not confirm that the token is the named identity's",
			"update the Azure Arc agent to one that knows user-assigned identities, or use the machine's own")
	}
	return nil
}
