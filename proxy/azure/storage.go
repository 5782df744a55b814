package azure

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

// Fields gives the header fields to set on a call to the service beside the
// token, none in most cases. The result is shared: not to be changed.
func (s *Service) Fields(c *Call) []Field { return nil }
