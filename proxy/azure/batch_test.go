package azure

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

const (
	blobBatchURL      = "POST https://acct.blob.core.windows.net/?comp=batch"
	tableBatchURL     = "POST https://acct.table.core.windows.net/$batch"
	armBatchURL       = "POST https://management.azure.com/batch?api-version=2022-12-01"
	multipartAs       = "\nContent-Type: multipart/mixed; boundary=b"
	jsonAs            = "\nContent-Type: application/json"
	httpPart          = "--b\nContent-Type: application/http\nContent-Transfer-Encoding: binary\nContent-ID: 0\n\n"
	setHead           = "--b\nContent-Type: multipart/mixed; boundary=c\n\n"
	setPart           = "--c\nContent-Type: application/http\nContent-Transfer-Encoding: binary\n\n"
	tableURL          = "https://acct.table.core.windows.net"
	insert            = "POST " + tableURL + "/t HTTP/1.1\nContent-Type: application/json\n\n{\"a\":1}\n"
	endOfSet          = "--c--\n--b--\n"
	deleteOf          = "DELETE /c/a HTTP/1.1\nContent-Length: 0\n\n\n"
	armURL            = "https://management.azure.com"
	wholeBlob         = httpPart + deleteOf + "--b--\n"
	anotherPart       = httpPart + "DELETE /c/secret HTTP/1.1\n\n\n"
	otherContentTypes = "its Content-Type is not multipart/mixed"
)

// readText reads a batch whose body is written with lone line ends where it
// means CRLF.
func readText(t testing.TB, request, body string, base BatchBase) (*Batch, error) {
	t.Helper()
	s, c := asks(t, request)
	op := s.OperationOf(c)
	if !op.Carries() {
		t.Fatalf("%s is %s", request, op.Name)
	}
	return ReadBatch(c, op, []byte(strings.ReplaceAll(body, "\n", "\r\n")), base)
}

// callsOf lists what a batch asks for.
func callsOf(b *Batch) string {
	var lines []string
	for i := range b.Calls {
		c := &b.Calls[i].Call
		s, _ := CloudNamed("public")
		service, _ := s.ServiceOf(c.Host)
		lines = append(lines, fmt.Sprintf("%s %s is %s", c.Method, joinTarget(c.Path, c.Query), service.OperationOf(c).Name))
	}
	return strings.Join(lines, "; ")
}

func TestReadBatch(t *testing.T) {
	for _, test := range []struct{ name, request, body, want string }{
		{"Go's SDK", blobBatchURL + multipartAs, wholeBlob, "DELETE /c/a is storage.blob.delete"},
		{"two parts", blobBatchURL + multipartAs, httpPart + deleteOf + httpPart + "PUT /c/d/b?comp=tier HTTP/1.1\nx-ms-access-tier: Cool\n\n\n--b--\n", "DELETE /c/a is storage.blob.delete; PUT /c/d/b?comp=tier is storage.blob.settier"},
		{"the SDK for JavaScript", blobBatchURL + multipartAs, httpPart + "DELETE /c/a HTTP/1.1\nx-ms-date: now\n\n--b--\n", "DELETE /c/a is storage.blob.delete"},
		{"no last line end", blobBatchURL + multipartAs, strings.TrimSuffix(wholeBlob, "\n"), "DELETE /c/a is storage.blob.delete"},
		{".NET's quotes", blobBatchURL + "\nContent-Type: multipart/mixed; boundary=\"b\"", wholeBlob, "DELETE /c/a is storage.blob.delete"},
		{"its own Host", blobBatchURL + multipartAs, httpPart + "DELETE /c/a HTTP/1.1\nHost: ACCT.blob.core.windows.net:443\n\n\n--b--\n", "DELETE /c/a is storage.blob.delete"},
		{"an override in a part", blobBatchURL + multipartAs, httpPart + "DELETE /c/a HTTP/1.1\nX-HTTP-Method-Override: PUT\n\n\n--b--\n", "DELETE /c/a is storage.unknown"},

		{"a change set", tableBatchURL + multipartAs, setHead + setPart + insert + setPart + "DELETE " + tableURL + "/t(PartitionKey='a',RowKey='b') HTTP/1.1\nIf-Match: *\n\n\n" + endOfSet, "POST /t is storage.table.entity.insert; DELETE /t(PartitionKey='a',RowKey='b') is storage.table.entity.delete"},
		{"a change set that begins with an empty line", tableBatchURL + multipartAs, setHead + "\n" + setPart + "POST /t HTTP/1.1\n\n\n{\"a\":1}\n" + endOfSet, "POST /t is storage.table.entity.insert"},
		{"the SDK for Python", tableBatchURL + multipartAs, setHead + setPart + "POST " + tableURL + "/t HTTP/1.1\nx-ms-version: 2019-02-02\nContent-Length: 7\n\n{\"a\":1}\n" + setPart + "DELETE " + tableURL + "/t(PartitionKey='a',RowKey='b') HTTP/1.1\nIf-Match: *\nx-ms-version: 2019-02-02\n\n\n--c--\n\n--b--\n", "POST /t is storage.table.entity.insert; DELETE /t(PartitionKey='a',RowKey='b') is storage.table.entity.delete"},
		{"a query", tableBatchURL + multipartAs, httpPart + "GET " + tableURL + "/t(PartitionKey='a',RowKey='b') HTTP/1.1\n\n\n--b--\n", "GET /t(PartitionKey='a',RowKey='b') is storage.table.entity.get"},

		{"ARM", armBatchURL + jsonAs, `{"requests":[{"httpMethod":"GET","name":"1","url":"/subscriptions?api-version=2022-12-01"},{"httpMethod":"POST","relativeUrl":"/subscriptions/s/providers/Microsoft.Storage/storageAccounts/a/listKeys","url":"","requestHeaderDetails":{"commandName":"x"},"content":{"a":[1]}}]}`, "GET /subscriptions?api-version=2022-12-01 is arm.subscription.read; POST /subscriptions/s/providers/Microsoft.Storage/storageAccounts/a/listKeys is arm.storageaccount.listkeys"},
		{"ARM by its URL", armBatchURL + "\nContent-Type: application/json; charset=UTF-8", `{"requests":[{"httpMethod":"GET","url":"https:\/\/Management.azure.com/subscriptions"}]} `, "GET /subscriptions is arm.subscription.read"},
	} {
		b, err := readText(t, test.request, test.body, BatchBase{})
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got := callsOf(b); got != test.want || b.IsRewritten() {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		if body := bytes.Join(b.Rewrite(nil), nil); !bytes.Equal(body, b.body) {
			t.Errorf("%s: the body became %q", test.name, body)
		}
	}
}

// Whatever a lenient reader could take for another call.
func TestAmbiguousBatchesAreRefused(t *testing.T) {
	blob := func(body string) [3]string { return [3]string{blobBatchURL + multipartAs, body, ""} }
	part := func(call string) [3]string { return blob(httpPart + call + "\n\n\n--b--\n") }
	table := func(body string) [3]string { return [3]string{tableBatchURL + multipartAs, body, ""} }
	arm := func(body string) [3]string { return [3]string{armBatchURL + jsonAs, body, ""} }
	element := func(e string) [3]string { return arm(`{"requests":[{` + e + `}]}`) }
	as := func(fields string) [3]string { return [3]string{blobBatchURL + fields, wholeBlob, ""} }
	for name, test := range map[string]struct {
		batch [3]string
		want  string
	}{
		"no type":                    {as(""), "it needs one Content-Type"},
		"two types":                  {as(multipartAs + multipartAs), "it needs one Content-Type"},
		"another type":               {as("\nContent-Type: multipart/form-data; boundary=b"), otherContentTypes},
		"two boundaries":             {as(multipartAs + "; boundary=d"), "its boundary holds a character that none has"},
		"a parameter first":          {as("\nContent-Type: multipart/mixed; charset=x; boundary=b"), "its Content-Type has no boundary, or something before it"},
		"an open quote":              {as("\nContent-Type: multipart/mixed; boundary=\"b"), "the quotes of its boundary do not close"},
		"an encoded body":            {as(multipartAs + "\nContent-Encoding: gzip"), "its body is encoded"},
		"a preamble":                 {blob(anotherPart[3:] + wholeBlob), "it does not begin with its boundary"},
		"an epilogue":                {blob(wholeBlob + "x"), "something follows its last boundary"},
		"a lone line end at the end": {[3]string{blobBatchURL + multipartAs, wholeBlob + "\r", ""}, "something follows its last boundary"},
		"a part behind the end":      {blob(wholeBlob + anotherPart), "something follows its last boundary"},
		"no end":                     {blob(httpPart + deleteOf), "its last boundary is missing"},
		"no part":                    {blob("--b--\n"), "it holds no call"},
		"padding behind a boundary":  {blob("--b \n" + wholeBlob[4:]), "something follows a boundary on its line"},
		"a boundary in a field":      {part("DELETE /c/a HTTP/1.1\nX-A: --b"), "its boundary stands within a part"},
		"a boundary that goes on":    {blob(httpPart + "DELETE /c/a HTTP/1.1\n--bc\n\n\n--b--\n"), "something follows a boundary on its line"},
		"a part field that none has": {blob("--b\nX-A: b\n" + wholeBlob[4:]), "its call 1: its part has a field that parts have not"},
		"another encoding":           {blob(strings.Replace(wholeBlob, "binary", "base64", 1)), "its call 1: its part is encoded"},
		"a part of another type":     {blob(strings.Replace(wholeBlob, "application/http", "text/plain", 1)), "its call 1: its part is no application/http"},
		"parts within a part":        {blob(strings.Replace(wholeBlob, "application/http", "multipart/mixed; boundary=d", 1)), "its call 1: its part is no application/http"},
		"a type said twice":          {blob(strings.Replace(wholeBlob, "Content-ID: 0", "content-type: application/http", 1)), "its call 1: a field of it is there twice"},

		"no request line":          {part(""), "its call 1: its request line is not METHOD TARGET HTTP/1.1"},
		"two spaces":               {part("DELETE  /c/a HTTP/1.1"), "its call 1: its request line is not METHOD TARGET HTTP/1.1"},
		"a space in the target":    {part("DELETE /c/a /c/b HTTP/1.1"), "its call 1: its request line is not METHOD TARGET HTTP/1.1"},
		"HTTP/1.0":                 {part("DELETE /c/a HTTP/1.0"), "its call 1: its request line is not METHOD TARGET HTTP/1.1"},
		"a method in lower case":   {part("delete /c/a HTTP/1.1"), "its call 1: its method is none of the service's"},
		"a URL":                    {part("DELETE https://acct.blob.core.windows.net/c/a HTTP/1.1"), "its call 1: its target is not a path"},
		"another host by slashes":  {part("DELETE //other.blob.core.windows.net/c/a HTTP/1.1"), "its call 1: its target begins with two slashes"},
		"a backslash":              {part("DELETE /c\\a HTTP/1.1"), "its call 1: its target holds a character that must be escaped"},
		"a fragment":               {part("DELETE /c/a#b HTTP/1.1"), "its call 1: its target holds a character that must be escaped"},
		"another Host":             {part("DELETE /c/a HTTP/1.1\nHost: other.blob.core.windows.net"), "its call 1: its Host is another than the batch's"},
		"a folded field":           {part("DELETE /c/a HTTP/1.1\nX-A: b\n Authorization: x"), "its call 1: a line of it is no field"},
		"a space before the colon": {part("DELETE /c/a HTTP/1.1\nAuthorization : x"), "its call 1: a line of it is no field"},
		"a field said twice":       {part("DELETE /c/a HTTP/1.1\nAuthorization: x\nauthorization: y"), "its call 1: a field of it is there twice"},
		"a lone carriage return":   {part("DELETE /c/a HTTP/1.1\nX-A: b\rAuthorization: x"), "its call 1: a field of it holds a control character, a lone line end or no ASCII"},
		"a control character":      {part("DELETE /c/a HTTP/1.1\nX-A: b\x00"), "its call 1: a field of it holds a control character, a lone line end or no ASCII"},
		"no ASCII":                 {part("DELETE /c/a HTTP/1.1\nX-A: ä"), "its call 1: a field of it holds a control character, a lone line end or no ASCII"},
		"a connection's field":     {part("DELETE /c/a HTTP/1.1\nConnection: authorization"), "its call 1: it has the field Connection, which no call of a batch has"},
		"chunks":                   {part("DELETE /c/a HTTP/1.1\nTransfer-Encoding: chunked"), "its call 1: it has the field Transfer-Encoding, which no call of a batch has"},
		"a body":                   {part("DELETE /c/a HTTP/1.1\n\nDELETE /c/b HTTP/1.1"), "its call 1: it has a body"},
		"a length past its part":   {part("DELETE /c/a HTTP/1.1\nContent-Length: 99"), "its call 1: its Content-Length reaches past its part"},
		"the second is wrong":      {blob(httpPart + deleteOf + httpPart + "x\n\n\n--b--\n"), "its call 2: its request line is not METHOD TARGET HTTP/1.1"},
		"too many":                 {blob(strings.Repeat(httpPart+deleteOf, 257) + "--b--\n"), "it holds more than 256 calls"},
		"too long":                 {blob(strings.Repeat("x", MaxBatch+1)), "it is longer than 4194304 bytes"},

		"two change sets":         {table(setHead + setPart + insert + "--c--\n" + setHead + setPart + insert + endOfSet), "it holds more than one change set or query"},
		"a set within a set":      {table(setHead + "--c\nContent-Type: multipart/mixed; boundary=d\n\n--d--\n" + endOfSet), "its call 1: its part is no application/http"},
		"a change outside a set":  {table(httpPart + insert + "--b--\n"), "a query stands alone, and what changes stands in a change set"},
		"a query in a set":        {table(setHead + setPart + "GET /t HTTP/1.1\n\n\n" + endOfSet), "a query stands alone, and what changes stands in a change set"},
		"a boundary in an entity": {table(setHead + setPart + "POST /t HTTP/1.1\n\n{\"a\":\"--c\"}\n" + endOfSet), "its change set: its boundary stands within a part"},
		"another account":         {table(setHead + setPart + strings.Replace(insert, "acct", "other", 1) + endOfSet), "its call 1: it names another host than the batch"},
		"userinfo":                {table(setHead + setPart + strings.Replace(insert, "net/", "net@evil.example/", 1) + endOfSet), "its call 1: it names another host than the batch"},
		"too many entities":       {table(setHead + strings.Repeat(setPart+insert, 101) + endOfSet), "it holds more than 100 calls"},

		"no JSON":                {arm(`x`), "it is not the JSON of a batch"},
		"an array":               {arm(`[]`), "it is not the JSON of a batch"},
		"no request":             {arm(`{"requests":[]}`), "it holds no call"},
		"requests twice":         {arm(`{"requests":[],"requests":[]}`), "a member of it is there twice"},
		"requests spelled twice": {arm(`{"requests":[],"Requests":[]}`), "it has a member other than requests"},
		"two documents":          {arm(`{"requests":[{"httpMethod":"GET","url":"/a"}]}{}`), "something follows its JSON"},
		"a url twice":            {element(`"httpMethod":"GET","url":"/a","url":"/b"`), "its call 1: a member of it is there twice"},
		"a url escaped twice":    {element(`"httpMethod":"GET","url":"/a","\u0075rl":"/b"`), "its call 1: a member of it is there twice"},
		"another case":           {element(`"httpMethod":"GET","url":"/a","URL":"/b"`), "its call 1: it has a member that is not known"},
		"both urls":              {element(`"httpMethod":"GET","url":"/a","relativeUrl":"/b"`), "its call 1: it has both url and relativeUrl"},
		"no url":                 {element(`"httpMethod":"GET"`), "its call 1: it has no url"},
		"no method":              {element(`"url":"/a"`), "its call 1: its httpMethod is none of the service's"},
		"a lower method":         {element(`"httpMethod":"delete","url":"/a"`), "its call 1: its httpMethod is none of the service's"},
		"a foreign url":          {element(`"httpMethod":"GET","url":"https://evil.example/a"`), "its call 1: it names another host than the batch"},
		"a foreign url, escaped": {element(`"httpMethod":"GET","url":"https:\u002f\u002fevil.example/a"`), "its call 1: it names another host than the batch"},
		"a url without scheme":   {element(`"httpMethod":"GET","url":"//evil.example/a"`), "its call 1: its target begins with two slashes"},
		"a url with a space":     {element(`"httpMethod":"GET","url":" /a"`), "its call 1: its target holds a character that must be escaped"},
		"a number for a url":     {element(`"httpMethod":"GET","url":1`), "its call 1: it is not the JSON of a batch"},
		"a Host":                 {element(`"httpMethod":"GET","url":"/a","requestHeaderDetails":{"host":"x"}`), "its call 1: it has the field Host, which no call of a batch has"},
		"a field twice":          {element(`"httpMethod":"GET","url":"/a","requestHeaderDetails":{"a":"b","A":"c"}`), "its call 1: a field of it is there twice"},
		"a line end in a field":  {element(`"httpMethod":"GET","url":"/a","requestHeaderDetails":{"a":"b\r\nc: d"}`), "its call 1: a field of it holds a control character, a lone line end or no ASCII"},
		"another charset":        {[3]string{armBatchURL + "\nContent-Type: application/json; charset=utf-16", `{}`, ""}, "its Content-Type is not application/json"},
		"no UTF-8":               {arm("{\"\xff\":1}"), "it is no valid UTF-8"},
		"too many elements":      {arm(`{"requests":[` + strings.Repeat(`{"httpMethod":"GET","url":"/a"},`, 500) + `{"httpMethod":"GET","url":"/a"}]}`), "it holds more than 500 calls"},
	} {
		if _, err := readText(t, test.batch[0], test.batch[1], BatchBase{}); err == nil || err.Error() != test.want {
			t.Errorf("%s:\n got %v\nwant %s", name, err, test.want)
		}
	}
}

// The attack is memory: 4 MiB of empty fields took 60 more as a header, which no
// budget counts.
func TestBatchOfFieldsAlone(t *testing.T) {
	fields := func(form, between string) string {
		var all []string
		for i := range maxFields + 1 {
			all = append(all, fmt.Sprintf(form, i))
		}
		return strings.Join(all, between)
	}
	lines := fields("x-%d:", "\n") + "\n\n\n--b--\n"
	element := func(header string) string {
		return `{"requests":[{"httpMethod":"GET","url":"/a","requestHeaderDetails":{` + header + `}}]}`
	}
	members := fields(`"x-%d":""`, ",")
	for _, test := range []struct{ request, whole, rest string }{
		{blobBatchURL + multipartAs, httpPart + "DELETE /c/a HTTP/1.1\n" + lines, "x-0:\n"},
		{armBatchURL + jsonAs, element(members), `"x-0":"",`},
	} {
		const want = "its call 1: it has more fields than any call"
		if _, err := readText(t, test.request, test.whole, BatchBase{}); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", test.request, err, want)
		}
		if _, err := readText(t, test.request, strings.Replace(test.whole, test.rest, "", 1), BatchBase{}); err != nil {
			t.Errorf("%s, one less: %v", test.request, err)
		}
	}
}

// What an app that knows no other name calls by the base URL is the service's.
func TestBatchOnABaseURL(t *testing.T) {
	for _, test := range []struct{ prefix, request, body, want, sent string }{
		{"/blob", blobBatchURL + multipartAs, httpPart + "DELETE /blob/c/a HTTP/1.1\nHost: 127.0.0.1:8180\n\n\n--b--\n", "DELETE /c/a is storage.blob.delete", ""},
		{"/blob", blobBatchURL + multipartAs, httpPart + "DELETE /c/a HTTP/1.1\n\n\n--b--\n", "its call 1: its path does not begin with the base URL's, /blob/", ""},
		{"/blob", blobBatchURL + multipartAs, httpPart + "DELETE /blobs/a HTTP/1.1\n\n\n--b--\n", "its call 1: its path does not begin with the base URL's, /blob/", ""},
		{"/table", tableBatchURL + multipartAs, setHead + setPart + strings.Replace(insert, tableURL, "http://127.0.0.1:8180/table", 1) + endOfSet, "POST /t is storage.table.entity.insert", setHead + setPart + insert + endOfSet},
		{"/arm", armBatchURL + jsonAs, `{"requests":[{"url":"http://127.0.0.1:8180/arm/subscriptions?a=\"b\"","httpMethod":"GET"},{"url":"/tenants","httpMethod":"GET"}]}`, `GET /subscriptions?a="b" is arm.subscription.read; GET /tenants is arm.read`, `{"requests":[{"url":"https://management.azure.com/subscriptions?a=\"b\"","httpMethod":"GET"},{"url":"/tenants","httpMethod":"GET"}]}`},
		{"/arm", armBatchURL + jsonAs, `{"requests":[{"url":"http://127.0.0.1:8181/arm/subscriptions","httpMethod":"GET"}]}`, "its call 1: it names another host than the batch", ""},
	} {
		b, err := readText(t, test.request, test.body, BatchBase{Origin: "http://127.0.0.1:8180", Prefix: test.prefix})
		if err != nil {
			if err.Error() != test.want {
				t.Errorf("%q: %v, want %s", test.body, err, test.want)
			}
			continue
		}
		if got := callsOf(b); got != test.want || !b.IsRewritten() {
			t.Errorf("%q: %s, want %s", test.body, got, test.want)
		}
		if sent := strings.ReplaceAll(string(bytes.Join(b.Rewrite(nil), nil)), "\r\n", "\n"); test.sent != "" && sent != test.sent {
			t.Errorf("sent %q, want %q", sent, test.sent)
		}
	}
}

// A batch wants a version that knows it.
func TestBatchVersion(t *testing.T) {
	for request, want := range map[string]string{
		"POST https://acct.blob.core.windows.net/?comp=batch":                    "2018-11-09",
		"POST https://acct.blob.core.windows.net/c?restype=container&comp=batch": "2020-04-08",
		"GET https://acct.blob.core.windows.net/c?restype=container&comp=batch":  "2017-11-09",
	} {
		s, c := asks(t, request)
		if fields := s.Fields(c); len(fields) != 1 || fields[0].Value != want {
			t.Errorf("%s: %v, want %s", request, fields, want)
		}
	}
}
