package azuretest

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"
)

// secretStore is what one vault holds. Vault's lock guards it.
type secretStore struct {
	base          string // https://host
	live, deleted map[string]*secret
}

// secret is all versions of one name, the latest last.
type secret struct {
	Name     string
	Versions []*secretVersion
	Deleted  int64 // unix seconds; 0 while it is live
}

type secretVersion struct {
	ID, Value, ContentType string
	Tags                   map[string]string
	Enabled                bool
	Created, Updated       int64
}

func (s *secret) latest() *secretVersion { return s.Versions[len(s.Versions)-1] }

// secretInput is the body of a set, an update or a restore.
type secretInput struct {
	Value       *string           `json:"value"`
	ContentType *string           `json:"contentType"`
	Tags        map[string]string `json:"tags"`
	Attributes  struct {
		Enabled *bool `json:"enabled"`
	} `json:"attributes"`
}

func (in secretInput) apply(v *secretVersion) {
	if in.ContentType != nil {
		v.ContentType = *in.ContentType
	}
	if in.Tags != nil {
		v.Tags = in.Tags
	}
	if in.Attributes.Enabled != nil {
		v.Enabled = *in.Attributes.Enabled
	}
	v.Updated = time.Now().Unix()
}

// secretBundle is a secret as the API shows it.
type secretBundle struct {
	Value       *string           `json:"value,omitempty"`
	ID          string            `json:"id"`
	ContentType string            `json:"contentType,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Attributes  secretAttributes  `json:"attributes"`

	RecoveryID     string `json:"recoveryId,omitempty"`
	Deleted        int64  `json:"deletedDate,omitempty"`
	ScheduledPurge int64  `json:"scheduledPurgeDate,omitempty"`
}

type secretAttributes struct {
	Enabled         bool   `json:"enabled"`
	Created         int64  `json:"created"`
	Updated         int64  `json:"updated"`
	RecoveryLevel   string `json:"recoveryLevel"`
	RecoverableDays int    `json:"recoverableDays"`
}

const recoverableDays = 90

// show gives a version without its value. Lists of secrets leave the version
// out of the id.
func (s *secretStore) show(sec *secret, v *secretVersion, withVersion bool) secretBundle {
	b := secretBundle{
		ID: s.base + "/secrets/" + sec.Name, ContentType: v.ContentType, Tags: v.Tags,
		Attributes: secretAttributes{v.Enabled, v.Created, v.Updated, "Recoverable+Purgeable", recoverableDays},
	}
	if withVersion {
		b.ID += "/" + v.ID
	}
	if sec.Deleted != 0 {
		b.RecoveryID = s.base + "/deletedsecrets/" + sec.Name
		b.Deleted, b.ScheduledPurge = sec.Deleted, sec.Deleted+recoverableDays*24*3600
	}
	return b
}

func (s *secretStore) showValue(sec *secret, v *secretVersion) secretBundle {
	b := s.show(sec, v, true)
	b.Value = &v.Value
	return b
}

func notFound(name string) *problem {
	return &problem{http.StatusNotFound, "SecretNotFound", "A secret with (name/id) " + name + " was not found in this key vault."}
}

func (s *secretStore) find(name, version string) (*secret, *secretVersion, error) {
	sec := s.live[name]
	if sec == nil {
		return nil, nil, notFound(name)
	}
	if version == "" {
		return sec, sec.latest(), nil
	}
	i := slices.IndexFunc(sec.Versions, func(v *secretVersion) bool { return v.ID == version })
	if i < 0 {
		return nil, nil, notFound(name + "/" + version)
	}
	return sec, sec.Versions[i], nil
}

func (s *secretStore) get(name, version string) (any, error) {
	sec, v, err := s.find(name, version)
	if err != nil {
		return nil, err
	}
	if !v.Enabled {
		return nil, &problem{http.StatusForbidden, "Forbidden", "Operation get is not allowed on a disabled secret."}
	}
	return s.showValue(sec, v), nil
}

func (s *secretStore) set(name string, in secretInput) (*secret, *secretVersion) {
	sec := s.live[name]
	if sec == nil {
		sec = &secret{Name: name}
		s.live[name] = sec
	}
	v := &secretVersion{ID: newID(16), Value: *in.Value, Enabled: true, Created: time.Now().Unix()}
	in.apply(v)
	sec.Versions = append(sec.Versions, v)
	return sec, v
}

func (s *secretStore) put(name string, in secretInput) (any, error) {
	if in.Value == nil {
		return nil, badParameter("The parameter value is missing.")
	}
	if s.deleted[name] != nil {
		return nil, &problem{http.StatusConflict, "Conflict", "Secret " + name + " is currently in a deleted but recoverable state."}
	}
	return s.showValue(s.set(name, in)), nil
}

func (s *secretStore) patch(name, version string, in secretInput) (any, error) {
	sec, v, err := s.find(name, version)
	if err != nil {
		return nil, err
	}
	in.apply(v)
	return s.show(sec, v, true), nil
}

func (s *secretStore) remove(name string) (any, error) {
	sec, v, err := s.find(name, "")
	if err != nil {
		return nil, err
	}
	sec.Deleted = time.Now().Unix()
	delete(s.live, name)
	s.deleted[name] = sec
	return s.show(sec, v, true), nil
}

func (s *secretStore) getDeleted(name string) (any, error) {
	sec := s.deleted[name]
	if sec == nil {
		return nil, notFound(name)
	}
	return s.show(sec, sec.latest(), true), nil
}

func (s *secretStore) recover(name string) (any, error) {
	sec := s.deleted[name]
	if sec == nil {
		return nil, notFound(name)
	}
	sec.Deleted = 0
	delete(s.deleted, name)
	s.live[name] = sec
	return s.show(sec, sec.latest(), true), nil
}

func (s *secretStore) purge(name string) error {
	if s.deleted[name] == nil {
		return notFound(name)
	}
	delete(s.deleted, name)
	return nil
}

func (s *secretStore) backup(name string) (any, error) {
	sec, _, err := s.find(name, "")
	if err != nil {
		return nil, err
	}
	return map[string]string{"value": backupBlob(sec)}, nil
}

func (s *secretStore) restore(in secretInput) (any, error) {
	if in.Value == nil {
		return nil, badParameter("The parameter value is missing.")
	}
	var sec secret
	text, err := base64.RawURLEncoding.DecodeString(*in.Value)
	if err != nil || json.Unmarshal(text, &sec) != nil || len(sec.Versions) == 0 {
		return nil, badParameter("The backup is not one of this vault's.")
	}
	if s.live[sec.Name] != nil || s.deleted[sec.Name] != nil {
		return nil, &problem{http.StatusConflict, "Conflict", "Secret " + sec.Name + " already exists."}
	}
	s.live[sec.Name] = &sec
	return s.show(&sec, sec.latest(), true), nil
}

func (s *secretStore) list(from map[string]*secret) []secretBundle {
	items := []secretBundle{}
	for _, name := range slices.Sorted(maps.Keys(from)) {
		items = append(items, s.show(from[name], from[name].latest(), false))
	}
	return items
}

func (s *secretStore) versions(name string) ([]secretBundle, error) {
	sec, _, err := s.find(name, "")
	if err != nil {
		return nil, err
	}
	items := []secretBundle{}
	for _, v := range sec.Versions {
		items = append(items, s.show(sec, v, true))
	}
	return items, nil
}
