package azure

import "strings"

// The versions of the Storage protocol that ended what old clients count on
// (https://learn.microsoft.com/rest/api/storageservices/versioning-for-the-azure-storage-services).
const (
	blobTypesVersion = "2009-09-19" // a blob is written with its type
	leaseTimeVersion = "2012-02-12" // a lease is asked for with its duration; a copy's source is a URL
	jsonVersion      = "2013-08-15" // Table knows JSON beside Atom
	noAtomVersion    = "2015-12-11" // Table knows JSON alone
)

// Outdated tells why a call's client is too old to have its call sent with a
// token, and what to do; "" where it is not. It is asked of calls that would be
// sent with one: their version is raised, and with it goes what the client
// counts on. The service would refuse such a call in words about something that
// the client never did.
//
// It does not allocate where the answer is "".
func (s *Service) Outdated(c *Call) string {
	if s.kind != storageKind {
		return ""
	}
	switch s.apiOf(c) {
	case tableAPI:
		if speaksAtom(c) {
			return "its client speaks Atom, and with a token Table storage takes JSON alone (Atom ended with version 2015-12-11, tokens begin with 2020-12-06); set the client to JSON, or use a client library of 2014 or later"
		}
	case blobAPI:
		// Judged by its client's version: one that knows better is the service's
		// to answer.
		if source, _ := c.first("X-Ms-Copy-Source"); strings.HasPrefix(source, "/") && c.sentVersion() < leaseTimeVersion {
			return "its client names what is copied by a path, and with a token Storage takes a URL alone (paths ended with version 2012-02-12); use a client library of late 2012 or later"
		}
	}
	return ""
}

// implied gives the field that an old version of the protocol did without, with
// the value that it took for granted, so that the raised version does the same:
// before 2012-02-12 every lease held for 60 seconds, and before 2009-09-19 every
// blob was a block blob
// (https://learn.microsoft.com/rest/api/storageservices/lease-blob, .../put-blob).
func (s *Service) implied(c *Call) (field Field, ok bool) {
	version := c.sentVersion()
	if version >= leaseTimeVersion || c.Method != "PUT" || s.apiOf(c) != blobAPI {
		return Field{}, false
	}
	switch s.OperationOf(c).Name {
	case "storage.blob.lease":
		action, _ := c.first("X-Ms-Lease-Action")
		_, told := c.first("X-Ms-Lease-Duration")
		return Field{"X-Ms-Lease-Duration", "60"}, told == 0 && strings.EqualFold(action, "acquire")
	case "storage.blob.put":
		_, told := c.first("X-Ms-Blob-Type")
		return Field{"X-Ms-Blob-Type", "BlockBlob"}, told == 0 && version < blobTypesVersion
	}
	return Field{}, false
}

// sentVersion gives the version that the client speaks: "", which is less than
// any, where it says none, as the first clients did, and the least that takes a
// token where what it says is none.
func (c *Call) sentVersion() string {
	version, count := c.first("X-Ms-Version")
	switch {
	case count == 0:
		return ""
	case count > 1 || !isVersion(version):
		return minVersion
	}
	return version
}

// speaksAtom reports whether a call to Table storage counts on Atom, which its
// client's version has: by its Content-Type, by $format or else by Accept, and
// whatever these say where its version knows nothing else
// (https://learn.microsoft.com/rest/api/storageservices/payload-format-for-table-service-operations).
//
// Accept counts where the answer is a payload. Clients that speak JSON, of today
// among them, ask for Atom with their batches and deletions, and the service pays
// no heed to that. What has comp, access policies and the service's properties,
// is XML to this day.
func speaksAtom(c *Call) bool {
	version := c.sentVersion()
	if version >= noAtomVersion || c.Method == "DELETE" {
		return false
	}
	q := queryView(c.Query)
	if _, count := q.value("comp"); count > 0 {
		return false
	}
	if version != "" && version < jsonVersion {
		return true
	}
	if content, _ := c.first("Content-Type"); mediaTypes(content)&atomType != 0 {
		return true
	}
	if _, count := q.value("$format"); count > 0 {
		return q.is("$format", "atom") || q.is("$format", "application/atom+xml")
	}
	accept, _ := c.first("Accept")
	return c.Method == "GET" && mediaTypes(accept) == atomType
}

// media is a set of media types.
type media uint8

const (
	atomType media = 1 << iota
	otherType
)

// mediaTypes tells what a list has beside application/xml, in which old clients
// take errors.
func mediaTypes(list string) (types media) {
	for element := range strings.SplitSeq(list, ",") {
		name, _, _ := strings.Cut(element, ";")
		switch name = strings.Trim(name, " \t"); {
		case strings.EqualFold(name, "application/atom+xml"):
			types |= atomType
		case name != "" && !strings.EqualFold(name, "application/xml"):
			types |= otherType
		}
	}
	return types
}
