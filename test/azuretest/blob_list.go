package azuretest

import (
	"encoding/xml"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

type listProperties struct {
	Modified      string `xml:"Last-Modified"`
	ETag          string `xml:"Etag"`
	ContentLength *int64 `xml:"Content-Length,omitempty"`
	ContentType   string `xml:"Content-Type,omitempty"`
	BlobType      string `xml:",omitempty"`
}

type listItem struct {
	Name       string
	Properties *listProperties `xml:",omitempty"`
}

// listing is the answer to both kinds of list. Unlike the JSON services',
// Storage's pages carry a marker for the client to send, and no link.
type listing struct {
	XMLName    xml.Name `xml:"EnumerationResults"`
	Service    string   `xml:"ServiceEndpoint,attr"`
	Container  string   `xml:"ContainerName,attr,omitempty"`
	Prefix     string
	Marker     string
	MaxResults int
	Delimiter  string      `xml:",omitempty"`
	Containers *[]listItem `xml:"Containers>Container"`
	Blobs      *struct {
		Blob       []listItem
		BlobPrefix []listItem
	}
	NextMarker string
}

func (b *Blobs) newListing(r *http.Request) (l listing, size int) {
	q := r.URL.Query()
	l = listing{Service: "https://" + r.Host + "/", Prefix: q.Get("prefix"), Marker: q.Get("marker"), MaxResults: b.o.PageSize, Delimiter: q.Get("delimiter")}
	if n, err := strconv.Atoi(q.Get("maxresults")); err == nil && n > 0 {
		l.MaxResults = min(n, b.o.PageSize)
	}
	return l, l.MaxResults
}

// cut gives the page of sorted names that begins at the marker, and the next
// page's marker. A marker is the first name of its page.
func (l *listing) cut(names []string, size int) []string {
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, l.Prefix) || n < l.Marker })
	if len(names) > size {
		l.NextMarker = names[size]
		names = names[:size]
	}
	return names
}

func (b *Blobs) listContainers(w http.ResponseWriter, r *http.Request) error {
	l, size := b.newListing(r)
	b.mu.Lock()
	account := b.accounts[strings.ToLower(r.Host)]
	items := []listItem{}
	for _, name := range l.cut(slices.Sorted(maps.Keys(account)), size) {
		items = append(items, listItem{name, &listProperties{Modified: httpTime(account[name].modified), ETag: "0x1"}})
	}
	b.mu.Unlock()
	l.Containers = &items
	writeXML(w, http.StatusOK, l)
	return nil
}

func (b *Blobs) listBlobs(w http.ResponseWriter, r *http.Request, c *container) error {
	l, size := b.newListing(r)
	l.Container = c.name
	l.Blobs = new(struct {
		Blob       []listItem
		BlobPrefix []listItem
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	names := slices.Collect(maps.Keys(c.blobs))
	for i, name := range names {
		names[i] = l.collapse(name)
	}
	slices.Sort(names)
	for _, name := range l.cut(slices.Compact(names), size) {
		stored := c.blobs[name]
		if stored == nil { // what names below it were collapsed to
			l.Blobs.BlobPrefix = append(l.Blobs.BlobPrefix, listItem{Name: name})
			continue
		}
		length := stored.content.Size()
		l.Blobs.Blob = append(l.Blobs.Blob, listItem{name, &listProperties{
			httpTime(stored.modified), strings.Trim(stored.etag, `"`), &length, stored.contentType, "BlockBlob",
		}})
	}
	writeXML(w, http.StatusOK, l)
	return nil
}

// collapse cuts a name behind the first delimiter after the prefix, as a
// directory listing does.
func (l *listing) collapse(name string) string {
	rest, ok := strings.CutPrefix(name, l.Prefix)
	if !ok || l.Delimiter == "" {
		return name
	}
	head, _, found := strings.Cut(rest, l.Delimiter)
	if !found {
		return name
	}
	return l.Prefix + head + l.Delimiter
}

func httpTime(at time.Time) string { return at.UTC().Format(http.TimeFormat) }
