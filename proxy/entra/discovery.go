package entra

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/bearerd/bearerd/proxy/azure"
)

// instances tells a client which hosts are one login service, which it asks
// before it sends a secret to a host. Some ask in the name of common, whatever
// tenant they log in to, so the document is given for any tenant of these hosts.
func (l *Logins) instances(r *Request) Decision {
	if r.Call.Method != http.MethodGet {
		return pass("it is no discovery: that is a GET")
	}
	query, err := url.ParseQuery(r.Call.Query)
	if err != nil || len(query["authorization_endpoint"]) != 1 {
		return pass("it names no endpoint to discover, or several")
	}
	u, err := url.Parse(query["authorization_endpoint"][0])
	if err != nil {
		return pass("the endpoint to discover is no URL")
	}
	host, port, err := azure.NormalizeHost(u.Host)
	tenant, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if err != nil || port != 0 || !l.Names(host) || tenant == "" {
		return pass("the endpoint to discover is not this cloud's")
	}
	type instance struct {
		PreferredNetwork string   `json:"preferred_network"`
		PreferredCache   string   `json:"preferred_cache"`
		Aliases          []string `json:"aliases"`
	}
	var all []instance
	for _, hosts := range l.services {
		all = append(all, instance{hosts[0], hosts[0], hosts})
	}
	return describe(struct {
		Configuration string     `json:"tenant_discovery_endpoint"`
		Version       string     `json:"api-version"`
		Metadata      []instance `json:"metadata"`
	}{
		Configuration: "https://" + host + "/" + url.PathEscape(tenant) + "/v2.0/.well-known/openid-configuration",
		Version:       "1.1",
		Metadata:      all,
	})
}

// configuration tells a client a tenant's endpoints. All are Entra's own paths,
// so that logins which are not answered here get where they always did.
func (l *Logins) configuration(r *Request, p endpoint) Decision {
	if r.Call.Method != http.MethodGet {
		return pass("it is no discovery: that is a GET")
	}
	version, issuer := "", "https://sts.windows.net/"+p.tenant+"/"
	if p.v2 {
		version, issuer = "/v2.0", "https://"+l.hosts[0]+"/"+p.tenant+"/v2.0"
	}
	at := func(path string) string { return r.Base + "/" + p.written + path }
	return describe(map[string]any{
		"issuer":                                issuer,
		"authorization_endpoint":                at("/oauth2" + version + "/authorize"),
		"token_endpoint":                        at("/oauth2" + version + "/token"),
		"device_authorization_endpoint":         at("/oauth2" + version + "/devicecode"),
		"end_session_endpoint":                  at("/oauth2" + version + "/logout"),
		"jwks_uri":                              at("/discovery" + version + "/keys"),
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"response_modes_supported":              []string{"query", "fragment", "form_post"},
		"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		"request_uri_parameter_supported":       false,
	})
}

func describe(document any) Decision {
	return Decision{Action: Answer, Result: Described, Status: http.StatusOK, Body: encode(document), Reason: "the discovery document is given here"}
}

// encode writes what cannot fail to be written.
func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("entra: a document did not encode: " + err.Error())
	}
	return text
}
