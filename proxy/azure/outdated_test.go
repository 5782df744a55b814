package azure

import (
	"fmt"
	"slices"
	"testing"
)

func oldCall(t *testing.T, method, host, target string, header Header) (*Service, *Call) {
	t.Helper()
	s, _ := mustCloud(t, "public").Service("storage")
	c := callTo(method, host, target)
	c.Header = header
	return s, c
}

func TestAtomOnTablesIsOutdated(t *testing.T) {
	const atom, json = "application/atom+xml", "application/json;odata=minimalmetadata"
	for _, test := range []struct {
		name, method, target   string
		version, accept, sends string // empty: not there
		want                   bool
	}{
		{"wants Atom", "GET", "/Tables", "2014-02-14", atom + ",application/xml", "", true},
		{"wants Atom, spelled oddly", "GET", "/Tables", "2014-02-14", " Application/ATOM+XML ; charset=utf-8", "", true},
		{"wants Atom, says no version", "GET", "/Tables", "", atom, "", true},
		{"wants Atom, by a version that has none", "GET", "/Tables", "2015-12-11", atom, "", false}, // the client's own mistake
		{"brings Atom, by a version that has none", "POST", "/t", "2026-02-06", json, atom, false},
		{"sends a batch", "POST", "/$batch", "2014-02-14", atom + ",application/xml", "multipart/mixed; boundary=b", false},
		{"merges", "MERGE", "/t(PartitionKey='p',RowKey='r')", "2014-02-14", atom, "application/json", false},
		{"deletes, as of before JSON", "DELETE", "/Tables('t')", "2009-09-19", atom, atom, false},
		{"takes either", "GET", "/Tables", "2014-02-14", atom + "," + json, "", false},
		{"takes anything", "GET", "/Tables", "2014-02-14", atom + ", */*", "", false},
		{"wants JSON", "GET", "/Tables", "2013-08-15", json, "", false},
		{"says nothing", "GET", "/Tables", "", "", "", false},
		{"wants XML", "GET", "/Tables", "2014-02-14", "application/xml", "", false},
		{"wants what only begins like Atom", "GET", "/Tables", "2014-02-14", atom + "2", "", false},
		{"wants Atom by $format", "GET", "/t()?$format=atom", "2014-02-14", json, "", true},
		{"wants Atom by $format, escaped", "GET", "/t()?%24format=application%2Fatom%2Bxml", "2014-02-14", json, "", true},
		{"wants JSON by $format", "GET", "/t()?$format=json", "2014-02-14", atom, "", false},
		{"brings Atom", "POST", "/t", "2014-02-14", json, atom, true},
		{"brings Atom of a type", "PUT", "/t(PartitionKey='p',RowKey='r')", "2014-02-14", "", atom + ";type=entry", true},
		{"brings Atom and wants JSON by $format", "POST", "/t?$format=json", "2014-02-14", "", atom, true},
		{"brings JSON", "POST", "/t", "2014-02-14", json, "application/json", false},
		{"is of before JSON", "GET", "/t()", "2012-02-12", "", "", true},
		{"is of before JSON, whatever it says", "POST", "/$batch", "2011-08-18", json, "multipart/mixed; boundary=b", true},
		{"says a version that is none", "GET", "/t()", "old", json, "", false},
		{"access policies are XML", "GET", "/t?comp=acl", "2012-02-12", atom, "", false},
		{"the service's properties are XML", "PUT", "/?restype=service&comp=properties", "2012-02-12", atom, atom, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			header := Header{}
			for name, value := range map[string]string{"X-Ms-Version": test.version, "Accept": test.accept, "Content-Type": test.sends} {
				if value != "" {
					header[name] = []string{value}
				}
			}
			s, c := oldCall(t, test.method, "acct.table.core.windows.net", test.target, header)
			if got := s.Outdated(c); (got != "") != test.want {
				t.Errorf("got %q, want a reason: %v", got, test.want)
			}
			// Other APIs have XML of their own.
			if c.Host = "acct.queue.core.windows.net"; s.Outdated(c) != "" {
				t.Error("it is outdated on queues")
			}
		})
	}
}

func TestCopyByPathIsOutdated(t *testing.T) {
	for _, test := range []struct {
		version, source string
		want            bool
	}{
		{"2011-08-18", "/acct/c/b?snapshot=2011-10-04T08:15:30.0000000Z", true},
		{"", "/acct/c/b", true},
		{"2012-02-12", "/acct/c/b", false}, // the client's own mistake
		{"2011-08-18", "https://acct.blob.core.windows.net/c/b", false},
		{"2011-08-18", "", false},
	} {
		header := Header{"X-Ms-Version": {test.version}, "X-Ms-Copy-Source": {test.source}}
		if test.version == "" {
			delete(header, "X-Ms-Version")
		}
		s, c := oldCall(t, "PUT", "acct.blob.core.windows.net", "/c/copy", header)
		if got := s.Outdated(c); (got != "") != test.want {
			t.Errorf("%s %s: got %q, want a reason: %v", test.version, test.source, got, test.want)
		}
	}
}

// What an old version took for granted is said in the raised one, and nothing
// else is.
func TestImpliedFields(t *testing.T) {
	acquire := func(action string, more ...string) []string {
		return append([]string{"X-Ms-Lease-Action", action}, more...)
	}
	for _, test := range []struct {
		version, method, target string
		header                  []string
		want                    string // beside the version; empty: nothing
	}{
		{"2009-09-19", "PUT", "/c/b?comp=lease", acquire("acquire"), "{X-Ms-Lease-Duration 60}"},
		{"2011-08-18", "PUT", "/c/b?comp=lease", acquire("Acquire"), "{X-Ms-Lease-Duration 60}"},
		{"", "PUT", "/c/b?comp=lease", acquire("acquire"), "{X-Ms-Lease-Duration 60}"},
		{"2011-08-18", "PUT", "/c/b?comp=lease", acquire("acquire", "X-Ms-Lease-Duration", "15"), ""},
		{"2011-08-18", "PUT", "/c/b?comp=lease", acquire("renew"), ""},
		{"2012-02-12", "PUT", "/c/b?comp=lease", acquire("acquire"), ""},
		{"old", "PUT", "/c/b?comp=lease", acquire("acquire"), ""},
		{"2011-08-18", "PUT", "/c?comp=lease&restype=container", acquire("acquire"), ""}, // there were none
		{"2009-07-17", "PUT", "/c/b", nil, "{X-Ms-Blob-Type BlockBlob}"},
		{"", "PUT", "/b", nil, "{X-Ms-Blob-Type BlockBlob}"}, // in the root container
		{"2009-07-17", "PUT", "/c/b", []string{"X-Ms-Blob-Type", "PageBlob"}, ""},
		{"2009-07-17", "PUT", "/c/b", []string{"X-Ms-Copy-Source", "/acct/c/a"}, ""},
		{"2009-07-17", "PUT", "/c/b?comp=block&blockid=MQ%3D%3D", nil, ""},
		{"2009-07-17", "PUT", "/c?restype=container", nil, ""},
		{"2009-07-17", "GET", "/c/b", nil, ""},
		{"2009-09-19", "PUT", "/c/b", nil, ""},
	} {
		header := Header{}
		if test.version != "" {
			header["X-Ms-Version"] = []string{test.version}
		}
		for pair := range slices.Chunk(test.header, 2) {
			header[pair[0]] = pair[1:]
		}
		s, c := oldCall(t, test.method, "acct.blob.core.windows.net", test.target, header)
		want := "[{X-Ms-Version 2017-11-09}]"
		if test.want != "" {
			want = "[{X-Ms-Version 2017-11-09} " + test.want + "]"
		}
		if got := fmt.Sprint(s.Fields(c)); got != want {
			t.Errorf("%s %s %s %v: %s, want %s", test.version, test.method, test.target, test.header, got, want)
		}
	}
}

// The dead signature of an account's key gives way in every form that clients
// have written it in.
func TestSharedKeysAreDead(t *testing.T) {
	s, _ := mustCloud(t, "public").Service("storage")
	for _, authorization := range []string{
		"SharedKey acct:c2lnbmF0dXJl", // blobs, queues, files and, with a text of its own to sign, tables
		"SharedKeyLite acct:c2lnbmF0dXJl",
		"SharedKey acct-secondary:c2lnbmF0dXJl",
		"SharedKey acct:",
		"SharedKey :",
		"SharedKey",
		"SharedKey ",
		" SharedKey  acct:c2lnbmF0dXJl ",
		"SharedKey\tacct:c2lnbmF0dXJl",
		"SHAREDKEY acct:c2lnbmF0dXJl",
		"sharedkeylite acct:c2lnbmF0dXJl",
		"SharedKey acct: c2lnbmF0dXJl",
		"SharedKeyacct:c2lnbmF0dXJl",
		"SharedKey acct:" + jwtUntil(now.AddDate(0, 0, 1)), // no signature looks so, and no token follows that scheme
	} {
		c := callTo("GET", "acct.table.core.windows.net", "/t()")
		c.Header = Header{"Authorization": {authorization}}
		if got := s.CredentialOf(c, now); got != Dead {
			t.Errorf("%q is %v", authorization, got)
		}
	}
}

func TestOutdatedDoesNotAllocate(t *testing.T) {
	s, c := oldCall(t, "GET", "acct.table.core.windows.net", "/t()?$top=5",
		Header{"X-Ms-Version": {"2019-02-02"}, "Accept": {"application/json;odata=nometadata, */*"}})
	_, blob := oldCall(t, "PUT", "acct.blob.core.windows.net", "/c/b", Header{"X-Ms-Copy-Source": {"https://acct.blob.core.windows.net/c/a"}})
	if n := testing.AllocsPerRun(100, func() {
		if s.Outdated(c) != "" || s.Outdated(blob) != "" {
			t.Error("it is outdated")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
