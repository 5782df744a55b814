package imdstest

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// The versions that are taken: the ones that Azure's own clients send.
const (
	tokenVersions    = "2018-02-01 2023-07-01"
	instanceVersions = "2018-02-01 2021-02-01 2023-07-01"
)

// looksLikeResource is the shape of what a tenant may know: a URI or the id of
// an application.
var looksLikeResource = regexp.MustCompile(`^([a-z][a-z0-9+.-]*:(//)?[^\s/]\S*|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$`)

// checkRequest judges what every call has to be like, and gives its query. A
// name that is not known is refused, though the real one may be more lenient,
// for a misspelt client_id would else hand out another identity's token.
func checkRequest(r *http.Request, versions string, known ...string) (url.Values, *reply) {
	bad := func(code, description string) (url.Values, *reply) {
		a := refuse(http.StatusBadRequest, code, description)
		return nil, &a
	}
	if r.Method != http.MethodGet {
		a := refuse(http.StatusMethodNotAllowed, "method_not_allowed", "GET only")
		a.set("Allow", http.MethodGet)
		return nil, &a
	}
	if values := r.Header.Values("Metadata"); len(values) != 1 || values[0] != "true" {
		return bad("bad_request_102", "Required metadata header not specified")
	}
	// A forwarder that was talked into asking would give the token away.
	if r.Header.Values("X-Forwarded-For") != nil {
		return bad("bad_request", "the call came through a proxy: X-Forwarded-For")
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return bad("bad_request", "the query is not well formed")
	}
	for name, values := range query {
		if len(values) > 1 {
			return bad("bad_request", "the query has a name twice: "+name)
		}
		if !slices.Contains(known, name) {
			return bad("bad_request", "the query has a name that is not known: "+name)
		}
	}
	if version := query.Get("api-version"); version == "" || !slices.Contains(strings.Fields(versions), version) {
		return bad("bad_request", "api-version is missing or not known; known are "+versions)
	}
	return query, nil
}

// checkResource refuses resources that the tenant does not know.
func (s *Server) checkResource(resource string) *reply {
	var a reply
	switch {
	case resource == "":
		a = refuse(http.StatusBadRequest, "invalid_request", "Required query variable 'resource' is missing")
	case s.o.Resources == nil && looksLikeResource.MatchString(resource):
		return nil
	case slices.ContainsFunc(s.o.Resources, func(known string) bool { return strings.TrimSuffix(known, "/") == strings.TrimSuffix(resource, "/") }):
		return nil
	default:
		a = refuse(http.StatusBadRequest, "invalid_resource",
			"AADSTS500011: The resource principal named "+resource+" was not found in the tenant "+s.o.Tenant)
	}
	return &a
}

// machineIdentity is an identity of the machine, of either kind.
type machineIdentity struct {
	Identity
	system bool
}

// systemIdentity is the one that comes and goes with the machine. Its resource
// is the machine.
func systemIdentity() machineIdentity {
	return machineIdentity{system: true, Identity: Identity{
		ClientID:   "5e1f0000-0000-4000-8000-00000000c11e",
		ObjectID:   "5e1f0000-0000-4000-8000-0000000000b1",
		ResourceID: "/subscriptions/5e1f0000-0000-4000-8000-00000000005b/resourcegroups/emulated/providers/Microsoft.Compute/virtualMachines/machine",
	}}
}

// identify finds the identity that a call asks for.
func (s *Server) identify(query url.Values) (machineIdentity, *reply) {
	bad := func(description string) (machineIdentity, *reply) {
		a := refuse(http.StatusBadRequest, "invalid_request", description)
		return machineIdentity{}, &a
	}
	client, object, resource := query.Get("client_id"), query.Get("object_id"), query.Get("msi_res_id")
	named := 0
	for _, id := range []string{"client_id", "object_id", "msi_res_id"} {
		if query.Has(id) {
			named++
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case named > 1:
		return bad("client_id, object_id and msi_res_id exclude one another")
	case named == 1:
		for _, id := range s.o.Identities {
			// Ids are compared as Azure does, whatever their case.
			if client != "" && strings.EqualFold(client, id.ClientID) || object != "" && strings.EqualFold(object, id.ObjectID) ||
				resource != "" && strings.EqualFold(resource, id.ResourceID) {
				return machineIdentity{Identity: id}, nil
			}
		}
		return bad("Identity not found")
	case !s.o.NoSystem:
		return systemIdentity(), nil
	case len(s.o.Identities) == 1:
		return machineIdentity{Identity: s.o.Identities[0]}, nil
	case len(s.o.Identities) > 1:
		return bad("Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request")
	}
	return bad("Identity not found")
}
