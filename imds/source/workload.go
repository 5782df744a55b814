package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"

	"github.com/bearerd/bearerd/imds"
)

const (
	// publicAuthority is Entra's for the public cloud.
	publicAuthority = "https://login.microsoftonline.com/"
	// maxAssertion bounds the token file. A service account's token has 1 to
	// 2 KiB.
	maxAssertion = 64 << 10
)

// workload exchanges a pod's service-account token for the identity's
// (https://learn.microsoft.com/azure/aks/workload-identity-overview).
type workload struct {
	tokenFile string
	clientID  string // of identities without one of their own
	tenant    string
	authority string // URL of the tenant's authority, without a slash at its end
	endpoint  origin
	wire      imds.Wire
}

func openWorkload(o Options) (*workload, error) {
	w := &workload{tokenFile: o.Getenv(envTokenFile), clientID: o.Getenv(envClientID), tenant: o.Getenv(envTenantID), wire: o.wire(o.Entra)}
	const hint = "set it in bearerd's container (deploy/kubernetes takes it from the ConfigMap), or have the AKS webhook set it by the pod's label azure.workload.identity/use: \"true\""
	if w.tokenFile == "" {
		return nil, fmt.Errorf("identity source workload: %s is not in the environment; %s", envTokenFile, hint)
	}
	if w.tenant == "" {
		return nil, fmt.Errorf("identity source workload: %s is not in the environment; %s", envTenantID, hint)
	}
	// The tenant becomes a part of a path.
	if strings.ContainsFunc(w.tenant, func(r rune) bool { return !isAlphanumeric(r) && r != '-' && r != '.' }) || strings.Trim(w.tenant, ".") == "" {
		return nil, fmt.Errorf("identity source workload: %s has to be a tenant's id or domain", envTenantID)
	}
	host := o.Getenv(envAuthorityHost)
	if host == "" {
		host = publicAuthority
	}
	u, err := url.Parse(host)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		// Whoever gets the assertion can be the pod: never without TLS.
		return nil, fmt.Errorf("identity source workload: %s has to be like %s", envAuthorityHost, publicAuthority)
	}
	// MSAL writes hosts and tenants in lower case.
	w.endpoint = origin{"https", strings.ToLower(u.Host)}
	w.tenant = strings.ToLower(w.tenant)
	w.authority = "https://" + w.endpoint.host + "/" + w.tenant
	return w, nil
}

func isAlphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// Token makes one attempt to get a token.
func (w *workload) Token(ctx context.Context, id imds.Identity, audience string) (*imds.Token, error) {
	if fail := check(Workload, id, audience); fail != nil {
		return nil, fail
	}
	clientID := id.ClientID
	if clientID == "" {
		clientID = w.clientID
	}
	if clientID == "" || id.ObjectID != "" || id.ResourceID != "" {
		return nil, refuse(imds.Misconfigured, id, audience, errors.New("workload identity knows identities by their client_id alone"),
			"name one under identity, or set "+envClientID)
	}
	assertion, err := readAssertion(w.tokenFile)
	if err != nil {
		// Unavailable, and so asked for again soon: the kubelet may be writing it.
		return nil, refuse(imds.Unavailable, id, audience, err, "check that "+envTokenFile+" names the projected service-account token and that bearerd's user can read it")
	}
	a := &attempt{name: Workload, id: id, audience: audience, wire: w.wire, endpoint: w.endpoint, answerLocally: w.discovery}
	client, err := w.client(clientID, assertion, a)
	if err != nil { // no call was made: it is about the settings
		return nil, refuse(imds.Misconfigured, id, audience, err, "check "+envAuthorityHost+" and "+envTenantID)
	}
	_, err = client.AcquireTokenByCredential(ctx, []string{scopeOf(audience)})
	return a.result(err)
}

// client makes MSAL's client for one attempt: its cache begins empty and ends
// with it.
func (w *workload) client(clientID, assertion string, a *attempt) (confidential.Client, error) {
	credential := confidential.NewCredFromAssertionCallback(func(context.Context, confidential.AssertionRequestOptions) (string, error) {
		return assertion, nil
	})
	return confidential.New(w.authority, clientID, credential,
		confidential.WithHTTPClient(a),
		// Else MSAL asks login.microsoftonline.com about authorities that it
		// does not know.
		confidential.WithInstanceDiscovery(false),
		// Else MSAL_FORCE_REGION in the environment has it ask others, IMDS
		// among them, for the region.
		confidential.WithAzureRegion("DisableMsalForceRegion"))
}

// discovery answers MSAL's question for the authority's endpoints. Entra's are
// documented, so that an attempt is one call and the assertion goes to the
// configured authority, whatever a discovery document may say
// (https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow).
func (w *workload) discovery(r *http.Request) *http.Response {
	if r.URL.Path != "/"+w.tenant+"/v2.0/.well-known/openid-configuration" {
		return nil
	}
	document, err := json.Marshal(map[string]string{
		"issuer":                 w.authority + "/v2.0",
		"authorization_endpoint": w.authority + "/oauth2/v2.0/authorize",
		"token_endpoint":         w.authority + "/oauth2/v2.0/token",
	})
	if err != nil {
		return nil // cannot be: three strings
	}
	return respond(r, http.StatusOK, nil, document)
}

// readAssertion reads the service-account token, which the kubelet renews.
func readAssertion(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxAssertion+1))
	if err != nil {
		return "", err
	}
	assertion := strings.TrimSpace(string(text))
	if assertion == "" {
		return "", fmt.Errorf("%s is empty", name)
	}
	if len(text) > maxAssertion {
		return "", fmt.Errorf("%s is longer than %d bytes, and so is no service-account token", name, maxAssertion)
	}
	return assertion, nil
}

// scopeOf gives the scope of all that an audience grants. The audience is kept
// as it is: where it ends with a slash, Entra wants two, or the token is for
// another one
// (https://learn.microsoft.com/entra/identity-platform/scopes-oidc#trailing-slash-and-default);
// azcore does the same for Resource Manager.
func scopeOf(audience string) string { return audience + "/.default" }
