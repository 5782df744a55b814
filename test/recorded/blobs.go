package recorded

// What a version ended, for clients of before
// (https://learn.microsoft.com/rest/api/storageservices/previous-azure-storage-service-versions).
const (
	noURLs = "no `Url` elements, and `ServiceEndpoint` beside a bare name in place of the URL or account (2013-08-15)"
	quotes = "ETags are in quotes (2011-08-18)"
)

// raised is what blobs and queues are sent in place of an older version.
const raised = "2017-11-09"

// The service takes them since August 2025.
const noPolicies = "takes no token for access policies"

func blobs() []Request {
	c := Blob + "/recorded"
	text := "hello from 2011"
	return []Request{
		{Version: "2009-09-19", Does: "makes a container", Line: "PUT " + c + "?restype=container&timeout=90", Upstream: raised, Differs: quotes, Azurite: 201},
		{Does: "writes a blob, without its type", Line: "PUT " + c + "/first", Body: text, Header: []string{"Content-Type: text/plain"}, Upstream: raised, Adds: "x-ms-blob-type: BlockBlob", Differs: quotes, Azurite: 201},
		{Version: "2009-07-17", Does: "writes a blob, without its type", Line: "PUT " + c + "/first", Body: text, Header: []string{"Content-Type: text/plain"}, Upstream: raised, Adds: "x-ms-blob-type: BlockBlob", Differs: quotes, Azurite: 201},
		{Version: "2009-09-19", Does: "writes a blob with Content-MD5 and metadata", Line: "PUT " + c + "/blob", Body: text,
			Header: []string{"x-ms-blob-type: BlockBlob", "Content-MD5: mFJB0lxHnXO7sW36fVQMRA==", "x-ms-meta-author: nobody"}, Upstream: raised, Differs: quotes, Azurite: 201},
		{Version: "2009-09-19", Does: "reads a part by x-ms-range", Line: "GET " + c + "/blob", Header: []string{"x-ms-range: bytes=0-4"}, Upstream: raised,
			Differs: quotes + "; `Accept-Ranges` (2011-08-18); the whole blob's MD5 as `x-ms-blob-content-md5` (2016-05-31)", Azurite: 206},
		{Version: "2011-08-18", Does: "reads to the end by Range", Line: "GET " + c + "/blob", Header: []string{"Range: bytes=6-"}, Upstream: raised,
			Differs: "the whole blob's MD5 as `x-ms-blob-content-md5` (2016-05-31)", Azurite: 206},
		{Version: "2014-02-14", Does: "reads with `If-None-Match: *`", Line: "GET " + c + "/blob", Header: []string{"If-None-Match: *"}, Upstream: raised,
			Refuses: "since 2016-05-31 it heeds the field when a blob is read", Azurite: 400},
		{Version: "2009-09-19", Does: "lists blobs", Line: "GET " + c + "?restype=container&comp=list&include=metadata,snapshots", Upstream: raised,
			Differs: noURLs + "; more elements, as of leases (2012-02-12)", Azurite: 200},
		{Version: "2012-02-12", Does: "lists blobs below a prefix", Line: "GET " + c + "?restype=container&comp=list&prefix=b&delimiter=%2F&maxresults=10", Upstream: raised, Differs: noURLs, Azurite: 200},
		{Version: "2013-08-15", Does: "lists blobs", Line: "GET " + c + "?restype=container&comp=list", Upstream: raised, Azurite: 200},
		{Version: "2011-08-18", Does: "lists containers", Line: "GET " + Blob + "/?comp=list&prefix=recorded&include=metadata", Upstream: raised, Differs: noURLs, Azurite: 200},
		{Version: "2009-09-19", Does: "takes a snapshot", Line: "PUT " + c + "/blob?comp=snapshot", Upstream: raised, Differs: quotes, Azurite: 201},
		{Version: "2009-09-19", Does: "acquires a lease, without its duration", Line: "PUT " + c + "/blob?comp=lease", Header: []string{"x-ms-lease-action: acquire"}, Upstream: raised, Adds: "x-ms-lease-duration: 60", Azurite: 201},
		{Version: "2009-09-19", Does: "renews it", Line: "PUT " + c + "/blob?comp=lease", Header: []string{"x-ms-lease-action: renew", "x-ms-lease-id: " + Lease}, Upstream: raised, Azurite: 200},
		{Version: "2011-08-18", Does: "writes under it", Line: "PUT " + c + "/blob", Body: text, Header: []string{"x-ms-blob-type: BlockBlob", "x-ms-lease-id: " + Lease}, Upstream: raised, Azurite: 201},
		{Version: "2011-08-18", Does: "releases it", Line: "PUT " + c + "/blob?comp=lease", Header: []string{"x-ms-lease-action: release", "x-ms-lease-id: " + Lease}, Upstream: raised, Azurite: 200},
		{Version: "2011-08-18", Does: "renews it after its release", Line: "PUT " + c + "/blob?comp=lease", Header: []string{"x-ms-lease-action: renew", "x-ms-lease-id: " + Lease}, Upstream: raised,
			Refuses: "since 2012-02-12 a lease ends with its release", Azurite: 409},
		{Version: "2012-02-12", Does: "acquires a lease of 15 seconds", Line: "PUT " + c + "/first?comp=lease", Header: []string{"x-ms-lease-action: acquire", "x-ms-lease-duration: 15"}, Upstream: raised, Azurite: 201},
		{Version: "2011-08-18", Does: "breaks a lease", Line: "PUT " + c + "/first?comp=lease", Header: []string{"x-ms-lease-action: break"}, Upstream: raised, Azurite: 202},
		{Version: "2011-08-18", Does: "copies a blob named by path", Line: "PUT " + c + "/copy", Header: []string{"x-ms-copy-source: /acct/recorded/blob"}, Code: "BearerdClientTooOld"},
		{Version: "2012-02-12", Does: "copies a blob named by URL", Line: "PUT " + c + "/copy", Header: []string{"x-ms-copy-source: https://acct.blob.core.windows.net/recorded/blob"}, Upstream: raised, Azurite: 202},
		{Version: "2009-09-19", Does: "sets a container's access policies", Line: "PUT " + c + "?restype=container&comp=acl", Body: `<?xml version="1.0" encoding="utf-8"?><SignedIdentifiers></SignedIdentifiers>`,
			Header: []string{"x-ms-blob-public-access: blob", "Content-Type: application/xml"}, Upstream: raised, Differs: quotes, Azurite: 403, Note: noPolicies},
		{Version: "2009-09-19", Does: "reads a container's access policies", Line: "GET " + c + "?restype=container&comp=acl", Upstream: raised, Differs: quotes, Azurite: 403, Note: noPolicies},
		{Version: "2014-02-14", Does: "reads a blob's properties", Line: "HEAD " + c + "/blob", Upstream: raised, Azurite: 200},
		{Version: "2015-02-21", Does: "makes an append blob", Line: "PUT " + c + "/log", Header: []string{"x-ms-blob-type: AppendBlob"}, Upstream: raised, Azurite: 201},
		{Version: "2015-12-11", Does: "appends to it", Line: "PUT " + c + "/log?comp=appendblock", Body: "a line\n", Upstream: raised, Azurite: 201},
		{Version: "2017-04-17", Does: "puts a block", Line: "PUT " + c + "/blocks?comp=block&blockid=MDAwMQ%3D%3D", Body: text, Upstream: raised, Azurite: 201},
		{Version: "2017-07-29", Does: "puts a list of blocks", Line: "PUT " + c + "/blocks?comp=blocklist", Body: `<?xml version="1.0" encoding="utf-8"?><BlockList><Latest>MDAwMQ==</Latest></BlockList>`,
			Header: []string{"Content-Type: application/xml"}, Upstream: raised, Azurite: 201},
		{Version: "2018-03-28", Does: "reads a blob", Line: "GET " + c + "/blocks", Upstream: "2018-03-28", Azurite: 200},
		{Version: "2019-12-12", Does: "lists blobs", Line: "GET " + c + "?restype=container&comp=list", Upstream: "2019-12-12", Azurite: 200},
		{Version: "2021-08-06", Does: "deletes a blob with its snapshots", Line: "DELETE " + c + "/blob", Header: []string{"x-ms-delete-snapshots: include"}, Upstream: "2021-08-06", Azurite: 202},
		{Version: "2026-02-06", Does: "deletes a container", Line: "DELETE " + c + "?restype=container", Upstream: "2026-02-06", Azurite: 202},
	}
}
