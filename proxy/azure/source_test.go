package azure

import (
	"strings"
	"testing"
)

// source gives what the call names beside its path, as METHOD SCHEME://HOST:PORT
// PATH?QUERY, or what stands in the way.
func source(t *testing.T, request string) (Source, string) {
	t.Helper()
	s, c := asks(t, request)
	src, ok := s.SourceOf(c, s.OperationOf(c))
	switch {
	case !ok:
		return src, ""
	case src.Problem != "":
		return src, src.Problem
	}
	text := src.Call.Method + " " + src.Call.Scheme + "://" + src.Call.Host + src.Call.Path
	if src.Call.Query != "" {
		text += "?" + src.Call.Query
	}
	if src.Moves.Name != "" {
		text += " as " + src.Moves.Name
	}
	return src, text
}

func TestSourceOf(t *testing.T) {
	const blob, file, dfs = "https://acct.blob.core.windows.net", "https://acct.file.core.windows.net", "https://acct.dfs.core.windows.net"
	for request, want := range map[string]string{
		"PUT " + blob + "/c/b": "",
		"PUT https://payroll.vault.azure.net/secrets/a\nx-ms-copy-source: https://x/y":                                                            "",
		"PUT " + blob + "/c/b\nx-ms-copy-source: https://Other.Blob.core.windows.net/c/a%20b":                                                     "GET https://other.blob.core.windows.net/c/a%20b",
		"PUT " + blob + "/c/b\nx-ms-copy-source: HTTP://x.example/?sv=1&sig=2":                                                                    "GET http://x.example/?sv=1&sig=2",
		"PUT " + blob + "/c/b\nx-ms-copy-source: /acct/c/a":                                                                                       "its source is no URL",
		"PUT " + blob + "/c/b\nx-ms-copy-source: ftp://x/a":                                                                                       "its source is no URL",
		"PUT " + blob + "/c/b\nx-ms-copy-source: https://user@x.example/a":                                                                        "the host of its source cannot be read",
		"PUT " + blob + "/c/b\nx-ms-copy-source: https://x.example\\@acct.blob.core.windows.net/a":                                                "the host of its source cannot be read",
		"PUT " + blob + "/c/b\nx-ms-copy-source: https://x.example":                                                                               "its source has no path",
		"PUT " + blob + "/c/b\nx-ms-copy-source: https://x.example?a/c":                                                                           "the host of its source cannot be read",
		"PUT " + blob + "/c/b\nx-ms-copy-source: https://x.example#/c":                                                                            "the host of its source cannot be read",
		"PUT " + blob + "/c/b\nx-ms-copy-source: https://x.example/a#b":                                                                           "its source holds a character that must be escaped",
		"PUT " + blob + "/c/b\nx-ms-copy-source: https://x.example/a b":                                                                           "its source holds a character that must be escaped",
		"PUT " + blob + "/c/b\nx-ms-copy-source: https://x.example/ä":                                                                             "its source holds a character that must be escaped",
		"PUT " + blob + "/c/b\nx-ms-copy-source: https://x/a\nx-ms-copy-source: https://x/b":                                                      "it names its source twice",
		"PUT " + blob + "/c/b\nx-ms-copy-source: https://x/a\nConnection: x-ms-copy-source":                                                       "its Connection takes away the field that names its source",
		"PUT " + blob + "/c/b\nx-ms-copy-source: https://x/a\nx-ms-copy-source-authorization: Bearer a\nx-ms-copy-source-authorization: Bearer b": "it authorises its source twice",

		"PUT " + dfs + "/fs/new\nx-ms-rename-source: /fs/old?sv=1&sig=2":                                    "DELETE https://acct.dfs.core.windows.net/fs/old?sv=1&sig=2 as storage.dfs.path.renamefrom",
		"PUT " + dfs + "/fs/new\nx-ms-rename-source: fs/old":                                                "its source has no path",
		"PUT " + dfs + "/fs/new\nx-ms-rename-source: /fs":                                                   notDocumented,
		"PUT " + dfs + "/fs/new\nx-ms-rename-source: /fs?resource=filesystem":                               "its source is neither a file nor a directory",
		"PUT " + dfs + "/fs/new\nx-ms-rename-source: /fs/a/../b":                                            "it has a dot segment",
		"PUT " + dfs + "/fs/new\nx-ms-rename-source: //fs/a":                                                "it has an empty segment",
		"PUT " + dfs + "/fs/new\nx-ms-rename-source: /fs/a\\b":                                              "its source holds a character that must be escaped",
		"PUT " + file + "/s/new?comp=rename\nx-ms-file-rename-source: " + file + "/s/old":                   "DELETE https://acct.file.core.windows.net/s/old as storage.file.renamefrom",
		"PUT " + file + "/s/d?restype=directory&comp=rename\nx-ms-file-rename-source: " + file + "/s/old/d": "DELETE https://acct.file.core.windows.net/s/old/d as storage.file.directory.renamefrom",
		"PUT " + file + "/s/new?comp=rename\nx-ms-file-rename-source: https://o.file.core.windows.net/s/o":  "its source is on another host",
	} {
		if _, got := source(t, request); got != want {
			t.Errorf("%s:\n got %q\nwant %q", request, got, want)
		}
	}
}

// Only what is documented to take x-ms-copy-source-authorization gets one.
func TestWhichCopiesTakeATokenForTheirSource(t *testing.T) {
	const blob, file = "https://acct.blob.core.windows.net", "https://acct.file.core.windows.net"
	from := "\nx-ms-copy-source: https://other.blob.core.windows.net/c/a"
	for request, want := range map[string]bool{
		"PUT " + blob + "/c/b" + from:                                                false, // asynchronous
		"PUT " + blob + "/c/b" + from + "\nx-ms-requires-sync: false":                false,
		"PUT " + blob + "/c/b" + from + "\nx-ms-requires-sync: true":                 true,
		"PUT " + blob + "/c/b" + from + "\nx-ms-blob-type: BlockBlob":                true,
		"PUT " + blob + "/c/b?comp=block&blockid=AA" + from:                          true,
		"PUT " + blob + "/c/b?comp=page" + from:                                      true,
		"PUT " + blob + "/c/b?comp=appendblock" + from:                               true,
		"PUT " + blob + "/c/b?comp=incrementalcopy" + from:                           false,
		"PUT " + blob + "/c/b?comp=metadata" + from:                                  false, // none of the documented requests
		"PUT " + file + "/s/f?comp=range" + from:                                     true,
		"PUT " + file + "/s/f" + from:                                                false,
		"PUT " + blob + "/c/b?comp=page" + strings.Replace(from, "https", "http", 1): false, // it would go in the clear
		"PUT " + blob + "/c/b?comp=page" + strings.Replace(from, "blob", "file", 1):  false,
	} {
		if src, text := source(t, request); src.TakesToken != want || text == "" {
			t.Errorf("%s: %v, %s", request, src.TakesToken, text)
		}
	}
}

func TestSourceVersion(t *testing.T) {
	for request, want := range map[string]string{
		"PUT https://acct.blob.core.windows.net/c/b":                           "2020-10-02",
		"PUT https://acct.blob.core.windows.net/c/b\nx-ms-version: 2019-12-12": "2020-10-02",
		"PUT https://acct.blob.core.windows.net/c/b\nx-ms-version: 2020-10-02": "",
		"PUT https://acct.blob.core.windows.net/c/b\nx-ms-version: 2026-12-06": "",
		"PUT https://acct.file.core.windows.net/s/f":                           "", // Fields raises it further
	} {
		s, c := asks(t, request)
		got := ""
		for _, field := range s.SourceFields(c) {
			got = field.Value
		}
		if got != want {
			t.Errorf("%s: %q, want %q", request, got, want)
		}
	}
}

func TestSourceOfDoesNotAllocate(t *testing.T) {
	s, c := asks(t, "PUT https://acct.blob.core.windows.net/c/b?comp=block&blockid=AA\nx-ms-version: 2021-08-06")
	op := s.OperationOf(c)
	if n := testing.AllocsPerRun(100, func() { s.SourceOf(c, op) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSourceRejected(t *testing.T) {
	for code, want := range map[string]bool{"CannotVerifyCopySource": true, "cannotverifycopysource": true, "": false, "InvalidAuthenticationInfo": false} {
		if SourceRejected(code) != want {
			t.Errorf("%q: %v", code, !want)
		}
	}
}
