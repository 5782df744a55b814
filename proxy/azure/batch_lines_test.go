package azure

import (
	"bytes"
	"strings"
	"testing"
)

// azure-storage for Node.js ends its lines without carriage returns, and says
// the charset first. Its batches are read, and a base URL in them is mapped.
func TestReadBatchOfAzureStorage(t *testing.T) {
	const (
		request = tableBatchURL + "\nContent-Type: multipart/mixed; charset=\"utf-8\"; boundary=batch_1"
		base    = "http://127.0.0.1:8180/table"
		part    = "--changeset_1\ncontent-type: application/http\ncontent-transfer-encoding: binary\n\n"
		end     = "--changeset_1--\n--batch_1--"
	)
	body := "--batch_1\ncontent-type: multipart/mixed;charset=\"utf-8\";boundary=changeset_1\n\n" +
		part + "PUT " + base + "/t(PartitionKey=%27p%27,RowKey=%27s%27) HTTP/1.1\ncontent-length: 33\ncontent-type: application/json;type=entry\naccept: application/json;odata=minimalmetadata\n\n{\"PartitionKey\":\"p\",\"RowKey\":\"s\"}\n" +
		part + "DELETE " + base + "/t(PartitionKey=%27p%27,RowKey=%27r%27) HTTP/1.1\nif-match: *\naccept: application/json;odata=minimalmetadata\ncontent-id: 1\n\n\n" + end
	s, c := asks(t, request)
	read := func(body string) (*Batch, error) {
		return ReadBatch(c, s.OperationOf(c), []byte(body), BatchBase{Origin: "http://127.0.0.1:8180", Prefix: "/table"})
	}
	b, err := read(body)
	if err != nil {
		t.Fatal(err)
	}
	const want = "PUT /t(PartitionKey=%27p%27,RowKey=%27s%27) is storage.table.entity.update; DELETE /t(PartitionKey=%27p%27,RowKey=%27r%27) is storage.table.entity.delete"
	if got := callsOf(b); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := string(bytes.Join(b.Rewrite(nil), nil)); got != strings.ReplaceAll(body, base, tableURL) {
		t.Errorf("the body became %q", got)
	}

	// With one carriage return in it, lines end in two ways, and readers differ.
	for name, mixed := range map[string]string{
		"at the end":      body + "\r\n",
		"behind a part":   strings.Replace(body, "\n\n\n", "\n\n\r\n", 1),
		"in a field":      strings.Replace(body, "if-match: *", "if-match: *\r", 1),
		"at the start":    "\r\n" + body,
		"in an entity":    strings.Replace(body, `"p"`, "\"\r\"", 1),
		"before the body": strings.Replace(body, "--batch_1\n", "--batch_1\r\n", 1),
	} {
		if _, err := read(mixed); err == nil {
			t.Errorf("a carriage return %s is taken", name)
		}
	}
	// Blob's clients write none without.
	s, c = asks(t, blobBatchURL+multipartAs)
	if _, err := ReadBatch(c, s.OperationOf(c), []byte(wholeBlob), BatchBase{}); err == nil {
		t.Error("a Blob batch without carriage returns is taken")
	}
}
