package daemon

import (
	"fmt"

	"github.com/bearerd/bearerd/cmd/internal/admin"
)

// hidden stands for a value that only the file shows.
const hidden = "(hidden)"

// secret is a value that nobody but the file's readers may see.
type secret struct{ value }

func (secret) current() string { return hidden }

// settings lists every key and the value that holds, in the order of the
// reference: of the lists' elements, such as routes, only what they say.
func (c *Config) settings() []admin.Setting {
	l := lister{source: &c.source}
	l.list("", c.keys())
	return l.all
}

// lister walks over the keys of a configuration.
type lister struct {
	source *source
	all    []admin.Setting
}

func (l *lister) list(under string, keys object) {
	for _, k := range keys {
		l.add(join(under, k.name), k.value)
	}
}

// add tells of one value, or of each that it holds.
func (l *lister) add(path string, v value) {
	if keys, ok := keysIn(v); ok {
		l.list(path, keys)
		return
	}
	if all, ok := elementsIn(v); ok && len(all) > 0 {
		for i, keys := range all {
			l.said(fmt.Sprintf("%s[%d]", path, i), keys)
		}
		return
	}
	l.all = append(l.all, admin.Setting{Key: path, Value: v.current(), Set: l.source.has(path)})
}

// said tells of what the file says of a list's element or, where the list is the
// default, of its address: what is not said is the same for each.
func (l *lister) said(path string, keys object) {
	inner := lister{source: l.source}
	inner.list(path, keys)
	for i, s := range inner.all {
		if s.Set || i == 0 && !l.source.has(path) {
			l.all = append(l.all, s)
		}
	}
}

// keysIn gives the keys of a mapping that the configuration defines.
func keysIn(v value) (object, bool) {
	switch v := v.(type) {
	case object:
		return v, true
	case checked:
		return v.object, true
	case given:
		return keysIn(v.value)
	case shown:
		return keysIn(v.value)
	case cloudValue:
		if v.at.definition != nil {
			return definitionKeys(v.at.definition, &v.at.file), true
		}
	}
	return nil, false
}

// elementsIn gives the keys of each element of a list of such mappings.
func elementsIn(v value) (all []object, ok bool) {
	switch v := v.(type) {
	case given:
		return elementsIn(v.value)
	case shown:
		return elementsIn(v.value)
	case interface{ elements() []value }:
		for _, e := range v.elements() {
			keys, ok := keysIn(e)
			if !ok {
				return nil, false
			}
			all = append(all, keys)
		}
		return all, true
	}
	return nil, false
}
