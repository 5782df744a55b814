package azure

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// endpoints are one cloud in what Azure Resource Manager answers to
// /metadata/endpoints. Names are taken in any case, for versions differ in it.
type endpoints struct {
	Name            string
	ResourceManager string
	Authentication  struct {
		LoginEndpoint string
		Audiences     []string
	}
	Suffixes struct {
		Storage     string
		KeyVaultDNS string
		MHSMDNS     string
	}
}

// ParseEndpoints reads a cloud out of the answer of
// https://management.CLOUD/metadata/endpoints?api-version=2022-09-01, or of
// another version that lists suffixes: one cloud, or an array. name picks one of
// several, and names one that has no name; it may be empty otherwise. The
// services are Azure Resource Manager, Key Vault, Storage and, where it is
// listed, Managed HSM. Each thing that is missing or wrong is an error, joined.
func ParseEndpoints(text []byte, name string) (Definition, error) {
	e, err := pickEndpoints(text, name)
	if err != nil {
		return Definition{}, err
	}
	r := endpointsReader{}
	arm := r.host("resourceManager", e.ResourceManager)
	d := Definition{Name: e.Name, Login: r.host("authentication.loginEndpoint", e.Authentication.LoginEndpoint)}
	vault := r.suffix("suffixes.keyVaultDns", e.Suffixes.KeyVaultDNS, true)
	storage := r.suffix("suffixes.storage", e.Suffixes.Storage, true)
	hsm := r.suffix("suffixes.mhsmDns", e.Suffixes.MHSMDNS, false)
	d.Services = []ServiceDefinition{
		{Name: "keyvault", Like: "keyvault", Audience: "https://" + vault, Suffixes: []string{vault}},
		{Name: "storage", Like: "storage", Audience: storageAudience, Suffixes: []string{storage}},
		{Name: "arm", Like: "arm", Audience: r.armAudience(e.Authentication.Audiences, arm), Hosts: []string{arm}},
	}
	if hsm != "" {
		d.Services = append(d.Services, ServiceDefinition{Name: "managedhsm", Like: "managedhsm", Audience: "https://" + hsm, Suffixes: []string{hsm}})
	}
	return d, errors.Join(r.errs...)
}

func pickEndpoints(text []byte, name string) (endpoints, error) {
	// What PowerShell writes begins with a mark.
	text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))
	var all []endpoints
	var err error
	if bytes.HasPrefix(text, []byte("[")) {
		err = json.Unmarshal(text, &all)
	} else {
		all = make([]endpoints, 1)
		err = json.Unmarshal(text, &all[0])
	}
	if err != nil {
		return endpoints{}, fmt.Errorf("it is not what Azure Resource Manager answers to /metadata/endpoints: %w; save that answer as it comes, in UTF-8", err)
	}
	if len(all) == 1 && all[0].Name == "" {
		all[0].Name = name
	}
	var names []string
	for _, e := range all {
		names = append(names, fmt.Sprintf("%q", e.Name))
	}
	if name == "" && len(all) == 1 {
		name = all[0].Name
	}
	i := slices.IndexFunc(all, func(e endpoints) bool { return name != "" && strings.EqualFold(e.Name, name) })
	switch {
	case i >= 0:
		return all[i], nil
	case len(all) == 0:
		return endpoints{}, errors.New("it lists no cloud; ask with another api-version, such as 2022-09-01")
	case len(all) == 1 && name == "":
		return endpoints{}, errors.New("its cloud has no name; give it one by name")
	case name == "":
		return endpoints{}, fmt.Errorf("it lists several clouds; pick one by name: %s", strings.Join(names, ", "))
	}
	return endpoints{}, fmt.Errorf("it lists no cloud %q; it has %s", name, strings.Join(names, ", "))
}

// endpointsReader takes values and collects what is wrong with them.
type endpointsReader struct{ errs []error }

func (r *endpointsReader) fail(format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf(format, args...))
}

const askAnotherVersion = "ask with another api-version, such as 2022-09-01, or define the cloud by services"

// host takes the host of an endpoint.
func (r *endpointsReader) host(field, value string) string {
	if value == "" {
		r.fail("%s is missing; %s", field, askAnotherVersion)
		return ""
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "https" || u.User != nil {
		r.fail("%s is %q, which is no https URL; %s", field, value, askAnotherVersion)
		return ""
	}
	host, port, err := NormalizeHost(u.Host)
	if err != nil || port != 0 && port != 443 {
		r.fail("%s is %q, and a host without a port is wanted; define the cloud by services", field, value)
	}
	return host
}

// suffix takes a DNS suffix; some answers write a dot before it, and N/A where a
// cloud has none.
func (r *endpointsReader) suffix(field, value string, required bool) string {
	if strings.EqualFold(value, "N/A") {
		value = ""
	}
	if value == "" && required {
		r.fail("%s is missing; %s", field, askAnotherVersion)
	}
	return strings.ToLower(strings.Trim(value, "."))
}

// armAudience picks the audience that is Azure Resource Manager's own host, or
// else the first.
func (r *endpointsReader) armAudience(audiences []string, host string) string {
	if len(audiences) == 0 {
		r.fail("authentication.audiences is missing; %s", askAnotherVersion)
		return ""
	}
	for _, a := range audiences {
		if u, err := url.Parse(a); err == nil && host != "" && strings.EqualFold(u.Host, host) {
			return a
		}
	}
	return audiences[0]
}
