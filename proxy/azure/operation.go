package azure

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Operation is what a call does, as its service understands it. It is one of a
// closed list, so that policies, metrics and logs can use its name.
type Operation struct {
	Name string // storage.blob.get; SERVICE.unknown where it is not understood
	// Mints is set where the answer, or what the call makes, is a credential
	// that works past the proxy: a key, a signature, a backup. Whoever has it
	// needs neither the route nor the machine any more.
	Mints bool
	// Reason tells why the operation is not understood; empty where it is.
	Reason string

	batch    batchKind // how it carries other calls
	template bool      // its body names the resources that it changes
}

// Understood reports whether the name is what the service will do.
func (o Operation) Understood() bool { return o.Reason == "" }

// Carries reports whether the call is a batch, which holds calls of its own.
func (o Operation) Carries() bool { return o.batch != noBatch }

// OperationInfo is one operation of the list, for references and checks.
type OperationInfo struct {
	Operation
	Request string // what requests it is: GET|HEAD /secrets/NAME/VERSION
}

// OperationOf tells what a call does: not what its method says alone, but what
// the service makes of method, path, query and the fields that it obeys. Where
// these contradict each other, say something twice, or could be read in two
// ways, the operation is not understood.
//
// The request is one of the service's documented ones (the tables name the
// pages), for a service without a table one of the methods. It does not
// allocate.
func (s *Service) OperationOf(c *Call) Operation {
	if s.kind == plainKind {
		return plainOperation(c)
	}
	method, reason := effectiveMethod(c, s.kind == storageKind && s.apiOf(c) == dfsAPI)
	if reason != "" {
		return unknown(s.kind, reason)
	}
	if !strings.HasPrefix(c.Path, "/") {
		return unknown(s.kind, "its path does not start with a slash")
	}
	all := catalogueOfOperations()
	switch s.kind {
	case vaultKind:
		return all.vault.find(c, method, s.kind)
	case hsmKind:
		return all.hsm.find(c, method, s.kind)
	case storageKind:
		return all.storage[s.apiOf(c)].find(c, method, s.apiOf(c))
	default:
		return all.arm.find(c, method)
	}
}

func (s *Service) apiOf(c *Call) storageAPI {
	api, _ := s.storage.Get(c.Host)
	return api
}

// Operations lists what the calls of a service may turn out to be, sorted by
// name; not what is not understood.
func (s *Service) Operations() []OperationInfo {
	all := catalogueOfOperations()
	switch s.kind {
	case vaultKind:
		return all.vaultList
	case hsmKind:
		return all.hsmList
	case storageKind:
		return all.storageList
	case armKind:
		return all.armList
	}
	return all.plainList
}

// Operations lists all operations of all services, sorted by name within each
// service, those that are not understood among them. Not to be changed.
func Operations() []OperationInfo { return catalogueOfOperations().list }

// operationCatalogue is the tables, compiled.
type operationCatalogue struct {
	vault, hsm vaultTable
	storage    [tableAPI + 1]storageTable
	arm        armTable

	vaultList, hsmList, storageList, armList, plainList, list []OperationInfo
}

// catalogueOfOperations compiles the tables at their first use. Nothing changes
// them afterwards.
var catalogueOfOperations = sync.OnceValue(func() *operationCatalogue {
	all := &operationCatalogue{}
	all.vault, all.vaultList = compileVault("keyvault", false)
	all.hsm, all.hsmList = compileVault("managedhsm", true)
	for _, api := range storageAPIs() {
		var list []OperationInfo
		all.storage[api], list = compileStorage(api)
		all.storageList = append(all.storageList, list...)
	}
	all.arm, all.armList = compileARM()
	for _, method := range plainMethods() {
		name := "api." + strings.ToLower(method)
		request := "method " + method
		if method == "" {
			name, request = "api.other", "any other method"
		}
		all.plainList = append(all.plainList, OperationInfo{Operation{Name: name}, request})
	}
	for _, list := range []*[]OperationInfo{&all.vaultList, &all.hsmList, &all.storageList, &all.armList, &all.plainList} {
		*list = mergeByName(*list)
		all.list = append(all.list, *list...)
	}
	for _, k := range []kind{vaultKind, hsmKind, storageKind, armKind, plainKind} {
		all.list = append(all.list, OperationInfo{unknown(k, "it is not understood"), "what is not understood"})
	}
	return all
})

// mergeByName sorts, and joins the requests of one operation.
func mergeByName(list []OperationInfo) []OperationInfo {
	slices.SortStableFunc(list, func(a, b OperationInfo) int { return strings.Compare(a.Name, b.Name) })
	var merged []OperationInfo
	for _, info := range list {
		last := len(merged) - 1
		switch {
		case last < 0 || merged[last].Name != info.Name:
			merged = append(merged, info)
		case merged[last].Mints != info.Mints:
			panic(fmt.Sprintf("azure: %s both mints a credential and does not", info.Name))
		case !strings.Contains(merged[last].Request, info.Request):
			merged[last].Request += "; " + info.Request
		}
	}
	return merged
}

// unknown gives a service's operation that is not understood.
func unknown(k kind, reason string) Operation {
	name := "api.unknown"
	switch k {
	case vaultKind:
		name = "keyvault.unknown"
	case hsmKind:
		name = "managedhsm.unknown"
	case storageKind:
		name = "storage.unknown"
	case armKind:
		name = "arm.unknown"
	}
	return Operation{Name: name, Reason: reason}
}

const notDocumented = "it is none of the service's documented requests"

// verbs is a set of methods.
type verbs uint8

const (
	verbGet verbs = 1 << iota
	verbHead
	verbPut
	verbPost
	verbPatch
	verbDelete
	verbMerge // Table's
	verbOptions
)

// verbOf gives a method's bit, none for a method that no table has.
func verbOf(method string) verbs {
	switch method {
	case "GET":
		return verbGet
	case "HEAD":
		return verbHead
	case "PUT":
		return verbPut
	case "POST":
		return verbPost
	case "PATCH":
		return verbPatch
	case "DELETE":
		return verbDelete
	case "MERGE":
		return verbMerge
	case "OPTIONS":
		return verbOptions
	}
	return 0
}

// plainMethods are the methods that have an operation of their own where
// nothing is known of the service. The empty one stands for the rest.
func plainMethods() []string {
	return []string{"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE", ""}
}

// plainOperation judges a call to a service of which only the method is known.
func plainOperation(c *Call) Operation {
	if _, reason := effectiveMethod(c, false); reason != "" {
		return unknown(plainKind, reason)
	}
	switch c.Method {
	case "GET":
		return Operation{Name: "api.get"}
	case "HEAD":
		return Operation{Name: "api.head"}
	case "OPTIONS":
		return Operation{Name: "api.options"}
	case "PUT":
		return Operation{Name: "api.put"}
	case "PATCH":
		return Operation{Name: "api.patch"}
	case "POST":
		return Operation{Name: "api.post"}
	case "DELETE":
		return Operation{Name: "api.delete"}
	}
	return Operation{Name: "api.other"}
}

// parseVerbs reads "GET|HEAD".
func parseVerbs(text string) (v verbs) {
	for method := range strings.SplitSeq(text, "|") {
		bit := verbOf(method)
		if bit == 0 {
			panic("azure: no table has the method " + method)
		}
		v |= bit
	}
	return v
}
