package azure

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Definition is a cloud as the configuration defines it.
type Definition struct {
	Name string
	// Base is the cloud of the catalogue that this one starts from; empty: none.
	Base string
	// Login is the host where tenants sign in; empty: the base's.
	Login string
	// Services are added to the base's. One with the name of a service of the
	// base adds its hosts and suffixes to it, and may give it another audience.
	Services []ServiceDefinition
}

// ServiceDefinition is one service as the configuration defines it.
type ServiceDefinition struct {
	Name string
	// Audience is what IMDS is asked for; empty only where the base has it.
	Audience string
	// Like is keyvault, managedhsm, storage or arm where the service follows
	// the rules of that one (header fields, challenges, paths); empty: what the
	// base says, else none.
	Like string
	// Hosts are exact names of the service.
	Hosts []string
	// Suffixes are the service's as a whole: one label in front of each. A
	// storage suffix without an API's label (core.example) stands for all five.
	Suffixes []string
}

// DefinitionError is one mistake in a definition.
type DefinitionError struct {
	Service int    // index, -1 where the mistake is not in a service
	Field   string // key in the configuration, with the element's index: suffixes[1]
	Err     error
}

// Error implements error.
func (e *DefinitionError) Error() string {
	if e.Service < 0 {
		return fmt.Sprintf("cloud.%s: %v", e.Field, e.Err)
	}
	return fmt.Sprintf("cloud.services[%d].%s: %v", e.Service, e.Field, e.Err)
}

// Unwrap gives the mistake itself.
func (e *DefinitionError) Unwrap() error { return e.Err }

// NewCloud checks a definition and makes the cloud. Each mistake is a
// *DefinitionError; several are joined.
func NewCloud(d Definition) (*Cloud, error) {
	var errs []error
	fail := func(service int, field, format string, args ...any) {
		errs = append(errs, &DefinitionError{service, field, fmt.Errorf(format, args...)})
	}
	base := &Cloud{}
	if d.Base != "" {
		var ok bool
		if base, ok = CloudNamed(d.Base); !ok {
			fail(-1, "base", "no cloud is called %q; use one of %s", d.Base, strings.Join(CloudNames(), ", "))
			base = &Cloud{}
		}
	}
	if d.Name == "" {
		fail(-1, "name", "the cloud has no name; give it one")
	}
	login, logins := base.Login, base.logins
	if d.Login != "" {
		host, port, err := NormalizeHost(d.Login)
		if err != nil || port != 0 {
			fail(-1, "login", "%q is no host name; write it like login.microsoftonline.com", d.Login)
		}
		login, logins = host, []string{host}
	}
	services := slices.Clone(base.services)
	for i, sd := range d.Services {
		s := &Service{Name: sd.Name, login: login}
		at := slices.IndexFunc(services, func(s *Service) bool { return s.Name == sd.Name })
		if at >= 0 {
			s = services[at].clone()
		}
		for _, e := range s.define(&sd, services) {
			e.Service = i
			errs = append(errs, e)
		}
		if at >= 0 {
			services[at] = s
		} else {
			services = append(services, s)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	for i, s := range services {
		if s.login != login {
			services[i] = s.clone()
			services[i].login = login
		}
	}
	return newCloud(d.Name, login, logins, services), nil
}

// clone gives a copy whose lists can grow without touching the original's.
func (s *Service) clone() *Service {
	other := *s
	other.hosts = slices.Clone(s.hosts)
	other.patterns = slices.Clone(s.patterns)
	other.storage = s.storage.clone()
	return &other
}

// define adds what the configuration says of the service to s. No other
// service may have the same names.
func (s *Service) define(d *ServiceDefinition, others []*Service) (errs []*DefinitionError) {
	fail := func(field, format string, args ...any) {
		errs = append(errs, &DefinitionError{Field: field, Err: fmt.Errorf(format, args...)})
	}
	if !isServiceName(d.Name) {
		fail("name", "%q is no service name; use lower-case letters, digits and hyphens", d.Name)
	}
	if d.Audience != "" {
		if err := CheckAudience(d.Audience); err != nil {
			fail("audience", "%w", err)
		}
		s.Audience = d.Audience
	}
	if s.Audience == "" {
		fail("audience", "the audience is missing; name what tokens for the service are issued to, such as api://example")
	}
	if d.Like != "" {
		k, ok := kindLike(d.Like)
		if !ok {
			fail("like", "no rules are known as %q; use keyvault, managedhsm, storage or arm, or remove it", d.Like)
		}
		s.kind = k
	}
	for i, text := range d.Hosts {
		host, port, err := NormalizeHost(text)
		switch {
		case err != nil:
			fail(fmt.Sprintf("hosts[%d]", i), "%q is no host name: %w; write it like api.example.com", text, err)
		case port != 0:
			fail(fmt.Sprintf("hosts[%d]", i), "%q has a port; name ports in the route's hosts", text)
		case !slices.Contains(s.hosts, host):
			s.hosts = append(s.hosts, host)
		}
	}
	for i, text := range d.Suffixes {
		before := len(s.patterns)
		if err := s.addSuffix(text); err != nil {
			fail(fmt.Sprintf("suffixes[%d]", i), "%w", err)
			continue
		}
		for _, other := range others {
			if other.Name != s.Name && slices.ContainsFunc(s.patterns[before:], other.HasPattern) {
				fail(fmt.Sprintf("suffixes[%d]", i), "%q belongs to service %s already; remove it from one of them", text, other.Name)
			}
		}
	}
	return errs
}

func (s *Service) addSuffix(text string) error {
	suffix, port, err := NormalizeHost(strings.TrimPrefix(text, "."))
	if err != nil || port != 0 {
		return fmt.Errorf("%q is no DNS suffix; write it like vault.example.com", text)
	}
	if s.exactOnly {
		return fmt.Errorf("%s takes no suffixes, for a stranger may receive what is sent to a name under one; name exact hosts", s.Name)
	}
	if s.kind != storageKind {
		p := Pattern{Suffix: suffix}
		if err := p.Check(); err != nil {
			return err
		}
		s.patterns = append(s.patterns, p)
		return nil
	}
	first, _, _ := strings.Cut(suffix, ".")
	for _, api := range storageAPIs() {
		p := Pattern{Suffix: suffix}
		if first != api.String() {
			if isStorageLabel(first) {
				continue
			}
			p.Suffix = api.String() + "." + suffix
		}
		if err := p.Check(); err != nil {
			return err
		}
		s.addStorage(api, p)
	}
	return nil
}

// Check reports why the names of p may not be matched as a whole: its suffix
// is too short to belong to one owner, or Azure lets strangers own names under
// it and receive what is sent there. It catches slips, not every such suffix.
func (p Pattern) Check() error {
	if strings.Count(p.Suffix, ".") < 1 {
		return fmt.Errorf("%s reaches over a whole top-level domain; name exact hosts", p)
	}
	for _, open := range strangers() {
		if p.Suffix == open || strings.HasSuffix(p.Suffix, "."+open) {
			return fmt.Errorf("anyone can own a name under %s and receive what is sent there; name exact hosts instead of %s", open, p)
		}
	}
	return nil
}

// CheckAudience reports what is wrong with an audience: the identifier of an
// API (https://vault.azure.net, api://example, or an application's id), which
// is not a scope.
func CheckAudience(audience string) error {
	if audience == "" || len(audience) > 1024 {
		return errors.New("the audience is empty or longer than 1024 bytes; name what tokens for the service are issued to")
	}
	for i := range len(audience) {
		if c := audience[i]; c <= ' ' || c > '~' {
			return fmt.Errorf("the audience %q holds a space, a control character or a non-ASCII character; remove it", audience)
		}
	}
	if base, isScope := strings.CutSuffix(audience, "/.default"); isScope {
		return fmt.Errorf("%q is a scope, and an audience is wanted; write %q", audience, base)
	}
	return nil
}

func isServiceName(name string) bool {
	if name == "" || len(name) > 63 {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && !isDigit(c) && c != '-' {
			return false
		}
	}
	return true
}

func kindLike(service string) (kind, bool) {
	switch service {
	case "keyvault":
		return vaultKind, true
	case "managedhsm":
		return hsmKind, true
	case "storage":
		return storageKind, true
	case "arm":
		return armKind, true
	}
	return plainKind, false
}

func isStorageLabel(label string) bool {
	return slices.ContainsFunc(storageAPIs(), func(a storageAPI) bool { return a.String() == label })
}
