package azuretest

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

const blobURL = "https://" + BlobHost

const version = "X-Ms-Version: 2021-08-06"

func (w *world) blob(method, path, body string, fields ...string) answer {
	w.t.Helper()
	return w.call(StorageAudience, method, blobURL+path, body, append(fields, version)...)
}

func (a answer) wantCode(t *testing.T, status int, code string) {
	t.Helper()
	a.want(t, status)
	if got := a.Header.Get("X-Ms-Error-Code"); got != code {
		t.Fatalf("%s %s: got code %q, want %q", a.Request.Method, a.Request.URL, got, code)
	}
}

func TestBlobsJudgeTheCredential(t *testing.T) {
	w := newWorld(t, Options{})
	w.Blobs.SetBlob(BlobHost, "docs", "a", "hello")
	const url = blobURL + "/docs/a"
	w.call("", "GET", url, "", version).wantCode(t, http.StatusUnauthorized, "NoAuthenticationInformation")
	a := w.call(VaultAudience, "GET", url, "", version)
	a.want(t, http.StatusUnauthorized, "InvalidAuthenticationInfo", "Audience validation failed")
	const challenge = "Bearer authorization_uri=https://login.microsoftonline.com/" + testTenant + "/oauth2/authorize resource_id=https://storage.azure.com"
	if got := a.Header.Get("WWW-Authenticate"); got != challenge {
		t.Errorf("got challenge %q, want %q", got, challenge)
	}
	w.call("", "GET", url, "", version, "Authorization: SharedKey acct:abc").wantCode(t, http.StatusForbidden, "AuthenticationFailed")
	for _, old := range []string{"", "2015-12-11", "2017-07-29"} {
		w.call(StorageAudience, "GET", url, "", "X-Ms-Version: "+old).
			want(t, http.StatusForbidden, "AuthenticationFailed", "Authentication scheme Bearer is not supported in this version.")
	}
	w.call(StorageAudience, "GET", url, "", "X-Ms-Version: 2017-11-09").want(t, http.StatusOK, "hello")
	w.call("https://acct.blob.core.windows.net", "GET", url, "", version).want(t, http.StatusOK, "hello")
	w.Tokens.Revoke()
	w.blob("GET", "/docs/a", "").want(t, http.StatusOK)
}

func TestBlobsTakeASignatureAsItWasMade(t *testing.T) {
	w := newWorld(t, Options{})
	w.Blobs.SetBlob(BlobHost, "docs", "a", "hello")
	w.Blobs.AllowSAS("a%2Bb%3D")
	w.call("", "GET", blobURL+"/docs/a?sv=2021-08-06&sig=a%2Bb%3D", "").want(t, http.StatusOK, "hello")
	w.call("", "GET", blobURL+"/docs/a?sv=2021-08-06&sig=a%2bb%3d", "").want(t, http.StatusUnauthorized)
	w.blob("GET", "/docs/a?sv=2021-08-06&sig=a%2Bb%3D", "").wantCode(t, http.StatusForbidden, "AuthenticationFailed")
}

func TestBlobsKeepContent(t *testing.T) {
	w := newWorld(t, Options{})
	const block = "X-Ms-Blob-Type: BlockBlob"
	w.blob("PUT", "/docs/a", "hello", block).wantCode(t, http.StatusNotFound, "ContainerNotFound")
	w.blob("PUT", "/docs?restype=container", "").want(t, http.StatusCreated)
	w.blob("PUT", "/docs?restype=container", "").wantCode(t, http.StatusConflict, "ContainerAlreadyExists")
	w.blob("HEAD", "/docs?restype=container", "").want(t, http.StatusOK)
	w.blob("PUT", "/docs/a", "hello").wantCode(t, http.StatusBadRequest, "MissingRequiredHeader")
	sum := md5.Sum([]byte("hello"))
	w.blob("PUT", "/docs/a", "hullo", block, "Content-MD5: "+base64.StdEncoding.EncodeToString(sum[:])).wantCode(t, http.StatusBadRequest, "Md5Mismatch")
	w.blob("PUT", "/docs/a", "hello", block, "X-Ms-Blob-Content-Type: text/plain", "X-Ms-Meta-Author: me").want(t, http.StatusCreated)
	w.blob("PUT", "/docs/a", "hello", block, "If-None-Match: *").wantCode(t, http.StatusConflict, "BlobAlreadyExists")

	a := w.blob("GET", "/docs/a", "")
	a.want(t, http.StatusOK)
	etag := a.Header.Get("ETag")
	if a.body != "hello" || a.Header.Get("Content-Type") != "text/plain" || a.Header.Get("X-Ms-Meta-Author") != "me" || a.ContentLength != 5 {
		t.Errorf("got %q with %v", a.body, a.Header)
	}
	if a := w.blob("HEAD", "/docs/a", ""); a.ContentLength != 5 || a.body != "" {
		t.Errorf("HEAD gave %d, %q", a.ContentLength, a.body)
	}
	w.blob("GET", "/docs/a", "", "If-None-Match: "+etag).want(t, http.StatusNotModified)
	w.blob("GET", "/docs/a", "", "If-Match: \"other\"").wantCode(t, http.StatusPreconditionFailed, "ConditionNotMet")
	for value, want := range map[string]string{"bytes=1-3": "ell", "bytes=3-": "lo", "bytes=0-99": "hello"} {
		if a := w.blob("GET", "/docs/a", "", "X-Ms-Range: "+value, "Range: bytes=0-0"); a.StatusCode != http.StatusPartialContent || a.body != want {
			t.Errorf("%s gave %d, %q", value, a.StatusCode, a.body)
		}
	}
	w.blob("GET", "/docs/a", "", "Range: bytes=5-").wantCode(t, http.StatusRequestedRangeNotSatisfiable, "InvalidRange")

	w.blob("DELETE", "/docs/a", "").want(t, http.StatusAccepted)
	w.blob("DELETE", "/docs/a", "").wantCode(t, http.StatusNotFound, "BlobNotFound")
	w.blob("GET", "/docs/a", "").wantCode(t, http.StatusNotFound, "BlobNotFound")
	w.blob("POST", "/docs/a", "").want(t, http.StatusMethodNotAllowed)
	w.blob("GET", "/docs", "").want(t, http.StatusBadRequest)
	w.blob("DELETE", "/docs?restype=container", "").want(t, http.StatusAccepted)
	w.blob("GET", "/docs?restype=container", "").wantCode(t, http.StatusNotFound, "ContainerNotFound")
}

func TestBlobsWantTheLength(t *testing.T) {
	w := newWorld(t, Options{})
	w.Blobs.SetBlob(BlobHost, "docs", "a", "x")
	r, _ := http.NewRequest("PUT", blobURL+"/docs/a", io.LimitReader(NewPattern(10), 10))
	r.Header.Set("Authorization", "Bearer "+w.token(StorageAudience))
	r.Header.Set("X-Ms-Version", "2021-08-06")
	r.Header.Set("X-Ms-Blob-Type", "BlockBlob")
	w.do(r).wantCode(t, http.StatusLengthRequired, "MissingContentLengthHeader")
}

func blockID(i int) string { return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%06d", i)) }

func blockList(ids ...string) string {
	return `<?xml version="1.0" encoding="utf-8"?><BlockList><Latest>` + strings.Join(ids, "</Latest><Latest>") + `</Latest></BlockList>`
}

func TestBlobsJoinBlocks(t *testing.T) {
	w := newWorld(t, Options{})
	w.Blobs.SetBlob(BlobHost, "docs", "other", "x")
	for i, text := range []string{"hello, ", "", "world"} {
		w.blob("PUT", "/docs/a?comp=block&blockid="+blockID(i), text).want(t, http.StatusCreated)
	}
	w.blob("PUT", "/docs/a?comp=block&blockid=*", "x").wantCode(t, http.StatusBadRequest, "InvalidQueryParameterValue")
	w.blob("GET", "/docs/a", "").wantCode(t, http.StatusNotFound, "BlobNotFound")
	w.blob("PUT", "/docs/a?comp=blocklist", blockList(blockID(7))).wantCode(t, http.StatusBadRequest, "InvalidBlockList")
	w.blob("PUT", "/docs/a?comp=blocklist", "no XML").wantCode(t, http.StatusBadRequest, "InvalidXmlDocument")
	w.blob("PUT", "/docs/a?comp=blocklist", blockList(blockID(0), blockID(1), blockID(2))).want(t, http.StatusCreated)
	if a := w.blob("GET", "/docs/a", ""); a.body != "hello, world" {
		t.Errorf("got %q", a.body)
	}
	if a := w.blob("GET", "/docs/a", "", "Range: bytes=5-8"); a.body != ", wo" {
		t.Errorf("got %q across blocks", a.body)
	}
	w.blob("GET", "/docs/a?comp=blocklist", "").want(t, http.StatusOK, "<Name>"+blockID(2)+"</Name><Size>5</Size>")
	w.blob("GET", "/docs/none?comp=blocklist", "").want(t, http.StatusNotFound)
}

func TestSinkTakesThePatternOnly(t *testing.T) {
	w := newWorld(t, Options{})
	w.blob("PUT", "/sink?restype=container", "").want(t, http.StatusCreated)
	const size = 3<<20 + 5
	put := func(path string, from, length int64) answer {
		r, _ := http.NewRequest("PUT", blobURL+path, io.NewSectionReader(NewPattern(size), from, length))
		r.ContentLength = length
		r.Header.Set("Authorization", "Bearer "+w.token(StorageAudience))
		r.Header.Set("X-Ms-Version", "2021-08-06")
		r.Header.Set("X-Ms-Blob-Type", "BlockBlob")
		return w.do(r)
	}
	put("/sink/a", 0, size).want(t, http.StatusCreated)
	if got := w.Blobs.Size(BlobHost, "sink", "a"); got != size {
		t.Errorf("kept %d bytes, want %d", got, size)
	}
	put("/sink/b", 8, 16).wantCode(t, http.StatusBadRequest, "InvalidBlockList")
	w.blob("PUT", "/sink/b", "text that is no pattern", "X-Ms-Blob-Type: BlockBlob").wantCode(t, http.StatusBadRequest, "InvalidInput")
	if got := w.Blobs.Size(BlobHost, "sink", "b"); got != -1 {
		t.Errorf("what was refused is there, with %d bytes", got)
	}

	put("/sink/c?comp=block&blockid="+blockID(0), 0, 2<<20).want(t, http.StatusCreated)
	put("/sink/c?comp=block&blockid="+blockID(1), 2<<20, size-2<<20).want(t, http.StatusCreated)
	w.blob("PUT", "/sink/c?comp=blocklist", blockList(blockID(1), blockID(0))).wantCode(t, http.StatusBadRequest, "InvalidBlockList")
	w.blob("PUT", "/sink/c?comp=blocklist", blockList(blockID(0), blockID(1))).want(t, http.StatusCreated)
	if _, n, err := matchPattern(strings.NewReader(w.blob("GET", "/sink/c", "").body)); n != size || err != nil {
		t.Errorf("got %d bytes of the pattern back (%v), want %d", n, err, size)
	}
	w.Blobs.SetPattern(BlobHost, "sink", "tb", 1<<40)
	a := w.blob("GET", "/sink/tb", "", "Range: bytes=1099511627768-")
	if a.body != "\x00\x00\x00\x1f\xff\xff\xff\xff" {
		t.Errorf("the last word of a TiB is %q", a.body)
	}
}

func TestPatternReadsAlikeFromAnywhere(t *testing.T) {
	whole, err := io.ReadAll(NewPattern(100))
	if err != nil || len(whole) != 100 {
		t.Fatalf("%d bytes, %v", len(whole), err)
	}
	for from := range 100 {
		for to := from; to <= 100; to++ {
			part := make([]byte, to-from)
			if _, err := NewPattern(100).ReadAt(part, int64(from)); err != nil || string(part) != string(whole[from:to]) {
				t.Fatalf("from %d to %d: %x, %v, want %x", from, to, part, err, whole[from:to])
			}
		}
	}
	if _, _, err := matchPattern(strings.NewReader(string(whole[:99]) + "x")); err == nil {
		t.Error("a false last byte was taken")
	}
	if _, _, err := matchPattern(strings.NewReader(strings.Repeat("\xff", 16))); err == nil {
		t.Error("what lies before the beginning was taken")
	}
}

func TestBlobsListWithMarkers(t *testing.T) {
	w := newWorld(t, Options{})
	for _, name := range []string{"2026/b", "2026/a", "2025/a", "top", "zoo"} {
		w.Blobs.SetBlob(BlobHost, "docs", name, "x")
	}
	for _, name := range []string{"apples", "pears"} {
		w.Blobs.SetBlob(BlobHost, name, "a", "x")
	}
	list := func(path string) (names []string, pages int) {
		for marker := ""; ; pages++ {
			a := w.blob("GET", path+"&marker="+marker, "")
			a.want(t, http.StatusOK)
			var l struct {
				Containers []string `xml:"Containers>Container>Name"`
				Blobs      []string `xml:"Blobs>Blob>Name"`
				Prefixes   []string `xml:"Blobs>BlobPrefix>Name"`
				NextMarker string
			}
			if err := xml.Unmarshal([]byte(a.body), &l); err != nil {
				t.Fatal(err)
			}
			names = append(append(append(names, l.Containers...), l.Prefixes...), l.Blobs...)
			if marker = l.NextMarker; marker == "" {
				return names, pages + 1
			}
		}
	}
	for _, tt := range []struct {
		path, want string
		pages      int
	}{
		{"/?comp=list", "apples docs pears", 2},
		{"/docs?restype=container&comp=list", "2025/a 2026/a 2026/b top zoo", 3},
		{"/docs?restype=container&comp=list&maxresults=1", "2025/a 2026/a 2026/b top zoo", 5},
		{"/docs?restype=container&comp=list&prefix=2026/", "2026/a 2026/b", 1},
		{"/docs?restype=container&comp=list&delimiter=/", "2025/ 2026/ top zoo", 2},
		{"/docs?restype=container&comp=list&prefix=none", "", 1},
	} {
		names, pages := list(tt.path)
		if got := strings.Join(names, " "); got != tt.want || pages != tt.pages {
			t.Errorf("%s: got %q on %d pages, want %q on %d", tt.path, got, pages, tt.want, tt.pages)
		}
	}
}
