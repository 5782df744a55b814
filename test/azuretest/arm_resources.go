package azuretest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// The methods here run under ResourceManager's lock.

func groupID(name string) string {
	return "/subscriptions/" + Subscription + "/resourceGroups/" + name
}

func (g *group) show() map[string]any {
	return map[string]any{
		"id": groupID(g.name), "name": g.name, "type": "Microsoft.Resources/resourceGroups",
		"location": g.location, "tags": g.tags, "properties": map[string]any{"provisioningState": "Succeeded"},
	}
}

func (m *ResourceManager) listGroups() []map[string]any {
	items := []map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(m.groups)) {
		items = append(items, m.groups[name].show())
	}
	return items
}

func (m *ResourceManager) listResources() []map[string]any {
	items := []map[string]any{}
	for _, id := range slices.Sorted(maps.Keys(m.resources)) {
		items = append(items, m.resources[id])
	}
	return items
}

func groupNotFound(name string) *problem {
	return &problem{http.StatusNotFound, "ResourceGroupNotFound", "Resource group '" + name + "' could not be found."}
}

func (m *ResourceManager) serveGroup(w http.ResponseWriter, r *http.Request, name string) (int, any, error) {
	key := strings.ToLower(name)
	g := m.groups[key]
	if g == nil && r.Method != http.MethodPut {
		return 0, nil, groupNotFound(name)
	}
	switch r.Method {
	case http.MethodGet:
		return http.StatusOK, g.show(), nil
	case http.MethodHead:
		return http.StatusNoContent, nil, nil
	case http.MethodPut:
		var in struct {
			Location string            `json:"location"`
			Tags     map[string]string `json:"tags"`
		}
		if err := readJSON(w, r, &in); err != nil || in.Location == "" {
			return 0, nil, &problem{http.StatusBadRequest, "LocationRequired", "The location property is required for this definition."}
		}
		status := http.StatusOK
		if g == nil {
			status = http.StatusCreated
			g = &group{name: name}
			m.groups[key] = g
		}
		g.location, g.tags = in.Location, in.Tags
		return status, g.show(), nil
	case http.MethodDelete:
		m.startLocked(w, r, func() any { delete(m.groups, key); return nil })
		return http.StatusAccepted, nil, nil
	}
	return 0, nil, &problem{http.StatusMethodNotAllowed, "MethodNotAllowed", "There is no such operation on a resource group."}
}

// serveResource keeps a resource of any type as the document that it is. It
// exists at once, and is being created until the operation has finished.
func (m *ResourceManager) serveResource(w http.ResponseWriter, r *http.Request, groupName string) (int, any, error) {
	if m.groups[groupName] == nil {
		return 0, nil, groupNotFound(groupName)
	}
	key := strings.ToLower(r.URL.Path)
	resource := m.resources[key]
	switch {
	case r.Method == http.MethodPut:
		var in map[string]any
		if err := readJSON(w, r, &in); err != nil {
			return 0, nil, &problem{http.StatusBadRequest, "InvalidRequestContent", "The request content was invalid and could not be deserialized."}
		}
		in["id"], in["name"] = r.URL.Path, r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		creating, created := maps.Clone(in), maps.Clone(in)
		creating["properties"] = map[string]any{"provisioningState": "Creating"}
		created["properties"] = map[string]any{"provisioningState": "Succeeded"}
		m.resources[key] = creating
		m.startLocked(w, r, func() any { m.resources[key] = created; return created })
		return http.StatusAccepted, creating, nil
	case resource == nil:
		return 0, nil, &problem{http.StatusNotFound, "ResourceNotFound", "The Resource '" + r.URL.Path + "' was not found."}
	case r.Method == http.MethodGet:
		return http.StatusOK, resource, nil
	case r.Method == http.MethodDelete:
		m.startLocked(w, r, func() any { delete(m.resources, key); return nil })
		return http.StatusAccepted, nil, nil
	}
	return 0, nil, &problem{http.StatusMethodNotAllowed, "MethodNotAllowed", "There is no such operation on a resource."}
}
