package azure

import (
	"net/http"
	"strings"
)

// Source is what a call copies, or moves away, beside what its own path names
// (https://learn.microsoft.com/rest/api/storageservices/copy-blob-from-url,
// https://learn.microsoft.com/rest/api/storageservices/datalakestoragegen2/path/create,
// https://learn.microsoft.com/rest/api/storageservices/rename-file).
type Source struct {
	// Call is the one that would reach the source by itself: the GET of what is
	// copied, the DELETE of what is moved. Its header holds no more than the
	// credential that the caller brings for the source, as Authorization.
	Call Call
	// Moves is what a move does to the source; its zero value: what Call does.
	Moves Operation
	// TakesToken is set where the service reads the source with a token that
	// comes in a field of its own.
	TakesToken bool
	// Problem tells why the source cannot be judged; empty where it can.
	Problem string
}

// The fields of sources.
const (
	copySource          = "X-Ms-Copy-Source"
	renameSource        = "X-Ms-Rename-Source"
	fileRenameSource    = "X-Ms-File-Rename-Source"
	sourceAuthorization = "X-Ms-Copy-Source-Authorization"
)

// minSourceVersion is the first version that knows the authorisation of a
// source.
const minSourceVersion = "2020-10-02"

// SourceOf gives the source that a call whose operation is op names in a field,
// false where it names none. It does not allocate for a call that names none.
func (s *Service) SourceOf(c *Call, op Operation) (Source, bool) {
	if s.kind != storageKind {
		return Source{}, false
	}
	for _, name := range [...]string{copySource, renameSource, fileRenameSource} {
		value, count := c.first(name)
		switch {
		case count == 0:
		case count > 1:
			return Source{Problem: "it names its source twice"}, true
		case dropped(c, name):
			return Source{Problem: "its Connection takes away the field that names its source"}, true
		case name == copySource:
			return s.copied(c, op, value), true
		default:
			return s.moved(c, op, value, name == fileRenameSource), true
		}
	}
	return Source{}, false
}

// copied gives the source of a copy.
func (s *Service) copied(c *Call, op Operation, value string) Source {
	src, problem := readSource(c, value)
	if problem != "" {
		return Source{Problem: problem}
	}
	src.Call.Method = http.MethodGet
	switch own, count := c.first(sourceAuthorization); {
	case count > 1:
		return Source{Problem: "it authorises its source twice"}
	case count == 1:
		src.Call.Header = Header{"Authorization": {own}}
	}
	src.TakesToken = src.Call.Scheme == "https" && s.takesSourceToken(c, op, &src.Call)
	return src
}

// takesSourceToken reports whether a call is one of those that are documented to
// take a token for their source. Copy Blob without x-ms-requires-sync is not: it
// reads its own account by the call's token, and others by a signature.
func (s *Service) takesSourceToken(c *Call, op Operation, source *Call) bool {
	if !op.Understood() {
		return false
	}
	switch op.Name {
	case "storage.blob.putblockfromurl", "storage.blob.appendblockfromurl", "storage.blob.putpagefromurl":
	case "storage.blob.copy":
		sync, _ := c.first("X-Ms-Requires-Sync")
		_, typed := c.first("X-Ms-Blob-Type") // Put Blob From URL
		if typed != 1 && !strings.EqualFold(sync, "true") {
			return false
		}
	case "storage.file.putrangefromurl":
		return true
	default:
		return false
	}
	// A source in Files wants an intent besides, of which most versions of Blob
	// know nothing.
	return s.apiOf(source) != fileAPI
}

// moved gives the source of a rename: a path, or the URL, of the same account.
func (s *Service) moved(c *Call, op Operation, value string, isURL bool) Source {
	var src Source
	var problem string
	if isURL {
		src, problem = readSource(c, value)
		if problem == "" && src.Call.Host != c.Host {
			problem = "its source is on another host"
		}
	} else {
		src.Call = *c
		src.Call.Path, src.Call.Query, _ = strings.Cut(value, "?")
		problem = sourceProblem(value)
	}
	if problem != "" {
		return Source{Problem: problem}
	}
	src.Call.Method, src.Call.Header, src.Call.Length = http.MethodDelete, nil, 0
	// What would delete another thing than a file or directory moves none.
	switch of := s.OperationOf(&src.Call); {
	case !of.Understood():
		src.Problem = of.Reason
	case of.Name != "storage.dfs.path.delete" && of.Name != "storage.file.delete":
		src.Problem = "its source is neither a file nor a directory"
	}
	src.Moves = Operation{Name: movesAs(op, s.apiOf(c))}
	return src
}

// movesAs gives the name of what a rename does to its source. The attack is the
// rename of any path into one that the caller may read.
func movesAs(rename Operation, api storageAPI) string {
	switch {
	case rename.Name == "storage.file.directory.rename":
		return "storage.file.directory.renamefrom"
	case api == fileAPI:
		return "storage.file.renamefrom"
	}
	return "storage.dfs.path.renamefrom"
}

// readSource reads an absolute URL into a call without a body.
func readSource(c *Call, value string) (src Source, problem string) {
	src.Call = *c
	src.Call.Header, src.Call.Length = nil, 0
	rest := value
	switch scheme, after, ok := strings.Cut(value, "://"); {
	case ok && strings.EqualFold(scheme, "https"):
		src.Call.Scheme, rest = "https", after
	case ok && strings.EqualFold(scheme, "http"):
		src.Call.Scheme, rest = "http", after
	default:
		return src, "its source is no URL"
	}
	authority, _, found := strings.Cut(rest, "/")
	if !found {
		return src, "its source has no path"
	}
	host, port, err := NormalizeHost(authority)
	if err != nil {
		return src, "the host of its source cannot be read"
	}
	target := rest[len(authority):]
	if problem := sourceProblem(target); problem != "" {
		return src, problem
	}
	src.Call.Host, src.Call.Port = host, port
	src.Call.Path, src.Call.Query, _ = strings.Cut(target, "?")
	return src, ""
}

// sourceProblem tells why the path and query of a source could be read in two
// ways; "" where they could not. OperationOf looks closer.
func sourceProblem(target string) string {
	if !strings.HasPrefix(target, "/") {
		return "its source has no path"
	}
	if !isTarget(target) {
		return "its source holds a character that must be escaped"
	}
	return ""
}

// SourceFields gives the header fields to set, beside Fields, on a call that
// takes a token for its source.
func (s *Service) SourceFields(c *Call) []Field {
	if version, count := c.first("X-Ms-Version"); count == 1 && isVersion(version) && version >= minSourceVersion {
		return nil
	}
	if api := s.apiOf(c); leastVersion(api, c) >= minSourceVersion {
		return nil // Fields has seen to it
	}
	return []Field{{"X-Ms-Version", minSourceVersion}}
}

// IsStorage reports whether the service is Storage, the only one whose hosts a
// source is read from with a token.
func (s *Service) IsStorage() bool { return s.kind == storageKind }

// SourceRejected reports whether an answer's x-ms-error-code says that the
// source of a copy could not be read, which tells nothing of the call's token.
func SourceRejected(errorCode string) bool {
	return strings.EqualFold(errorCode, "CannotVerifyCopySource")
}
