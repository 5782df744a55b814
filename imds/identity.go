package imds

import (
	"errors"
	"strings"
)

// SourceIMDS is the name of the machine's IMDS among the sources of identities.
const SourceIMDS = "imds"

// Identity selects a managed identity. It is comparable, and its zero value is
// the system-assigned identity of the machine or, where there is none, its only
// user-assigned one. At most one of the three ids is set.
type Identity struct {
	Source     string // where the tokens come from; empty or SourceIMDS: the machine's IMDS
	ClientID   string
	ObjectID   string
	ResourceID string // /subscriptions/.../userAssignedIdentities/...
}

// Validate reports ids that exclude one another.
func (id Identity) Validate() error {
	set := 0
	for _, v := range []string{id.ClientID, id.ObjectID, id.ResourceID} {
		if v != "" {
			set++
		}
	}
	if set > 1 {
		return errors.New("client_id, object_id and resource_id exclude one another; keep one")
	}
	// Azure compares these ids whatever their case.
	if id.ResourceID != "" && !strings.HasPrefix(strings.ToLower(id.ResourceID), "/subscriptions/") {
		return errors.New("resource_id must start with /subscriptions/; `az identity show --query id` prints it")
	}
	return nil
}

// Pinned reports whether an id says which identity is meant, rather than leaving
// the choice to the source.
func (id Identity) Pinned() bool {
	return id.ClientID != "" || id.ObjectID != "" || id.ResourceID != ""
}

// String names the identity for logs, metrics and people.
func (id Identity) String() string {
	name := "system-assigned"
	switch {
	case id.ClientID != "":
		name = "client_id:" + id.ClientID
	case id.ObjectID != "":
		name = "object_id:" + id.ObjectID
	case id.ResourceID != "":
		name = "resource_id:" + id.ResourceID
	}
	if id.Source != "" {
		return id.Source + "/" + name
	}
	return name
}
