package azure

import (
	"net/http"
	"strings"
)

// storageAPI is one of the services of a storage account, each with a host of
// its own.
type storageAPI uint8

// Custom domains exist for blobs alone, so an unknown host speaks that API.
const (
	blobAPI storageAPI = iota
	dfsAPI
	fileAPI
	queueAPI
	tableAPI
)

func storageAPIs() []storageAPI { return []storageAPI{blobAPI, dfsAPI, fileAPI, queueAPI, tableAPI} }

// String gives the label that stands for the API in host names.
func (a storageAPI) String() string {
	return [...]string{blobAPI: "blob", dfsAPI: "dfs", fileAPI: "file", queueAPI: "queue", tableAPI: "table"}[a]
}

// The versions of the Storage protocol from which a bearer token is taken.
// Below them the answer is 403, "Authentication scheme Bearer is not supported
// in this version"
// (https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory).
const (
	minVersion      = "2017-11-09" // blobs, dfs, queues
	minTableVersion = "2020-12-06"
	minFileVersion  = "2022-11-02" // files and directories
	minShareVersion = "2024-11-04" // shares, and the file service itself

	minBatchVersion          = "2018-11-09" // https://learn.microsoft.com/rest/api/storageservices/blob-batch
	minContainerBatchVersion = "2020-04-08"
)

// Fields gives the header fields to set on a call that is sent with a token,
// none for most services.
//
// Storage wants x-ms-version to be recent. What is missing, too old or not to
// be understood is raised to the least version that takes a token; a newer one
// stays, for the caller reads the answer by it. What the raised version wants to
// be told, and the client's own took for granted, is added. Files want the
// request's intent besides. No other field is needed: with a token, unlike a
// shared key, the service does not look at x-ms-date.
//
// Where nothing is to be set, it does not allocate.
func (s *Service) Fields(c *Call) []Field {
	if s.kind != storageKind {
		return nil
	}
	api, _ := s.storage.Get(c.Host)
	least := leastVersion(api, c)
	var fields []Field
	version, count := c.first("X-Ms-Version")
	if count != 1 || !isVersion(version) || version < least {
		fields = append(fields, Field{"X-Ms-Version", least})
		if field, ok := s.implied(c); ok {
			fields = append(fields, field)
		}
	}
	if api == fileAPI {
		if intent, count := c.first("X-Ms-File-Request-Intent"); count != 1 || intent != "backup" {
			fields = append(fields, Field{"X-Ms-File-Request-Intent", "backup"})
		}
	}
	return fields
}

func leastVersion(api storageAPI, c *Call) string {
	switch api {
	case tableAPI:
		return minTableVersion
	case fileAPI:
		if isShareCall(c) {
			return minShareVersion
		}
		return minFileVersion
	}
	switch q := queryView(c.Query); {
	case c.Method != http.MethodPost || !q.is("comp", "batch"):
		return minVersion
	case q.is("restype", "container"):
		return minContainerBatchVersion
	}
	return minBatchVersion
}

// isShareCall reports whether a call to the file API concerns a share or the
// service rather than a file or directory
// (https://learn.microsoft.com/rest/api/storageservices/file-service-rest-api).
func isShareCall(c *Call) bool {
	q := queryView(c.Query)
	if q.is("restype", "directory") { // the root directory has the share's path
		return false
	}
	_, below, _ := strings.Cut(strings.Trim(c.Path, "/"), "/")
	return below == "" || q.is("restype", "share") || q.is("restype", "service")
}

// isVersion reports whether text is a date as versions are written, which
// compare as text.
func isVersion(text string) bool {
	if len(text) != len("2006-01-02") {
		return false
	}
	for i := range len(text) {
		if dash := i == 4 || i == 7; dash != (text[i] == '-') || !dash && !isDigit(text[i]) {
			return false
		}
	}
	month, day := text[5:7], text[8:10]
	return "01" <= month && month <= "12" && "01" <= day && day <= "31"
}
