package azure

// storageRow is one documented request of a storage account. What is in
// capitals stands for anything; "+ FIELD" for a field that must be there. Where
// a row names none of the parameters and fields that decide, they must be
// absent.
type storageRow struct {
	name    string
	request string
	traits  trait
}

// preflight is CORS's, which no service authorises.
const preflight = "storage.preflight"

type trait uint8

const (
	mints   trait = 1 << iota // gives a credential that works past the proxy
	batches                   // carries other calls
)

// storageRows are the requests of one API, from the pages that its case names.
// Names follow the documented ones.
func storageRows(api storageAPI) []storageRow {
	switch api {
	case blobAPI:
		return blobRows()
	case dfsAPI: // https://learn.microsoft.com/rest/api/storageservices/data-lake-storage-gen2
		return []storageRow{
			{"storage.dfs.filesystem.list", "GET /?resource=account", 0},
			{"storage.dfs.filesystem.create", "PUT /CONTAINER?resource=filesystem", 0},
			{"storage.dfs.filesystem.setproperties", "PATCH /CONTAINER?resource=filesystem", 0},
			{"storage.dfs.filesystem.getproperties", "HEAD /CONTAINER?resource=filesystem", 0},
			{"storage.dfs.filesystem.delete", "DELETE /CONTAINER?resource=filesystem", 0},
			{"storage.dfs.path.list", "GET /CONTAINER?resource=filesystem", 0},
			{"storage.dfs.path.create", "PUT /CONTAINER/PATH?resource=file", 0},
			{"storage.dfs.path.create", "PUT /CONTAINER/PATH?resource=directory", 0},
			{"storage.dfs.path.rename", "PUT /CONTAINER/PATH + x-ms-rename-source", 0},
			{"storage.dfs.path.read", "GET /CONTAINER/PATH", 0},
			{"storage.dfs.path.lease", "POST /CONTAINER/PATH", 0},
			{"storage.dfs.path.delete", "DELETE /CONTAINER/PATH", 0},
			{"storage.dfs.path.append", "PATCH /CONTAINER/PATH?action=append", 0},
			{"storage.dfs.path.flush", "PATCH /CONTAINER/PATH?action=flush", 0},
			{"storage.dfs.path.setproperties", "PATCH /CONTAINER/[PATH]?action=setProperties", 0},
			{"storage.dfs.path.setacl", "PATCH /CONTAINER/[PATH]?action=setAccessControl", 0},
			{"storage.dfs.path.setaclrecursive", "PATCH /CONTAINER/[PATH]?action=setAccessControlRecursive", 0},
			{"storage.dfs.path.getproperties", "HEAD /CONTAINER/[PATH]", 0},
			{"storage.dfs.path.getproperties", "HEAD /CONTAINER/[PATH]?action=getStatus", 0},
			{"storage.dfs.path.getacl", "HEAD /CONTAINER/[PATH]?action=getAccessControl", 0},
			{"storage.dfs.path.checkaccess", "HEAD /CONTAINER/[PATH]?action=checkAccess", 0},
		}
	case fileAPI:
		return fileRows()
	case queueAPI: // https://learn.microsoft.com/rest/api/storageservices/queue-service-rest-api
		return []storageRow{
			{"storage.queue.list", "GET /?comp=list", 0},
			{"storage.queue.service.getproperties", "GET /?restype=service&comp=properties", 0},
			{"storage.queue.service.setproperties", "PUT /?restype=service&comp=properties", 0},
			{"storage.queue.service.getstats", "GET /?restype=service&comp=stats", 0},
			{"storage.queue.create", "PUT /CONTAINER", 0},
			{"storage.queue.delete", "DELETE /CONTAINER", 0},
			{"storage.queue.getmetadata", "GET|HEAD /CONTAINER?comp=metadata", 0},
			{"storage.queue.setmetadata", "PUT /CONTAINER?comp=metadata", 0},
			{"storage.queue.getacl", "GET|HEAD /CONTAINER?comp=acl", 0},
			{"storage.queue.setacl", "PUT /CONTAINER?comp=acl", 0},
			{"storage.queue.message.put", "POST /CONTAINER/messages", 0},
			{"storage.queue.message.get", "GET /CONTAINER/messages", 0},
			{"storage.queue.message.peek", "GET /CONTAINER/messages?peekonly=true", 0},
			{"storage.queue.message.clear", "DELETE /CONTAINER/messages", 0},
			{"storage.queue.message.delete", "DELETE /CONTAINER/messages/ID", 0},
			{"storage.queue.message.update", "PUT /CONTAINER/messages/ID", 0},
		}
	}
	// https://learn.microsoft.com/rest/api/storageservices/table-service-rest-api.
	// Whether an update may insert is told by If-Match, and is one operation here.
	return []storageRow{
		{"storage.table.service.getproperties", "GET /?restype=service&comp=properties", 0},
		{"storage.table.service.setproperties", "PUT /?restype=service&comp=properties", 0},
		{"storage.table.service.getstats", "GET /?restype=service&comp=stats", 0},
		{"storage.table.list", "GET /Tables", 0},
		{"storage.table.create", "POST /Tables", 0},
		{"storage.table.get", "GET /Tables(NAME)", 0},
		{"storage.table.delete", "DELETE /Tables(NAME)", 0},
		{"storage.table.getacl", "GET|HEAD /CONTAINER?comp=acl", 0},
		{"storage.table.setacl", "PUT /CONTAINER?comp=acl", 0},
		{"storage.table.batch", "POST /$batch", batches},
		{"storage.table.entity.query", "GET /CONTAINER", 0},
		{"storage.table.entity.insert", "POST /CONTAINER", 0},
		{"storage.table.entity.get", "GET /CONTAINER(KEYS)", 0},
		{"storage.table.entity.update", "PUT /CONTAINER(KEYS)", 0},
		{"storage.table.entity.merge", "MERGE|PATCH /CONTAINER(KEYS)", 0},
		{"storage.table.entity.delete", "DELETE /CONTAINER(KEYS)", 0},
	}
}

// blobRows is https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api.
// A blob without a container is one of the root container.
func blobRows() []storageRow {
	return []storageRow{
		{"storage.container.list", "GET /?comp=list", 0},
		{"storage.account.getproperties", "GET /?restype=service&comp=properties", 0},
		{"storage.account.setproperties", "PUT /?restype=service&comp=properties", 0},
		{"storage.account.getstats", "GET /?restype=service&comp=stats", 0},
		{"storage.account.getinformation", "GET|HEAD /?restype=account&comp=properties", 0},
		{"storage.account.getinformation", "GET|HEAD /CONTAINER?restype=account&comp=properties", 0},
		{"storage.account.getinformation", "GET|HEAD /CONTAINER/PATH?restype=account&comp=properties", 0},
		{"storage.blob.find", "GET /?comp=blobs", 0},
		{"storage.blob.find", "GET /CONTAINER?restype=container&comp=blobs", 0},
		{"storage.blob.batch", "POST /?comp=batch", batches},
		{"storage.blob.batch", "POST /CONTAINER?restype=container&comp=batch", batches},

		{"storage.container.create", "PUT /CONTAINER?restype=container", 0},
		{"storage.container.getproperties", "GET|HEAD /CONTAINER?restype=container", 0},
		{"storage.container.delete", "DELETE /CONTAINER?restype=container", 0},
		{"storage.container.getmetadata", "GET|HEAD /CONTAINER?restype=container&comp=metadata", 0},
		{"storage.container.setmetadata", "PUT /CONTAINER?restype=container&comp=metadata", 0},
		{"storage.container.getacl", "GET|HEAD /CONTAINER?restype=container&comp=acl", 0},
		{"storage.container.setacl", "PUT /CONTAINER?restype=container&comp=acl", 0},
		{"storage.container.lease", "PUT /CONTAINER?restype=container&comp=lease", 0},
		{"storage.container.restore", "PUT /CONTAINER?restype=container&comp=undelete", 0},
		{"storage.blob.list", "GET /CONTAINER?restype=container&comp=list", 0},

		{"storage.blob.get", "GET /CONTAINER/[PATH]", 0},
		{"storage.blob.getproperties", "HEAD /CONTAINER/[PATH]", 0},
		{"storage.blob.put", "PUT /CONTAINER/[PATH]", 0},
		{"storage.blob.delete", "DELETE /CONTAINER/[PATH]", 0},
		{"storage.blob.setproperties", "PUT /CONTAINER/[PATH]?comp=properties", 0},
		{"storage.blob.getmetadata", "GET|HEAD /CONTAINER/[PATH]?comp=metadata", 0},
		{"storage.blob.setmetadata", "PUT /CONTAINER/[PATH]?comp=metadata", 0},
		{"storage.blob.gettags", "GET /CONTAINER/[PATH]?comp=tags", 0},
		{"storage.blob.settags", "PUT /CONTAINER/[PATH]?comp=tags", 0},
		{"storage.blob.lease", "PUT /CONTAINER/[PATH]?comp=lease", 0},
		{"storage.blob.snapshot", "PUT /CONTAINER/[PATH]?comp=snapshot", 0},
		{"storage.blob.undelete", "PUT /CONTAINER/[PATH]?comp=undelete", 0},
		{"storage.blob.settier", "PUT /CONTAINER/[PATH]?comp=tier", 0},
		{"storage.blob.setexpiry", "PUT /CONTAINER/[PATH]?comp=expiry", 0},
		{"storage.blob.query", "POST /CONTAINER/[PATH]?comp=query", 0},
		{"storage.blob.setimmutabilitypolicy", "PUT /CONTAINER/[PATH]?comp=immutabilityPolicies", 0},
		{"storage.blob.deleteimmutabilitypolicy", "DELETE /CONTAINER/[PATH]?comp=immutabilityPolicies", 0},
		{"storage.blob.setlegalhold", "PUT /CONTAINER/[PATH]?comp=legalhold", 0},
		{"storage.blob.copy", "PUT /CONTAINER/[PATH] + x-ms-copy-source", 0},
		{"storage.blob.incrementalcopy", "PUT /CONTAINER/[PATH]?comp=incrementalcopy + x-ms-copy-source", 0},
		{"storage.blob.abortcopy", "PUT /CONTAINER/[PATH]?comp=copy", 0},
		{"storage.blob.putblock", "PUT /CONTAINER/[PATH]?comp=block", 0},
		{"storage.blob.putblockfromurl", "PUT /CONTAINER/[PATH]?comp=block + x-ms-copy-source", 0},
		{"storage.blob.putblocklist", "PUT /CONTAINER/[PATH]?comp=blocklist", 0},
		{"storage.blob.getblocklist", "GET /CONTAINER/[PATH]?comp=blocklist", 0},
		{"storage.blob.putpage", "PUT /CONTAINER/[PATH]?comp=page", 0},
		{"storage.blob.putpagefromurl", "PUT /CONTAINER/[PATH]?comp=page + x-ms-copy-source", 0},
		{"storage.blob.getpageranges", "GET /CONTAINER/[PATH]?comp=pagelist", 0},
		{"storage.blob.appendblock", "PUT /CONTAINER/[PATH]?comp=appendblock", 0},
		{"storage.blob.appendblockfromurl", "PUT /CONTAINER/[PATH]?comp=appendblock + x-ms-copy-source", 0},
		{"storage.blob.seal", "PUT /CONTAINER/[PATH]?comp=seal", 0},
	}
}

// fileRows is https://learn.microsoft.com/rest/api/storageservices/file-service-rest-api.
// A share's root directory has the share's path.
func fileRows() []storageRow {
	return []storageRow{
		{"storage.file.share.list", "GET /?comp=list", 0},
		{"storage.file.service.getproperties", "GET /?restype=service&comp=properties", 0},
		{"storage.file.service.setproperties", "PUT /?restype=service&comp=properties", 0},

		{"storage.file.share.create", "PUT /CONTAINER?restype=share", 0},
		{"storage.file.share.getproperties", "GET|HEAD /CONTAINER?restype=share", 0},
		{"storage.file.share.delete", "DELETE /CONTAINER?restype=share", 0},
		{"storage.file.share.setproperties", "PUT /CONTAINER?restype=share&comp=properties", 0},
		{"storage.file.share.getmetadata", "GET|HEAD /CONTAINER?restype=share&comp=metadata", 0},
		{"storage.file.share.setmetadata", "PUT /CONTAINER?restype=share&comp=metadata", 0},
		{"storage.file.share.getacl", "GET|HEAD /CONTAINER?restype=share&comp=acl", 0},
		{"storage.file.share.setacl", "PUT /CONTAINER?restype=share&comp=acl", 0},
		{"storage.file.share.getstats", "GET|HEAD /CONTAINER?restype=share&comp=stats", 0},
		{"storage.file.share.snapshot", "PUT /CONTAINER?restype=share&comp=snapshot", 0},
		{"storage.file.share.restore", "PUT /CONTAINER?restype=share&comp=undelete", 0},
		{"storage.file.share.lease", "PUT /CONTAINER?restype=share&comp=lease", 0},
		{"storage.file.share.createpermission", "PUT /CONTAINER?restype=share&comp=filepermission", 0},
		{"storage.file.share.getpermission", "GET|HEAD /CONTAINER?restype=share&comp=filepermission", 0},

		{"storage.file.directory.create", "PUT /CONTAINER/PATH?restype=directory", 0},
		{"storage.file.directory.getproperties", "GET|HEAD /CONTAINER/[PATH]?restype=directory", 0},
		{"storage.file.directory.delete", "DELETE /CONTAINER/PATH?restype=directory", 0},
		{"storage.file.directory.list", "GET /CONTAINER/[PATH]?restype=directory&comp=list", 0},
		{"storage.file.directory.setproperties", "PUT /CONTAINER/[PATH]?restype=directory&comp=properties", 0},
		{"storage.file.directory.getmetadata", "GET|HEAD /CONTAINER/[PATH]?restype=directory&comp=metadata", 0},
		{"storage.file.directory.setmetadata", "PUT /CONTAINER/[PATH]?restype=directory&comp=metadata", 0},
		{"storage.file.directory.rename", "PUT /CONTAINER/PATH?restype=directory&comp=rename", 0},

		{"storage.file.listhandles", "GET /CONTAINER/[PATH]?comp=listhandles", 0},
		{"storage.file.forceclosehandles", "PUT /CONTAINER/[PATH]?comp=forceclosehandles", 0},
		{"storage.file.create", "PUT /CONTAINER/PATH", 0},
		{"storage.file.get", "GET /CONTAINER/PATH", 0},
		{"storage.file.getproperties", "HEAD /CONTAINER/PATH", 0},
		{"storage.file.delete", "DELETE /CONTAINER/PATH", 0},
		{"storage.file.setproperties", "PUT /CONTAINER/PATH?comp=properties", 0},
		{"storage.file.getmetadata", "GET|HEAD /CONTAINER/PATH?comp=metadata", 0},
		{"storage.file.setmetadata", "PUT /CONTAINER/PATH?comp=metadata", 0},
		{"storage.file.putrange", "PUT /CONTAINER/PATH?comp=range", 0},
		{"storage.file.putrangefromurl", "PUT /CONTAINER/PATH?comp=range + x-ms-copy-source", 0},
		{"storage.file.listranges", "GET /CONTAINER/PATH?comp=rangelist", 0},
		{"storage.file.copy", "PUT /CONTAINER/PATH + x-ms-copy-source", 0},
		{"storage.file.abortcopy", "PUT /CONTAINER/PATH?comp=copy", 0},
		{"storage.file.lease", "PUT /CONTAINER/PATH?comp=lease", 0},
		{"storage.file.rename", "PUT /CONTAINER/PATH?comp=rename", 0},
		{"storage.file.createhardlink", "PUT /CONTAINER/PATH?restype=hardlink", 0},
		{"storage.file.createsymboliclink", "PUT /CONTAINER/PATH?restype=symboliclink", 0},
		{"storage.file.getsymboliclink", "GET|HEAD /CONTAINER/PATH?restype=symboliclink", 0},
	}
}

// movedAway are the operations that renames are to their sources, and where
// those are named. No request is one by itself.
func movedAway(api storageAPI) [][2]string {
	switch api {
	case dfsAPI:
		return [][2]string{{"storage.dfs.path.renamefrom", "the path that x-ms-rename-source names"}}
	case fileAPI:
		return [][2]string{
			{"storage.file.renamefrom", "the file that x-ms-file-rename-source names"},
			{"storage.file.directory.renamefrom", "the directory that x-ms-file-rename-source names"},
		}
	}
	return nil
}

// commonRows are those of all APIs. Of a user delegation key anybody makes
// signatures for the account's data.
func commonRows() []storageRow {
	return []storageRow{
		{"storage.account.userdelegationkey", "POST /?restype=service&comp=userdelegationkey", mints},
	}
}
